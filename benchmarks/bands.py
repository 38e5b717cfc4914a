"""Measure what tsd and remi keep of a MIDI file, and what grid their times need.

    python benchmarks/bands.py FOLDER ...

Each file is encoded, written again and read by pretty_midi; a note is kept if the written file has
one of its pitch and instrument. Times are compared for notes that do not overlap with others of
their pitch and instrument, in milliseconds at the file's first tempo.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import markdown_head, markdown_row
from midilstm import midi, tokenizers
from midilstm.data.files import list_folder
from midilstm.tokenizers.meter import COMMON_TIME

ENCODINGS = ("tsd", "remi")
RESOLUTIONS = (4, 6, 8, 12, 16, 24, 48)  # candidates for positions in a quarter note
Part = tuple[int, int]  # program, pitch


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure what tsd and remi keep of MIDI files.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders of MIDI files")
    return parser.parse_args(argv)


def by_part(notes: Iterable[tuple[int, int, float, float]]) -> dict[Part, np.ndarray]:
    """Return float [n, 2], start and length in quarters, for each program and pitch."""
    parts: dict[Part, list[tuple[float, float]]] = defaultdict(list)
    for program, pitch, start, length in notes:
        parts[program, pitch].append((start, length))
    return {part: np.array(sorted(rows)) for part, rows in parts.items()}


def notes_of(score: midi.Score) -> dict[Part, np.ndarray]:
    """Return the notes of a score by part."""
    quarter = score.ticks_per_quarter
    return by_part((n.program, n.pitch, n.start / quarter, n.length / quarter) for n in score.notes)


def quarter_ms(score: midi.Score) -> float:
    """Return the milliseconds of a quarter note at the first tempo."""
    return 60_000 / (score.tempos[min(score.tempos)] if score.tempos else midi.DEFAULT_BPM)


def read_by_pretty_midi(path: Path) -> dict[Part, np.ndarray]:
    """Return the notes that pretty_midi reads in a file, by part."""
    import pretty_midi

    file = pretty_midi.PrettyMIDI(str(path))
    notes = []
    for part in file.instruments:
        program = midi.DRUMS if part.is_drum else part.program
        for note in part.notes:
            ticks = file.time_to_tick(note.start), file.time_to_tick(note.end)
            start, end = (tick / file.resolution for tick in ticks)
            notes.append((program, note.pitch, start, end - start))
    return by_part(notes)


def not_overlapped(rows: np.ndarray) -> np.ndarray:
    """Return bool [n]: whether no neighbour of a (start, length) sounds at the same time."""
    free = np.ones(len(rows), bool)
    overlapping = rows[1:, 0] < np.maximum.accumulate(rows.sum(1))[:-1] - 1e-9
    free[1:] &= ~overlapping
    free[:-1] &= ~overlapping
    return free


@dataclass(frozen=True)
class RoundTrip:
    """What an encoding keeps of a file."""

    n_notes: int
    n_tokens: int
    kept: float  # fraction of the notes
    errors: np.ndarray  # float [n, 2], of onset and length in milliseconds
    keeps_meters: bool
    tempo_error: float  # largest relative error of a tempo; infinity if one is missing


def round_trip(path: Path, encoding_name: str, copy: Path) -> RoundTrip:
    """Write a file again, as `copy`, through an encoding."""
    score, encoding = midi.read(path), tokenizers.get(encoding_name)
    tokens = encoding.encode(score)
    encoding.write(tokens, copy)
    written_parts = read_by_pretty_midi(copy)
    errors, n_kept = [np.zeros((0, 2))], 0
    for part, rows in notes_of(score).items():
        written_rows = written_parts.get(part, np.zeros((0, 2)))
        n_kept += min(len(rows), len(written_rows))
        if len(rows) == len(written_rows):
            errors.append(quarter_ms(score) * np.abs(rows - written_rows)[not_overlapped(rows)])
    written = midi.read(copy)
    return RoundTrip(
        n_notes=len(score.notes),
        n_tokens=len(tokens),
        kept=n_kept / len(score.notes),
        errors=np.concatenate(errors),
        keeps_meters=meters(score) == meters(written),
        tempo_error=tempo_error(score, written),
    )


def meters(score: midi.Score) -> list[tuple[float, tuple[int, int]]]:
    """Return each time signature and the quarter at which it begins; 4/4 if none is given."""
    changes = [(0.0, COMMON_TIME)] if min(score.time_signatures, default=1) else []
    for tick, signature in sorted(score.time_signatures.items()):
        if not changes or changes[-1][1] != signature:
            changes.append((round(tick / score.ticks_per_quarter, 2), signature))
    return changes


def tempo_error(before: midi.Score, after: midi.Score) -> float:
    """Return the largest relative error of a tempo; infinity if one is missing."""
    old, new = (
        [bpm for _, bpm in sorted(score.tempos.items())] or [midi.DEFAULT_BPM]
        for score in (before, after)
    )
    if len(old) != len(new):
        return float("inf")
    return max(abs(a / b - 1) for a, b in zip(new, old, strict=True))


def mean_and_percentile(errors: np.ndarray) -> str:
    """Format the mean and the 99th percentile of errors."""
    return f"{errors.mean():.1f} / {np.percentile(errors, 99):.1f}"


def show_round_trips(folder: Path, paths: list[Path]) -> None:
    """Print a Markdown row for each encoding."""
    from tqdm import tqdm

    for encoding in ENCODINGS:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, "copy.mid")
            trips = [round_trip(path, encoding, copy) for path in tqdm(paths, disable=None)]
        n_notes = sum(trip.n_notes for trip in trips)
        errors = np.concatenate([trip.errors for trip in trips])
        cells = [
            f"{folder.name}, {encoding}",
            f"{len(trips)}",
            f"{n_notes:,}",
            f"{sum(trip.n_tokens for trip in trips) / n_notes:.2f}",
            f"{min(trip.kept for trip in trips):.2%}",
            f"{len(errors) / n_notes:.1%}",
            *(mean_and_percentile(column) for column in errors.T),
        ]
        if encoding == "remi":
            cells.append(f"{sum(trip.keeps_meters for trip in trips)} of {len(trips)}")
            cells.append(f"{max(trip.tempo_error for trip in trips):.1%}")
        print(markdown_row(cells), flush=True)


def show_grids(folder: Path, paths: list[Path]) -> None:
    """Print a Markdown row: how far onsets lie from each grid, mean / 99th percentile."""
    errors: dict[int, list[np.ndarray]] = defaultdict(list)
    for path in paths:
        score = midi.read(path)
        starts = np.array([note.start for note in score.notes]) / score.ticks_per_quarter
        for positions in RESOLUTIONS:
            nearest = np.round(starts * positions) / positions
            errors[positions].append(quarter_ms(score) * np.abs(starts - nearest))
    cells = [mean_and_percentile(np.concatenate(errors[x])) for x in RESOLUTIONS]
    print(markdown_row([folder.name, *cells]))


def has_notes(path: Path) -> bool:
    """Tell whether a file can be read and has notes."""
    try:
        return bool(midi.read(path).notes)
    except midi.MidiError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    pieces = {
        folder: [path for path in list_folder(folder).midi_files if has_notes(path)]
        for folder in parse_args(argv).folders
    }
    print(*markdown_head(["onset error, ms", *map(str, RESOLUTIONS)]), sep="\n")
    for folder, paths in pieces.items():
        show_grids(folder, paths)
    head = ["", "files", "notes", "tokens per note", "smallest share of notes kept"]
    head += ["not overlapped", "onset error ms", "length error ms", "time signatures kept"]
    print("", *markdown_head([*head, "largest tempo error"]), sep="\n")
    for folder, paths in pieces.items():
        show_round_trips(folder, paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
