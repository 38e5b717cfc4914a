"""Draw how much of each bar of a piece recurs in each other bar (PNG)."""

from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from midilstm.fileio import InputError
from midilstm.midi import Score
from midilstm.rendering.piano_roll import label_title, save_figure
from midilstm.rendering.repeats import STEPS, notes_by_step
from midilstm.rendering.timeline import TimedPiece, bar_ticks

MAX_BARS = 1000  # more would take minutes, and a bar would be less than a pixel


def draw_self_similarity(piece: TimedPiece) -> bytes:
    """Draw a square of bars by bars, dark where two are alike; raise InputError above MAX_BARS."""
    if max(len(piece.bars), piece.score.quarters / 4) > MAX_BARS:
        reason = "too many for a self-similarity matrix"
        raise InputError(f"{piece.path} has more than {MAX_BARS:,} bars, {reason}.")
    figure = Figure(figsize=(8, 7.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    edges = (0.5, len(piece.bars) + 0.5)
    matrix = self_similarity(piece.score)
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, extent=(*edges, *edges[::-1]))
    axes.set(xlabel="Bar", ylabel="Bar")
    label_title(axes, piece)
    figure.colorbar(image, shrink=0.6, label="share of the notes that agree")
    return save_figure(figure)


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
    lengths = np.diff(edges)
    roll = np.zeros((n_steps + max(lengths), 128), np.float32)
    for step, chord in chords.items():
        roll[step, [note.pitch for note in chord]] = 1
    notes_before = np.concatenate([[0], roll.sum(axis=1).cumsum()])  # [step]
    rows = []
    for (start, end), length in zip(pairwise(edges), lengths, strict=True):
        pairs = roll @ roll[start:end].T  # common pitches, [step, step of the bar]
        common = sum((pairs[i : i + n_steps, i] for i in range(length)), np.zeros(n_steps))
        passages = notes_before[length : length + n_steps] - notes_before[:n_steps]
        bar = notes_before[end] - notes_before[start]
        share = common / np.maximum(1, np.maximum(passages, bar))
        rows.append(np.maximum.reduceat(share, starts))
    return np.array(rows)
