"""Find the spans of a piece that occur more than once, and how similar its bars are."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np

from midilstm.midi import DRUMS, Note, Score, bar_ticks
from midilstm.rendering.timeline import COLOURS, TimedPiece, tick_converter

STEPS = 4  # grid steps per quarter note on which onsets are compared
MIN_ONSETS = 8  # shorter matches do not count as repeats
Onset = tuple[frozenset[int], int]  # pitches, steps since the previous onset


def repeated_spans(piece: TimedPiece) -> list[tuple[float, float, str]]:
    """Return start s, end s and colour of every span that has an exact repeat in pitch and rhythm.

    All occurrences of the same music have the same colour.
    """
    chords = notes_by_step(piece.score)
    pitches = [frozenset(note.pitch for note in chord) for chord in chords.values()]
    gaps = [after - before for before, after in pairwise([0, *chords])]
    labels = find_repeats([*zip(pitches, gaps, strict=True)])
    ticks = [*(chord[0].start for chord in chords.values()), piece.score.end]
    seconds = tick_converter(piece.score)(ticks)
    spans, end = [], 0
    # Within a span, the distance of the onsets from their origins is constant.
    keys = [(family, origin - index) for index, (family, origin) in enumerate(labels)]
    for (family, _), onsets in groupby(keys):
        start, end = end, end + len([*onsets])
        if family:
            spans.append((seconds[start], seconds[end], COLOURS[(family - 1) % len(COLOURS)]))
    return spans


def notes_by_step(score: Score) -> dict[int, list[Note]]:
    """Return the notes that begin at each grid step; drums only in a piece of drums alone."""
    chords: dict[int, list[Note]] = {}
    for note in [note for note in score.notes if note.program != DRUMS] or score.notes:
        step = round(note.start * STEPS / score.ticks_per_quarter)
        chords.setdefault(step, []).append(note)
    return chords


def find_repeats(onsets: Sequence[Onset]) -> list[tuple[int, int]]:
    """Return each onset's family, 0 without a repeat, and the index of its first occurrence.

    The longest match with the first occurrence is taken, and the search continues after it, so
    the time grows linearly with the number of onsets.
    """
    labels, n_families, end = [(0, index) for index in range(len(onsets))], 0, 0
    first: dict[object, int] = {}
    for start in range(len(onsets) - MIN_ONSETS + 1):
        # The gap before a span's first onset is not part of the span.
        key = (onsets[start][0], *onsets[start + 1 : start + MIN_ONSETS])
        lag = start - first.setdefault(key, start)
        if start < end or lag < MIN_ONSETS:
            continue
        end = start + 1
        while end < min(len(onsets), start + lag) and onsets[end] == onsets[end - lag]:
            end += 1
        source = slice(start - lag, end - lag)
        n_families += not all(family for family, _ in labels[source])
        labels[source] = [(family or n_families, origin) for family, origin in labels[source]]
        labels[start:end] = labels[source]
    return labels


def self_similarity(score: Score) -> np.ndarray:
    """Return how much of each bar recurs in music that begins in each bar, 0 to 1, [bars, bars].

    A value is the number of notes with equal onset and pitch, divided by the note count of the
    fuller of the two passages, at the offset within the bar where it is highest.
    """
    chords = notes_by_step(score)
    starts = [round(tick * STEPS / score.ticks_per_quarter) for tick in bar_ticks(score)]
    # The last bar counts as complete, as long as the one before.
    n_steps = 1 + max(2 * starts[-1] - starts[-2:][0] - 1, starts[-1], *chords)
    edges = [*starts, n_steps]
    roll = np.zeros((n_steps + max(np.diff(edges)), 128), np.float32)
    for step, chord in chords.items():
        roll[step, [note.pitch for note in chord]] = 1
    notes_before = np.concatenate([[0], roll.sum(axis=1).cumsum()])  # [step]
    rows = []
    for start, end in pairwise(edges):
        pairs = roll @ roll[start:end].T  # common pitches, [step, step of the bar]
        common = sum((pairs[i : i + n_steps, i] for i in range(end - start)), np.zeros(n_steps))
        passages = notes_before[end - start :][:n_steps] - notes_before[:n_steps]
        bar = notes_before[end] - notes_before[start]
        share = common / np.maximum(1, np.maximum(passages, bar))
        rows.append(np.maximum.reduceat(share, starts))
    return np.array(rows)
