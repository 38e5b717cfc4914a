"""The notes, tempos and time signatures of a piece, and the names of General MIDI programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from pretty_midi import program_to_instrument_name

DRUMS = -1  # the program of percussion, as in MidiTok
DEFAULT_BPM = 120.0  # the tempo of a MIDI file that gives none
MAX_QUARTERS = 20_000  # nearly three hours at 120 bpm; a longer file has a broken clock


class MidiError(ValueError):
    """Explain in one sentence why a file gives no score; `reason` is the short category."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


class Note(NamedTuple):
    """A note: times in ticks, General MIDI program 0..127 or DRUMS."""

    start: int
    length: int
    pitch: int
    velocity: int = 90
    program: int = 0
    track: int = 0  # counted from 0
    channel: int = 0  # 16 * port + MIDI channel, counted from 0


@dataclass(frozen=True)
class Score:
    """The notes of a piece by start, then pitch; tempos and time signatures by tick."""

    ticks_per_quarter: int
    notes: tuple[Note, ...]
    tempos: Mapping[int, float] = field(default_factory=dict)  # quarter notes per minute
    time_signatures: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # (3, 4) for 3/4
    hanging_notes: int = 0  # notes that begin and never end; `notes` does not contain them
    leading_bars: int = 0  # empty bars before the first note that were dropped
    warnings: tuple[str, ...] = ()  # one sentence each
    track_names: Mapping[int, str] = field(default_factory=dict, compare=False)
    pedal_ticks: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # by channel: down, up

    @property
    def end(self) -> int:
        """Return the tick at which the last note ends."""
        return max((note.start + note.length for note in self.notes), default=0)

    @property
    def quarters(self) -> float:
        """Return the length in quarter notes."""
        return self.end / self.ticks_per_quarter

    @property
    def instruments(self) -> tuple[str, ...]:
        """Return the sorted General MIDI names of the programs; drums are Percussion."""
        return tuple(sorted({instrument_name(note.program) for note in self.notes}))


def cut_at_next_onset(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return the notes by start; each ends at the next onset of its key, as a file requires."""
    cut: list[Note] = []
    onsets: dict[tuple[int, int], tuple[float, float]] = {}  # key → its two earliest onsets so far
    for note in sorted(notes, reverse=True):
        key = note.program, note.pitch
        first, following = onsets.get(key, (inf, inf))
        if note.start < first:
            first, following = onsets[key] = note.start, first
        cut.append(note._replace(length=int(min(note.length, following - note.start))))
    return tuple(sorted(cut))


def quantised(tick: int, quarter: int) -> int:
    """Return the nearer of sixteenth and triplet eighth, in twelfths of `quarter` ticks.

    Half way, music21 takes the earlier sixteenth, and a sixteenth before a triplet.
    """
    near = 12 * tick // quarter
    grid = [slot for slot in range(near - 2, near + 4) if slot % 3 == 0 or slot % 4 == 0]
    return min(grid, key=lambda slot: (abs(slot * quarter - 12 * tick), slot % 3, slot))


def instrument_name(program: int) -> str:
    """Return the General MIDI name of a program, Percussion for DRUMS."""
    return "Percussion" if program == DRUMS else str(program_to_instrument_name(program))
