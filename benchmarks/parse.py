"""Compare the speed of reading MIDI files with music21's full parse and with other readers.

    python benchmarks/parse.py FOLDER ...

Every reader reads every file once, in turn, so that a busy machine slows all of them alike; times
are processor seconds of this process. A file that any reader refuses is left out and named.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import print_table
from midilstm import midi, tokenizers
from midilstm.data.files import list_folder

PARSE = "music21 converter.parse"
Readers = dict[str, Callable[[Path], object]]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure how fast MIDI files are read.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders of MIDI files")
    parser.add_argument("--every", type=int, default=1, help="read only each n-th file")
    parser.add_argument(
        "--long-tracks",
        type=int,
        nargs="*",
        default=[10_000, 40_000, 160_000],
        metavar="NOTES",
        help="also read one track of so many notes (default: 10000 40000 160000; none: skip it)",
    )
    return parser.parse_args(argv)


def readers() -> Readers:
    """Return the readers by name, the fast ones first."""
    import warnings

    import mido
    from music21 import converter
    from symusic import Score

    # Track names in another character set than music21 expects change no note.
    warnings.filterwarnings("ignore", category=UserWarning)

    return {
        "symusic (C++), events and notes": Score,
        "midi.read, no tokens": midi.read,
        **{name: partial(tokenizers.read, encoding=name) for name in tokenizers.ENCODINGS},
        "mido, events only": mido.MidiFile,
        "music21 MidiFile, events only": music21_events,
        PARSE: lambda path: list(converter.parse(path, forceSource=True).flatten().notes),
    }


def music21_events(path: Path) -> list[str]:
    """Return the tracks of music21's own event reader."""
    from music21.midi import MidiFile

    file = MidiFile()
    file.readstr(path.read_bytes())
    return file.tracks


def seconds(reader: Callable[[Path], object], path: Path) -> float:
    """Return the processor seconds that one reading takes."""
    start = time.process_time()
    reader(path)
    return time.process_time() - start


def measure(paths: list[Path], by_name: Readers) -> tuple[list[dict[str, float]], list[str]]:
    """Return each file's seconds by reader, and a line for each file that one of them refused."""
    from tqdm import tqdm

    rows, refused = [], []
    for path in tqdm(paths, unit="file", disable=None):
        try:
            rows.append({name: seconds(reader, path) for name, reader in by_name.items()})
        except Exception as error:  # readers fail in many ways, and all mean the same here
            refused.append(f"left out {path.name}: {type(error).__name__}: {error}")
        # The full parse leaves a score in memory, whose deletion must not be timed.
        gc.collect()
    return rows, refused


def compare(rows: list[dict[str, float]], name: str) -> dict[str, float]:
    """Return a reader's seconds, and the full parse's in units of them: of sums, and the median."""
    total, parse = (sum(row[column] for row in rows) for column in (name, PARSE))
    return {
        "seconds": round(total, 3),
        "parse, of sums": round(parse / total, 1),
        "parse, median": round(statistics.median(row[PARSE] / row[name] for row in rows), 1),
    }


def long_track(notes: int, folder: Path, *, running: bool) -> Path:
    """Write one track of repeated notes; if `running`, only the first event has a status byte."""
    events = b"\x00\x90\x3c\x40\x08\x80\x3c\x00" * notes
    if running:
        events = b"\x00\x90\x3c\x40" + b"\x08\x3c\x00\x00\x3c\x40" * (notes - 1) + b"\x08\x3c\x00"
    events += b"\x00\xff\x2f\x00"
    path = folder / f"{notes}{running}.mid"
    header = b"MThd\0\0\0\6\0\0\0\1\1\xe0"
    path.write_bytes(header + b"MTrk" + len(events).to_bytes(4) + events)
    return path


def measure_growth(sizes: list[int]) -> dict[int, dict[str, float]]:
    """Return the seconds of this project's and music21's event reader for tracks of these sizes."""
    import tempfile

    by_name: Readers = {"ours": midi.read, "MidiFile": music21_events}
    with tempfile.TemporaryDirectory() as folder:
        return {
            size: {
                f"{name}{', running' * running}": round(
                    seconds(reader, long_track(size, Path(folder), running=running)), 3
                )
                for running in (False, True)
                for name, reader in by_name.items()
            }
            for size in sizes
        }


def main(argv: list[str] | None = None) -> int:
    """Read the folders with every reader, and print two tables and a JSON line."""
    args = parse_args(argv)
    by_name = readers()
    for name in tokenizers.ENCODINGS:  # create the encodings before the first file is timed
        tokenizers.get(name).encode(midi.Score(480, (midi.Note(0, 480, 60),)))
    rows: list[dict[str, float]] = []
    folders = {}
    for folder in args.folders:
        rows_of_folder, refused = measure(list_folder(folder).midi_files[:: args.every], by_name)
        print(*refused, sep="\n", end="\n" if refused else "")
        if not rows_of_folder:
            print(f"{folder} holds no MIDI file that every reader can read", file=sys.stderr)
            return 2
        rows += rows_of_folder
        folders[f"{folder} ({len(rows_of_folder)} files)"] = {
            name: compare(rows_of_folder, name)["parse, of sums"] for name in tokenizers.ENCODINGS
        }
    result = {name: compare(rows, name) for name in by_name}
    print_table(f"{len(rows)} files; the full parse's time in units of the reader's", result, 3)
    print_table("the same by folder, of sums", folders, 3)
    growth = measure_growth(args.long_tracks)
    if growth:
        table = {f"{size:,}": row for size, row in growth.items()}
        print_table("notes in one track; seconds", table, 3)
    print(json.dumps({"files": len(rows), "readers": result, "long_tracks": growth}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
