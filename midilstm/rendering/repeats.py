"""Find the spans of a piece that occur more than once."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from midilstm.midi import DRUMS, Note, Score
from midilstm.rendering.timeline import COLOURS, TimedPiece, tick_converter

STEPS = 4  # grid steps per quarter note on which onsets are compared
MIN_ONSETS = 8  # shorter matches do not count as repeats
Onset = tuple[frozenset[int], int]  # pitches, steps since the previous onset


class RepeatedSpan(NamedTuple):
    """A span in seconds; all occurrences of the same music have the same colour."""

    start: float
    end: float
    colour: str


def repeated_spans(piece: TimedPiece) -> list[RepeatedSpan]:
    """Return every span of a piece that has an exact repeat in pitch and rhythm."""
    chords = notes_by_step(piece.score)
    pitches = [frozenset(note.pitch for note in chord) for chord in chords.values()]
    gaps = [after - before for before, after in pairwise([0, *chords])]
    origins, families = find_repeats([*zip(pitches, gaps, strict=True)])
    ticks = [*(chord[0].start for chord in chords.values()), piece.score.end]
    seconds = tick_converter(piece.score)(ticks)
    cuts = [
        index
        for index in range(1, len(chords))
        if families[index] != families[index - 1] or origins[index] != origins[index - 1] + 1
    ]
    return [
        RepeatedSpan(seconds[start], seconds[end], COLOURS[(families[start] - 1) % len(COLOURS)])
        for start, end in pairwise([0, *cuts, len(chords)])
        if families[start]
    ]


def notes_by_step(score: Score) -> dict[int, list[Note]]:
    """Return the notes that begin at each grid step; drums only in a piece of drums alone."""
    chords: dict[int, list[Note]] = {}
    for note in [note for note in score.notes if note.program != DRUMS] or score.notes:
        step = round(note.start * STEPS / score.ticks_per_quarter)
        chords.setdefault(step, []).append(note)
    return chords


def find_repeats(onsets: Sequence[Onset]) -> tuple[list[int], list[int]]:
    """Return for each onset the index of its first occurrence, and its family: 0 without a repeat.

    The longest match with the first occurrence is taken, and the search continues after it, so
    the time grows linearly with the number of onsets.
    """
    origins, families, n_families = list(range(len(onsets))), [0] * len(onsets), 0
    first: dict[object, int] = {}
    index = 0
    # The gap before a span's first onset is not part of the span.
    spans = [(onsets[i][0], *onsets[i + 1 : i + MIN_ONSETS]) for i in range(len(onsets))]
    for start in range(len(onsets) - MIN_ONSETS + 1):
        source = first.setdefault(spans[start], start)
        if start < index or source + MIN_ONSETS > start:
            continue
        index, family = start, n_families + 1
        while index < len(onsets) and index - start < start - source:
            origin = source + index - start
            if index > start and onsets[index] != onsets[origin]:
                break
            if not families[origin]:
                families[origin] = n_families = family
            origins[index], families[index] = origins[origin], families[origin]
            index += 1
    return origins, families
