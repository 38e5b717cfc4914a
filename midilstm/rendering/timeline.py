"""A MIDI file → its notes in seconds, one part an instrument, and its bar lines."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm import midi
from midilstm.fileio import InputError, printable

SUFFIXES = {".mid", ".midi"}
MAX_SECONDS = 3600.0
DRUM_COLOUR = "#777c85"
# Each stands out from white and from near-black alike (3 to 1 or more), so the picture and both
# themes of the page share them; neighbours lie far apart in hue.
COLOURS = (
    *("#2a80e2", "#cf5604", "#019a46", "#bf50a0", "#0d9298", "#d24c49", "#9163d5", "#977e0d"),
    *("#0b79a0", "#9d5d03", "#517e01", "#bb3658", "#0e8071", "#9846ab", "#5560cf", "#737409"),
)
# Heights of a note, in rows, by turns: parts that play in unison show one within the other.
THICKNESS = (0.94, 0.66, 0.38)
TimedNote = tuple[float, float, int, int]  # start and end in seconds, pitch, velocity


@dataclass(frozen=True)
class Part:
    """All notes of one General MIDI program, or of the drums (midi.DRUMS)."""

    name: str
    program: int
    colour: str
    thickness: float
    notes: tuple[TimedNote, ...]


@dataclass(frozen=True)
class TimedPiece:
    """One MIDI file's music, drums last; bars are the times of the bar lines in seconds."""

    path: Path
    song: midi.Score
    parts: tuple[Part, ...]
    bars: tuple[float, ...]
    seconds: float


def read_timed(path: Path) -> TimedPiece:
    """Read a file's music; raise InputError where it is missing, broken, empty or too long."""
    if not path.is_file():
        raise InputError(f"{path} is not a file: name a .mid file.")
    try:
        song = midi.read(path)
    except midi.MidiError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    clock = clock_of(song)
    seconds = max(clock([song.end])[0], 0.1)  # a click needs a width
    if seconds > MAX_SECONDS:
        raise InputError(f"{path} lasts {seconds:,.0f} seconds; the most is {MAX_SECONDS:,.0f}.")
    # One part a program, in the tracks' order, drums last.
    notes = sorted(song.notes, key=lambda note: (note.program == midi.DRUMS, note.track))
    starts = clock([note.start for note in notes])
    ends = clock([note.start + note.length for note in notes])
    sounds: dict[int, list[TimedNote]] = {}
    for note, start, end in zip(notes, starts, ends, strict=True):
        timed = (start, end, note.pitch, note.velocity)
        sounds.setdefault(note.program, []).append(timed)
    parts = [part_of(*sound, turn) for turn, sound in enumerate(sounds.items())]
    return TimedPiece(path, song, tuple(parts), tuple(clock(bar_ticks(song))), seconds)


def readable_pieces(folder: Path) -> Iterator[TimedPiece]:
    """Yield a folder's pieces, the newest first; name those left out."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    ages = {path: path.stat().st_mtime_ns if path.is_file() else 0 for path in paths}
    for path in sorted(paths, key=ages.__getitem__, reverse=True):
        try:
            yield read_timed(path)
        except (InputError, OSError) as error:
            tqdm.write(f"left out: {printable(str(error))}", file=sys.stderr)


def clock_of(song: midi.Score) -> Callable[[Sequence[float]], list[float]]:
    """Return a function from ticks, up to the song's end, to seconds."""
    tempos = {0: midi.DEFAULT_BPM} | {
        tick: bpm for tick, bpm in song.tempos.items() if tick < song.end
    }
    ticks = [*tempos, song.end]
    lengths = np.diff(ticks) / song.ticks_per_quarter * 60 / np.array([*tempos.values()])
    seconds = np.cumsum([0, *lengths])
    return lambda wanted: np.interp(wanted, ticks, seconds).tolist()


def bar_ticks(song: midi.Score) -> list[float]:
    """Return the ticks at which a bar begins: in 4/4 until the song says otherwise."""
    signatures = {0: (4, 4), **song.time_signatures}
    changes = [tick for tick in signatures if tick < song.end]
    ticks: list[float] = []
    for start, stop in pairwise([*changes, song.end]):
        beats, unit = signatures[start]
        ticks += np.arange(start, stop, song.ticks_per_quarter * 4 * beats / unit).tolist()
    return ticks


def part_of(program: int, notes: Sequence[TimedNote], turn: int) -> Part:
    """Name and colour a part; `turn` counts the parts before it."""
    colour, thickness = COLOURS[turn % len(COLOURS)], THICKNESS[turn % len(THICKNESS)]
    if program == midi.DRUMS:
        colour, thickness = DRUM_COLOUR, THICKNESS[0]
    return Part(midi.instrument_name(program), program, colour, thickness, tuple(notes))
