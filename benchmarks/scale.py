"""Measure what a whole collection costs: time and peak memory against its size, cores, cache.

    python benchmarks/scale.py FOLDER ...

Collections of each size are made by transposing the folders' pieces. Each reading is a process of
its own, so that its peak memory is its own; one core and two take turns.
"""

import argparse
import json
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
    os.sched_setaffinity(0, {0})  # one core for all: the worker and what collects its results
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from midilstm.data.dataset import load_corpus
from midilstm.data.duplicates import groups
if __name__ == "__main__":
    begun = time.perf_counter()
    corpus = load_corpus(Path(sys.argv[1]), jobs=int(sys.argv[2]))
    seconds = time.perf_counter() - begun
    spans = {name: piece.spans for name, piece in corpus.sizes.items()}
    begun = time.perf_counter()
    found = groups(spans)
    grouping = time.perf_counter() - begun
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in whose]
    print(json.dumps({
        "seconds": round(seconds, 2),
        "grouping": round(grouping, 2),
        "tunes": len(corpus.sizes) - sum(map(len, found)) + len(found),
        "tokens": corpus.tokens,
        "from_cache": corpus.report.from_cache,
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


def transposed(sources: list[Path], size: int, folder: Path) -> None:
    """Fill `folder` with `size` different files: every source, then every source a semitone off."""
    import mido

    folder.mkdir()
    for number in range(size):
        source = sources[number % len(sources)]
        turn = number // len(sources)
        shift = (turn + 1) // 2 * (-1) ** turn  # 0, -1, 1, -2, 2 ...
        file = mido.MidiFile(source)
        for track in file.tracks:
            for message in track:
                if message.type in ("note_on", "note_off") and message.channel != 9:
                    message.note = min(127, max(0, message.note + shift))
        file.save(folder / f"{number:05}.mid")


def read(folder: Path, jobs: int) -> dict[str, float]:
    """Read a collection in a process of its own; return its figures."""
    # From a file, since the workers import the program that started them.
    with tempfile.TemporaryDirectory() as place:
        script = Path(place, "read.py")
        script.write_text(READ)
        command = [sys.executable, str(script), str(folder), str(jobs), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(folder: Path, rounds: int) -> dict[str, object]:
    """Read a collection without its cache on one core and on two, by turns, then with its cache."""
    cold: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for jobs, rows in cold.items():
            shutil.rmtree(folder / ".cache", ignore_errors=True)
            rows.append(read(folder, jobs))
    warm = read(folder, 2)
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
    with tempfile.TemporaryDirectory() as place:
        for size in tqdm(args.sizes, unit="size", disable=None):
            folder = Path(place, str(size))
            transposed(sources, size, folder)
            table[size] = measure(folder, args.rounds)
            shutil.rmtree(folder)
    columns = list(next(iter(table.values())))
    print(f"{'files':>8}" + "".join(f"{column:>16}" for column in columns))
    for size, row in table.items():
        print(f"{size:>8,}" + "".join(f"{row[column]:>16,}" for column in columns))
    print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
