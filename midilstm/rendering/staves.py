"""Arrange a piece's notes for sheet music: on a rhythmic grid, in staves, voices and bars."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from midilstm import midi
from midilstm.midi import Note, Score

BEAT = 12  # ticks of a quarter note, so that a sixteenth has 3 and a triplet eighth 4
SIXTEENTH, TRIPLET = 3, 4
KEYBOARDS, MIDDLE_C = (*range(8), *range(16, 21)), 60
MAX_VOICES = 4  # of a staff, as in notation programs
# Ticks of a note without a tie, fractions for bars of 128ths; and where in a beat one with a tie
# should end.
LENGTHS = (
    *(0.125, 0.25, 0.375, 0.5, 0.75, 1.5),
    *(1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 36, 48),
)
ENDS = (0, 3, 4, 6, 8, 9)


class Event(NamedTuple):
    """A note, a chord of notes that begin and end together, or a rest (no pitches), in ticks."""

    start: float
    end: float
    pitches: tuple[int, ...] = ()
    tie: str | None = None  # as music21 names it


def quantise_score(score: Score) -> Score:
    """Return a score with BEAT ticks per quarter note, on the grid that music21 uses."""

    def nearest(tick: int) -> int:
        return midi.quantised(tick, score.ticks_per_quarter)

    notes = []
    for note in score.notes:
        start, end = nearest(note.start), nearest(note.start + note.length)
        shortest = TRIPLET if start % SIXTEENTH else SIXTEENTH
        notes.append(note._replace(start=start, length=max(end - start, shortest)))
    return replace(
        score,
        ticks_per_quarter=BEAT,
        notes=tuple(notes),
        tempos={nearest(tick): bpm for tick, bpm in score.tempos.items()},
        time_signatures={nearest(tick): meter for tick, meter in score.time_signatures.items()},
    )


def bar_lines(score: Score) -> list[float]:
    """Return the tick of each bar line, that at the end of the last, complete bar included."""
    bars = midi.bar_ticks(score)
    changes = [(4, 4), *(x for tick, x in score.time_signatures.items() if tick < score.end)]
    beats, unit = changes[-1]
    return [*bars, bars[-1] + 4 * BEAT * beats / unit]


def split_staves(score: Score) -> Iterator[tuple[int, list[list[Event]]]]:
    """Yield the program and the voices of each staff, by track and channel, the drums last.

    A keyboard instrument with high and low notes has two staves. A staff with more voices than
    MAX_VOICES becomes several.
    """
    parts: dict[tuple[int, int, int], list[Note]] = defaultdict(list)
    for note in score.notes:
        is_drum = note.program == midi.DRUMS
        parts[(2**16, 0, 0) if is_drum else (note.track, note.channel, note.program)].append(note)
    for _, notes in sorted(parts.items()):
        program, pitches = notes[0].program, [note.pitch for note in notes]
        hands = [notes]
        if program in KEYBOARDS and min(pitches) <= MIDDLE_C - 12 and max(pitches) >= MIDDLE_C + 12:
            high = [note for note in notes if note.pitch >= MIDDLE_C]
            hands = [high, [note for note in notes if note.pitch < MIDDLE_C]]
        for hand in hands:
            voices: list[list[Event]] = []
            for event in _drum_events(hand) if program == midi.DRUMS else _chords(hand):
                free = (voice for voice in voices if voice[-1].end <= event.start)
                if (voice := next(free, None)) is None:
                    voices.append(voice := [])
                voice.append(event)
            for first in range(0, len(voices), MAX_VOICES):
                yield program, voices[first : first + MAX_VOICES]


def _drum_events(notes: Sequence[Note]) -> list[Event]:
    """Return drum hits that each last until the next one, and no longer than the beat."""
    hits: dict[int, list[int]] = defaultdict(list)
    for note in notes:
        hits[note.start].append(note.pitch)
    events = []
    for start, following in pairwise([*sorted(hits), notes[-1].start + BEAT]):
        end = min(following, start - start % BEAT + BEAT)
        events.append(Event(start, end, tuple(hits[start])))
    return events


def _chords(notes: Sequence[Note]) -> list[Event]:
    """Return the chords, the highest first at each onset.

    A note that overlaps the next one by less than a sixteenth ends where that one begins.
    """
    onsets = sorted({note.start for note in notes})
    chords: dict[tuple[int, int], list[int]] = defaultdict(list)
    for note in notes:
        end = note.start + note.length
        last_onset = onsets[bisect_left(onsets, end) - 1]
        if note.start < last_onset and end - last_onset < SIXTEENTH:
            end = last_onset
        chords[note.start, end].append(note.pitch)
    events = [Event(start, end, tuple(pitches)) for (start, end), pitches in chords.items()]
    return sorted(events, key=lambda event: (event.start, -max(event.pitches)))


def split_bars(voice: Sequence[Event], bars: Sequence[float]) -> list[list[Event]]:
    """Return a voice's events by bar, with rests, each of a length that one note can have."""
    gaps = zip([0, *(x.end for x in voice)], [*(x.start for x in voice), bars[-1]], strict=True)
    by_bar: list[list[Event]] = [[] for _ in bars[1:]]
    for event in sorted([*voice, *(Event(start, end) for start, end in gaps if start < end)]):
        start, index = event.start, bisect_right(bars, event.start) - 1
        while start < event.end:
            index += start == bars[index + 1]
            left = min(event.end, bars[index + 1]) - start
            end = start + _first_length(start - bars[index], left)
            ties = {(True, False): "start", (False, False): "continue", (False, True): "stop"}
            tie = ties.get((start == event.start, end == event.end)) if event.pitches else None
            by_bar[index].append(Event(start, end, event.pitches, tie))
            start = end
    return by_bar


def _first_length(in_bar: float, length: float) -> float:
    """Return the length of the first of the tied notes that fill a length, given its position."""
    if length in LENGTHS:
        return length
    longest = length if in_bar % BEAT == 0 else min(length, BEAT - in_bar % BEAT)
    parts = [x for x in LENGTHS if x <= longest]
    return max([x for x in parts if (in_bar + x) % BEAT in ENDS] or parts)
