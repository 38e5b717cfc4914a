"""Read a MIDI file as notes in seconds, one part per instrument, and its bar lines."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pretty_midi import note_number_to_drum_name
from tqdm import tqdm

from midilstm import midi
from midilstm.copies import MAX_SECONDS, NoteSpan
from midilstm.fileio import InputError, printable
from midilstm.midi import Note
from midilstm.rendering.piece_json import kept_notes, read_body

SUFFIXES = {".mid", ".midi"}
DRUM_COLOUR = "#777c85"
# Each has a contrast of at least 3 to 1 with white and with near-black, so the picture and both
# themes of the page share them; neighbours differ clearly in hue.
COLOURS = (
    *("#2a80e2", "#cf5604", "#019a46", "#bf50a0", "#0d9298", "#d24c49", "#9163d5", "#977e0d"),
    *("#0b79a0", "#9d5d03", "#517e01", "#bb3658", "#0e8071", "#9846ab", "#5560cf", "#737409"),
)
# Heights of a part's notes, as a share of a row: parts in unison are drawn one inside the other.
THICKNESS = (0.94, 0.66, 0.38)


@dataclass(frozen=True)
class Part:
    """Notes of one General MIDI program, or of the drums (midi.DRUMS).

    All of them, or in a piece that was written into those that were kept, or those drawn.
    """

    name: str
    program: int
    colour: str
    thickness: float
    notes: tuple[NoteSpan, ...]
    is_kept: bool = False

    @property
    def label(self) -> str:
        """Return the name for a legend."""
        return f"{self.name}, kept" if self.is_kept else self.name


@dataclass(frozen=True)
class TimedPiece:
    """One MIDI file's music; drums are the last part; bars are the bar lines' times in seconds.

    `body` is the JSON beside it.
    """

    path: Path
    score: midi.Score
    parts: tuple[Part, ...]
    bars: tuple[float, ...]
    seconds: float
    body: Mapping[str, Any] = field(default_factory=dict)


def read_timed(path: Path) -> TimedPiece:
    """Read a MIDI file; raise InputError if it is broken, has no notes or is too long."""
    try:
        score = midi.read(path)
    except midi.MidiError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    to_seconds = tick_converter(score)
    seconds = max(to_seconds([score.end])[0], 0.1)  # so that a click has a visible width
    if seconds > MAX_SECONDS:
        raise InputError(f"{path} lasts {seconds:,.0f} seconds; the limit is {MAX_SECONDS:,.0f}.")
    bars = to_seconds(midi.bar_ticks(score))
    body = read_body(path.with_suffix(".json"))
    parts = tuple(split_parts(score, kept_notes(score, body)))
    return TimedPiece(path, score, parts, tuple(bars), seconds, body)


def readable_pieces(folder: Path) -> Iterator[TimedPiece]:
    """Yield a folder's pieces, the newest first, hidden files excepted; warn of unreadable ones."""
    paths = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in SUFFIXES)
    for path in sorted(paths, key=lambda path: path.lstat().st_mtime_ns, reverse=True):
        try:
            yield read_timed(path)
        except (InputError, OSError) as error:
            tqdm.write(f"warning: {printable(str(error))}", file=sys.stderr)


def tick_converter(score: midi.Score) -> Callable[[Sequence[float]], list[float]]:
    """Return a function that converts ticks, up to the score's end, to seconds."""
    tempos = {0: midi.DEFAULT_BPM, **score.tempos}
    changes = [tick for tick in tempos if tick < max(score.end, 1)]
    ticks = [*changes, score.end]
    lengths = np.diff(ticks) / score.ticks_per_quarter * 60 / [tempos[tick] for tick in changes]
    seconds = np.cumsum([0, *lengths])
    return lambda times: np.interp(times, ticks, seconds).tolist()


def split_parts(score: midi.Score, kept: Set[Note]) -> Iterator[Part]:
    """Yield a part per program, in the order of the tracks, drums last, and one of kept notes."""
    notes = sorted(score.notes, key=lambda note: (note.program == midi.DRUMS, note.track))
    to_seconds = tick_converter(score)
    starts = to_seconds([note.start for note in notes])
    ends = to_seconds([note.start + note.length for note in notes])
    spans: dict[int, dict[bool, list[NoteSpan]]] = {}
    for note, start, end in zip(notes, starts, ends, strict=True):
        span = NoteSpan(start, end, note.pitch, note.velocity, note.program)
        spans.setdefault(note.program, {}).setdefault(note in kept, []).append(span)
    for index, (program, parts) in enumerate(spans.items()):
        colour, thickness = COLOURS[index % len(COLOURS)], THICKNESS[index % len(THICKNESS)]
        if program == midi.DRUMS:
            colour, thickness = DRUM_COLOUR, THICKNESS[0]
        name = midi.instrument_name(program)
        for is_kept, part in parts.items():
            yield Part(name, program, colour, thickness, tuple(part), is_kept)


def drum_name(pitch: int) -> str:
    """Return the General MIDI name of a drum."""
    return note_number_to_drum_name(pitch) or f"Drum {pitch}"
