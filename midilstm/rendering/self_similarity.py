"""A piece → a picture of its form (PNG): how much of each bar stands in each other bar."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from midilstm.fileio import InputError
from midilstm.midi import Score
from midilstm.rendering.piano_roll import label_title, save_figure
from midilstm.rendering.repeats import STEPS, onsets_of
from midilstm.rendering.timeline import TimedPiece, bar_ticks

MAX_BARS = 1000  # more would take minutes, and each be less than a pixel


def draw_self_similarity(piece: TimedPiece) -> bytes:
    """Draw bars across and down, dark where they are alike; raise InputError for too many."""
    if max(len(piece.bars), piece.song.quarters / 4) > MAX_BARS:
        raise InputError(f"{piece.path} has more than {MAX_BARS:,} bars: its form is not drawn.")
    figure = Figure(figsize=(8, 7.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    edges = (0.5, len(piece.bars) + 0.5)
    image = axes.imshow(
        self_similarity(piece.song), cmap="Blues", vmin=0, vmax=1, extent=(*edges, *edges[::-1])
    )
    axes.set(xlabel="Bar", ylabel="Bar")
    label_title(axes, piece)
    figure.colorbar(image, shrink=0.6, label="share of the notes that agree")
    return save_figure(figure)


def self_similarity(song: Score) -> Any:
    """Return how much of each bar stands in music that begins in each, 0 to 1, float [bars, bars].

    It is the notes alike in onset and pitch, as a share of the fuller music's, where most agree.
    """
    chords = onsets_of(song)
    starts = [round(tick * STEPS / song.ticks_per_quarter) for tick in bar_ticks(song)]
    # The last bar counts as whole, as long as the one before.
    count = 1 + max(2 * starts[-1] - starts[-2:][0] - 1, starts[-1], *chords)
    edges = [*starts, count]
    lengths = np.diff(edges)
    roll = np.zeros((count + max(lengths), 128), np.float32)
    for step, chord in chords.items():
        roll[step, [note.pitch for note in chord]] = 1
    heard = np.concatenate([[0], roll.sum(axis=1).cumsum()])  # notes before each step
    rows = []
    for (start, end), length in zip(pairwise(edges), lengths, strict=True):
        pairs = roll @ roll[start:end].T  # notes alike, [step, step of the bar]
        alike = sum((pairs[step : step + count, step] for step in range(length)), np.zeros(count))
        there, here = heard[length : length + count] - heard[:count], heard[end] - heard[start]
        share = alike / np.maximum(1, np.maximum(there, here))
        rows.append(np.maximum.reduceat(share, starts))
    return np.array(rows)
