"""The twelve features by which MGEval describes a piece.

After Yang and Lerch 2018, "On the evaluation of generative models in music", and their program,
github.com/RichardYang40148/mgeval, for one melody. Here a piece may have many instruments: features
of neighbouring notes compare notes of one instrument, and drums have no pitch or length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from midilstm.evaluation.features import BAR, STEPS, Feature, NoteArray, mean, pitch_range

BARS = 8  # compared one by one, a missing bar as an empty one; a parameter of MGEval
# Whole to sixteenth, dotted half to dotted sixteenth, triplet half to triplet eighth.
LENGTHS = np.array([96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]) * BAR // 96
NEAR = 2  # steps from a note's end to the next one's beginning: pretty_midi's 0.05 s at 120 bpm


def _per_bar(feature: Callable[[NoteArray], float]) -> Feature:
    """Return the feature of the notes that begin in each of the first bars, float [BARS]."""
    return lambda notes: np.array(
        [feature(notes.select(notes.start // BAR == bar)) for bar in range(BARS)]
    )


def _by_instrument(notes: NoteArray) -> tuple[NoteArray, np.ndarray]:
    """Return pitched notes by instrument, and whether the next has the same one, bool [n - 1]."""
    pitched = notes.pitched()
    pitched = pitched.select(np.argsort(pitched.program, kind="stable"))
    return pitched, pitched.program[1:] == pitched.program[:-1]


def pitch_count(notes: NoteArray) -> float:
    """Return the number of different pitches."""
    return float(len(np.unique(notes.pitched().pitch)))


def _sounding(notes: NoteArray, begin: int, end: int) -> np.ndarray:
    """Return the steps for which each pitch class sounds between two steps, float [12]."""
    steps = np.minimum(notes.stop, end) - np.maximum(notes.start, begin)
    return np.bincount(notes.pitch % 12, np.maximum(steps, 0), 12)


def pitch_classes(notes: NoteArray) -> np.ndarray:
    """Return the pitch classes' shares of the sounding time, float [12]; NaN without any."""
    steps = _sounding(notes.pitched(), 0, notes.end)
    return steps / (steps.sum() or np.nan)


def pitch_classes_per_bar(notes: NoteArray) -> np.ndarray:
    """Return the pitch classes' shares in each bar, float [BARS * 12]; zeros in an empty bar."""
    pitched = notes.pitched()
    steps = np.array([_sounding(pitched, bar * BAR, (bar + 1) * BAR) for bar in range(BARS)])
    return (steps / np.maximum(steps.sum(1, keepdims=True), 1)).ravel()


def pitch_class_transitions(notes: NoteArray) -> np.ndarray:
    """Return how often a note of a class begins where one of another class ends, float [12 * 12].

    It is as in pretty_midi, which MGEval calls; rows are the classes that end.
    """
    notes, _ = _by_instrument(notes)
    # Each instrument gets a separate stretch of one time line: its notes meet no others.
    line = notes.program * (notes.end + 2 * NEAR + 1)
    kinds = np.eye(12)[notes.pitch % 12]
    before = np.vstack([np.zeros(12), kinds.cumsum(0)])  # per note: the notes that begin before it
    first = np.searchsorted(line + notes.start, line + notes.stop - NEAR)
    last = np.searchsorted(line + notes.start, line + notes.stop + NEAR, "right")
    counts = kinds.T @ (before[last] - before[first])
    short = notes.pitch[notes.length <= NEAR] % 12  # a short note does not follow itself
    return (counts - np.diag(np.bincount(short, minlength=12))).ravel()


def pitch_interval(notes: NoteArray) -> float:
    """Return the mean distance of a note from the one before it, in semitones."""
    notes, same = _by_instrument(notes)
    return mean(np.abs(np.diff(notes.pitch))[same])


def _nearest_lengths(lengths: np.ndarray) -> np.ndarray:
    """Return the index of the nearest of LENGTHS, the first of two, int [n]."""
    return np.abs(lengths[:, None] - LENGTHS).argmin(1)


def length_shares(notes: NoteArray) -> np.ndarray:
    """Return the shares of notes with each length, float [12]; NaN without notes."""
    lengths = notes.pitched().length
    counts = np.bincount(_nearest_lengths(lengths), minlength=len(LENGTHS))
    return counts / (len(lengths) or np.nan)


def length_transitions(notes: NoteArray) -> np.ndarray:
    """Return how often a note of one length follows one of another, float [12 * 12]."""
    notes, same = _by_instrument(notes)
    kinds = _nearest_lengths(notes.length)
    pairs = (len(LENGTHS) * kinds[:-1] + kinds[1:])[same]
    return np.bincount(pairs, minlength=len(LENGTHS) ** 2).astype(float)


PITCH_FEATURES: dict[str, Feature] = {
    "pitch count": pitch_count,
    "pitch count per bar": _per_bar(pitch_count),
    "note count": lambda notes: float(len(notes.start)),
    "note count per bar": _per_bar(lambda notes: float(len(notes.start))),
    "pitch-class histogram": pitch_classes,
    "pitch-class histogram per bar": pitch_classes_per_bar,
    "pitch-class transitions": pitch_class_transitions,
    "pitch range": pitch_range,
    "average pitch interval": pitch_interval,
}
RHYTHM_FEATURES: dict[str, Feature] = {  # for encodings that keep the rhythm
    "average inter-onset interval": lambda notes: mean(np.diff(notes.start)) / STEPS,  # 0 in chords
    "note length histogram": length_shares,
    "note length transitions": length_transitions,
}
