"""Measure what tsd and remi keep of a MIDI file, and what grid their times need.

    python benchmarks/bands.py FOLDER ...

Each file is read, written again and read by pretty_midi; a note has come back where the written
file has one of its pitch and instrument. Times are compared for the notes that no other of their
pitch and instrument overlaps, in milliseconds at the file's first tempo.
"""

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.tokenizers.meter import COMMON_TIME

NAMES = ("tsd", "remi")
RESOLUTIONS = (4, 6, 8, 12, 16, 24, 48)  # candidates for positions in a quarter note
Part = tuple[int, int]  # program, pitch


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description="Measure what tsd and remi keep of MIDI files.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders of MIDI files")
    return parser.parse_args(argv)


def by_part(notes: list[tuple[int, int, float, float]]) -> dict[Part, np.ndarray]:
    """Return float [n, 2], start and length in quarters, for each instrument's pitch."""
    parts: dict[Part, list[tuple[float, float]]] = defaultdict(list)
    for program, pitch, start, length in notes:
        parts[program, pitch].append((start, length))
    return {part: np.array(sorted(rows)) for part, rows in parts.items()}


def source(song: midi.Score) -> dict[Part, np.ndarray]:
    """Return the notes of a song by part."""
    quarter = song.ticks_per_quarter
    notes = ((n.program, n.pitch, n.start / quarter, n.length / quarter) for n in song.notes)
    return by_part(list(notes))


def beat_of(song: midi.Score) -> float:
    """Return the milliseconds of a quarter note at the first tempo."""
    return 60_000 / (song.tempos[min(song.tempos)] if song.tempos else midi.DEFAULT_BPM)


def written(path: Path) -> dict[Part, np.ndarray]:
    """Return the notes that pretty_midi reads in a file, by part."""
    import pretty_midi

    file = pretty_midi.PrettyMIDI(str(path))

    def quarters(seconds: float) -> float:
        return float(file.time_to_tick(seconds)) / file.resolution

    return by_part(
        [
            (
                midi.DRUMS if part.is_drum else part.program,
                note.pitch,
                quarters(note.start),
                quarters(note.end) - quarters(note.start),
            )
            for part in file.instruments
            for note in part.notes
        ]
    )


def alone(rows: np.ndarray) -> np.ndarray:
    """Tell of each (start, length) whether no neighbour sounds at the same time, bool [n]."""
    free = np.ones(len(rows), bool)
    overlapping = rows[1:, 0] < np.maximum.accumulate(rows.sum(1))[:-1] - 1e-9
    free[1:] &= ~overlapping
    free[:-1] &= ~overlapping
    return free


def round_trip(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """Return what came back of one file in one encoding."""
    song, encoding = midi.read(path), encodings.get(name)
    tokens = encoding.encode(song)
    left_out = encoding.write(tokens, folder / "again.mid")
    before, after, beat = source(song), written(folder / "again.mid"), beat_of(song)
    errors, back = [np.zeros((0, 2))], 0
    for part, rows in before.items():
        found = after.get(part, np.zeros((0, 2)))
        back += min(len(rows), len(found))
        if len(rows) == len(found):
            errors.append(beat * np.abs(rows - found)[alone(rows)])
    repeated_mask = midi.read(folder / "again.mid")
    return {
        "notes": len(song.notes),
        "tokens": len(tokens),
        "left out": left_out,
        "share": back / len(song.notes),
        "errors": np.concatenate(errors),
        "signatures": meters(song) == meters(repeated_mask),
        "tempo": tempo_error(song, repeated_mask),
    }


def meters(song: midi.Score) -> list[tuple[float, tuple[int, int]]]:
    """Return where in quarters each other time signature begins; 4/4 where none is given."""
    found = [(0.0, COMMON_TIME)] if min(song.time_signatures, default=1) else []
    for tick, signature in sorted(song.time_signatures.items()):
        if not found or found[-1][1] != signature:
            found.append((round(tick / song.ticks_per_quarter, 2), signature))
    return found


def tempo_error(before: midi.Score, after: midi.Score) -> float:
    """Return the largest share by which a tempo changed; infinity where one is missing."""
    old, new = (
        [bpm for _, bpm in sorted(song.tempos.items())] or [midi.DEFAULT_BPM]
        for song in (before, after)
    )
    if len(old) != len(new):
        return float("inf")
    return max(abs(a / b - 1) for a, b in zip(new, old, strict=True))


def show_round_trips(folder: Path, paths: list[Path]) -> None:
    """Print a Markdown row for each encoding."""
    from tqdm import tqdm

    for name in NAMES:
        with tempfile.TemporaryDirectory() as place:
            found = [round_trip(path, name, Path(place)) for path in tqdm(paths, disable=None)]
        total = Counter[str]()
        for row in found:
            total.update({key: row[key] for key in ("notes", "tokens", "left out")})
        errors = np.concatenate([row["errors"] for row in found])
        least = min(row["share"] for row in found)
        cells = [
            f"{folder.name}, {name}",
            f"{len(found)}",
            f"{total['notes']:,}",
            f"{total['tokens'] / total['notes']:.2f}",
            f"{least:.2%}",
            f"{len(errors) / total['notes']:.1%}",
            *(f"{errors[:, i].mean():.1f} / {np.percentile(errors[:, i], 99):.1f}" for i in (0, 1)),
        ]
        if name == "remi":
            kept = sum(row["signatures"] for row in found)
            cells += [f"{kept} of {len(found)}", f"{max(row['tempo'] for row in found):.1%}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def show_grids(folder: Path, paths: list[Path]) -> None:
    """Print a Markdown row: how far onsets lie from each grid, mean / 99th percentile."""
    errors: dict[int, list[np.ndarray]] = defaultdict(list)
    for path in paths:
        song = midi.read(path)
        starts = np.array([note.start for note in song.notes]) / song.ticks_per_quarter
        beat = beat_of(song)
        for positions in RESOLUTIONS:
            nearest = np.round(starts * positions) / positions
            errors[positions].append(beat * np.abs(starts - nearest))
    cells = []
    for positions in RESOLUTIONS:
        every = np.concatenate(errors[positions])
        cells.append(f"{every.mean():.1f} / {np.percentile(every, 99):.1f}")
    print(f"| {folder.name} | " + " | ".join(cells) + " |")


def is_piece(path: Path) -> bool:
    """Tell whether a file can be read and has notes."""
    try:
        return bool(midi.read(path).notes)
    except midi.MidiError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    found = {}
    for folder in parse_args(argv).folders:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".mid", ".midi"))
        found[folder] = [path for path in paths if is_piece(path)]
    print("| onset error, ms | " + " | ".join(map(str, RESOLUTIONS)) + " |")
    print("|---|" + "---:|" * len(RESOLUTIONS))
    for folder, paths in found.items():
        show_grids(folder, paths)
    heads = "files,notes,tokens a note,fewest notes back,not overlapped,onset error ms"
    heads += ",length error ms,time signatures kept,tempo off by at most"
    print("\n| " + " | ".join(["", *heads.split(",")]) + " |\n|---|" + "---:|" * 9)
    for folder, paths in found.items():
        show_round_trips(folder, paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
