"""A piece → the spans of its music that return. Knows no pictures."""

from collections.abc import Sequence
from itertools import pairwise

from midilstm.midi import DRUMS, Note, Score
from midilstm.rendering.timeline import COLOURS, TimedPiece, clock_of

STEPS = 4  # a quarter note: onsets are compared on a grid of sixteenths
ONSETS = 8  # fewer in a row, alike in pitches and rhythm, are no return
Onset = tuple[frozenset[int], int]  # pitches, steps since the onset before


def repeated_spans(piece: TimedPiece) -> list[tuple[float, float, str]]:
    """Return (start s, end s, colour) of what stands more than once; one colour, one music."""
    chords = onsets_of(piece.song)
    pitches = [frozenset(note.pitch for note in chord) for chord in chords.values()]
    steps = [after - before for before, after in pairwise([0, *chords])]
    origins, families = trace([*zip(pitches, steps, strict=True)])
    ticks = [*(chord[0].start for chord in chords.values()), piece.song.end]
    seconds = clock_of(piece.song)(ticks)
    cuts = [
        at
        for at in range(1, len(chords))
        if families[at] != families[at - 1] or origins[at] != origins[at - 1] + 1
    ]
    return [
        (seconds[start], seconds[end], COLOURS[(families[start] - 1) % len(COLOURS)])
        for start, end in pairwise([0, *cuts, len(chords)])
        if families[start]
    ]


def onsets_of(song: Score) -> dict[int, list[Note]]:
    """Return the notes that begin at each step of the grid; drums only where nothing else plays."""
    chords: dict[int, list[Note]] = {}
    for note in [note for note in song.notes if note.program != DRUMS] or song.notes:
        step = round(note.start * STEPS / song.ticks_per_quarter)
        chords.setdefault(step, []).append(note)
    return chords


def trace(onsets: Sequence[Onset]) -> tuple[list[int], list[int]]:
    """Return where each onset stood first, and its family: from 1 on, 0 if it stands but once.

    Time grows linearly: the longest return of what stood first is taken, then it goes on after it.
    """
    origins, families, family = list(range(len(onsets))), [0] * len(onsets), 0
    first: dict[object, int] = {}
    at = 0
    # How long a span's first onset comes after what stands before it is no part of the span.
    spans = [(onsets[at][0], *onsets[at + 1 : at + ONSETS]) for at in range(len(onsets))]
    for start in range(len(onsets) - ONSETS + 1):
        source = first.setdefault(spans[start], start)
        if start < at or source + ONSETS > start:
            continue
        at, fresh = start, family + 1
        while at < len(onsets) and at - start < start - source:
            place = source + at - start
            if at > start and onsets[at] != onsets[place]:
                break
            if not families[place]:
                families[place] = family = fresh
            origins[at], families[at] = origins[place], families[place]
            at += 1
    return origins, families
