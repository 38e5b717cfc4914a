"""Measure time and peak memory of reading a collection, by its size, by cores and by cache.

    python benchmarks/scale.py FOLDER ...

Collections of each size are made by transposing the folders' pieces. Each reading runs in another
process, so that its peak memory can be measured; one core and two take turns.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ = """
import json, os, resource, sys, time
if sys.argv[2] == "1":
    os.sched_setaffinity(0, {0})  # the worker and the process that collects its results
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from midilstm.config import DataConfig
from midilstm.data.dataset import load_dataset
from midilstm.data.duplicates import duplicate_groups
if __name__ == "__main__":
    began = time.perf_counter()
    config = DataConfig(data_dir=Path(sys.argv[1]), jobs=int(sys.argv[2]), transpose=False)
    dataset = load_dataset(config)
    seconds = time.perf_counter() - began
    hashes = {name: piece.melody_hashes for name, piece in dataset.pieces.items()}
    began = time.perf_counter()
    groups = duplicate_groups(hashes)
    grouping = time.perf_counter() - began
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(process).ru_maxrss / 1024 for process in processes]
    print(json.dumps({
        "seconds": round(seconds, 2),
        "grouping": round(grouping, 2),
        "tunes": len(dataset.pieces) - sum(map(len, groups)) + len(groups),
        "tokens": dataset.n_tokens,
        "from_cache": dataset.report.from_cache,
        "parent_mb": round(peaks[0]),
        "worker_mb": round(peaks[1]),
    }))
"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description="Measure what a whole collection costs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, help="folders of MIDI files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000], help="files")
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that one core and two take turns"
    )
    return parser.parse_args(argv)


def write_transposed(sources: list[Path], size: int, folder: Path) -> None:
    """Fill `folder` with `size` different files: all sources, then all of them a semitone off."""
    import mido

    folder.mkdir()
    for index in range(size):
        source = sources[index % len(sources)]
        round_index = index // len(sources)
        shift = (round_index + 1) // 2 * (-1) ** round_index  # 0, -1, 1, -2, 2 ...
        file = mido.MidiFile(source)
        for track in file.tracks:
            for message in track:
                if message.type in ("note_on", "note_off") and message.channel != 9:
                    message.note = min(127, max(0, message.note + shift))
        file.save(folder / f"{index:05}.mid")


def read(folder: Path, jobs: int, cache: Path) -> dict[str, float]:
    """Read a collection in another process; return its figures."""
    # The workers import the program that started them, so it must be a file.
    with tempfile.TemporaryDirectory() as temporary:
        script = Path(temporary, "read.py")
        script.write_text(READ)
        command = [sys.executable, str(script), str(folder), str(jobs), str(ROOT)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measure(folder: Path, rounds: int, cache: Path) -> dict[str, float]:
    """Read a collection without a cache on one core and on two, by turns, then from the cache."""
    cold: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for jobs, rows in cold.items():
            shutil.rmtree(cache, ignore_errors=True)
            rows.append(read(folder, jobs, cache))
    warm = read(folder, 2, cache)
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(cold[1], cold[2], strict=True)]
    medians = {
        jobs: statistics.median(row["seconds"] for row in rows) for jobs, rows in cold.items()
    }
    return {
        "tokens": warm["tokens"],
        "one core, s": medians[1],
        "two cores, s": medians[2],
        "times faster": round(statistics.median(ratios), 2),
        "from cache, s": warm["seconds"],
        "grouping, s": warm["grouping"],
        "tunes": warm["tunes"],
        "parent, MB": max(row["parent_mb"] for row in cold[2]),
        "worker, MB": max(row["worker_mb"] for row in cold[2]),
    }


def main(argv: list[str] | None = None) -> int:
    """Print a table and a JSON line."""
    from tqdm import tqdm

    args = parse_args(argv)
    sources = [path for folder in args.folders for path in sorted(folder.rglob("*.mid"))]
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for size in tqdm(args.sizes, unit="size", disable=None):
            folder = Path(temporary, str(size))
            write_transposed(sources, size, folder)
            table[size] = measure(folder, args.rounds, Path(temporary, "cache"))
            shutil.rmtree(folder)
    columns = list(next(iter(table.values())))
    print(f"{'files':>8}" + "".join(f"{column:>16}" for column in columns))
    for size, row in table.items():
        print(f"{size:>8,}" + "".join(f"{row[column]:>16,}" for column in columns))
    print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
