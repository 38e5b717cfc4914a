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
import time
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import print_table


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure what a whole collection costs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, help="folders of MIDI files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000], help="files")
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that one core and two take turns"
    )
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
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


def read_here(folder: Path, jobs: int) -> dict[str, float]:
    """Read a collection with so many worker processes; return its figures."""
    import resource

    if jobs == 1:
        os.sched_setaffinity(0, {0})  # the worker and the process that collects its results
    from midilstm.config import DataConfig
    from midilstm.data.dataset import load_dataset
    from midilstm.data.duplicates import duplicate_groups

    start = time.perf_counter()
    dataset = load_dataset(DataConfig(data_dir=folder, jobs=jobs, transpose=False))
    seconds = time.perf_counter() - start
    hashes = {name: piece.melody_hashes for name, piece in dataset.pieces.items()}
    start = time.perf_counter()
    groups = duplicate_groups(hashes)
    return {
        "seconds": round(seconds, 2),
        "grouping": round(time.perf_counter() - start, 2),
        "tunes": len(dataset.pieces) - sum(map(len, groups)) + len(groups),
        "tokens": dataset.n_tokens,
        "from_cache": dataset.report.from_cache,
        "parent_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "worker_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def read(folder: Path, jobs: int, cache: Path) -> dict[str, float]:
    """Read a collection in another process; return its figures."""
    command = [sys.executable, __file__, str(folder), f"--child={jobs}"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures: dict[str, float] = json.loads(result.stdout)
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
    if args.child:
        print(json.dumps(read_here(args.folders[0], args.child)))
        return 0
    sources = [path for folder in args.folders for path in sorted(folder.rglob("*.mid"))]
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for size in tqdm(args.sizes, unit="size", disable=None):
            folder = Path(temporary, str(size))
            write_transposed(sources, size, folder)
            table[size] = measure(folder, args.rounds, Path(temporary, "cache"))
            shutil.rmtree(folder)
    print_table("files", {f"{size:,}": row for size, row in table.items()}, 2)
    print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
