"""The twelve features by which MGEval describes a piece. Knows no files, tokens, networks.

After Yang and Lerch 2018, "On the evaluation of generative models in music", and their program,
github.com/RichardYang40148/mgeval, which reads one melody. Here a piece may have many instruments:
what goes from one note to the next stays within one of them, and percussion has no pitch or length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from midilstm.evaluation.features import BAR, STEPS, Feature, NoteArray, mean, pitch_range

BARS = 8  # compared bar by bar, an absent one being empty; MGEval asks for the number
# Whole to sixteenth, dotted half to dotted sixteenth, triplet half to triplet eighth.
LENGTHS = np.array([96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]) * BAR // 96
NEAR = 2  # steps from a note's end to the next one's beginning: pretty_midi's 0.05 s at 120 bpm


def _a_bar(feature: Callable[[NoteArray], float]) -> Feature:
    """Return the feature of the notes that begin in each of the first bars, float [BARS]."""
    return lambda heard: np.array(
        [feature(heard.take(heard.start // BAR == bar)) for bar in range(BARS)]
    )


def _by_instrument(heard: NoteArray) -> tuple[NoteArray, np.ndarray]:
    """Return pitched notes, one instrument after another, and which [n - 1] go on in the same."""
    heard = heard.pitched()
    heard = heard.take(np.argsort(heard.program, kind="stable"))
    return heard, heard.program[1:] == heard.program[:-1]


def pitch_count(heard: NoteArray) -> float:
    """Return how many different pitches there are."""
    return float(len(np.unique(heard.pitched().pitch)))


def _sounding(heard: NoteArray, begin: int, end: int) -> np.ndarray:
    """Return float [12], for how many steps each pitch class sounds from one step to another."""
    steps = np.minimum(heard.stop, end) - np.maximum(heard.start, begin)
    return np.bincount(heard.pitch % 12, np.maximum(steps, 0), 12)


def pitch_classes(heard: NoteArray) -> np.ndarray:
    """Return the pitch classes' shares of the sounding time, float [12]; NaN without any."""
    found = _sounding(heard.pitched(), 0, heard.end)
    return found / (found.sum() or np.nan)


def pitch_classes_a_bar(heard: NoteArray) -> np.ndarray:
    """Return the same for what sounds in each bar, float [BARS * 12]; zeros where nothing does."""
    pitched = heard.pitched()
    found = np.array([_sounding(pitched, bar * BAR, (bar + 1) * BAR) for bar in range(BARS)])
    return (found / np.maximum(found.sum(1, keepdims=True), 1)).ravel()


def pitch_class_transitions(heard: NoteArray) -> np.ndarray:
    """Return how often a note of a class begins where another's ends, float [12 * 12].

    As pretty_midi counts them, which MGEval asks; rows are the classes that end.
    """
    heard, _ = _by_instrument(heard)
    # An instrument has its own stretch of one line, so that ends meet beginnings only there.
    line = heard.program * (heard.end + 2 * NEAR + 1)
    kinds = np.eye(12)[heard.pitch % 12]
    before = np.vstack([np.zeros(12), kinds.cumsum(0)])  # each start: what begins before it
    first = np.searchsorted(line + heard.start, line + heard.stop - NEAR)
    last = np.searchsorted(line + heard.start, line + heard.stop + NEAR, "right")
    counts = kinds.T @ (before[last] - before[first])
    itself = heard.pitch[heard.length <= NEAR] % 12  # no transition, though its own end is near
    return (counts - np.diag(np.bincount(itself, minlength=12))).ravel()


def pitch_interval(heard: NoteArray) -> float:
    """Return the mean distance of a note from the one before it, in semitones."""
    heard, same = _by_instrument(heard)
    return mean(np.abs(np.diff(heard.pitch))[same])


def _length_kinds(lengths: np.ndarray) -> np.ndarray:
    """Return int [n], which of LENGTHS is nearest, the first of two."""
    return np.abs(lengths[:, None] - LENGTHS).argmin(1)


def length_shares(heard: NoteArray) -> np.ndarray:
    """Return the shares of notes with each length, float [12]; NaN without notes."""
    lengths = heard.pitched().length
    counts = np.bincount(_length_kinds(lengths), minlength=len(LENGTHS))
    return counts / (len(lengths) or np.nan)


def length_transitions(heard: NoteArray) -> np.ndarray:
    """Return how often a note of one length follows one of another, float [12 * 12]."""
    heard, same = _by_instrument(heard)
    kinds = _length_kinds(heard.length)
    pairs = (len(LENGTHS) * kinds[:-1] + kinds[1:])[same]
    return np.bincount(pairs, minlength=len(LENGTHS) ** 2).astype(float)


OF_PITCHES: dict[str, Feature] = {
    "pitch count": pitch_count,
    "pitch count a bar": _a_bar(pitch_count),
    "note count": lambda heard: float(len(heard.start)),
    "note count a bar": _a_bar(lambda heard: float(len(heard.start))),
    "pitch-class histogram": pitch_classes,
    "pitch-class histogram a bar": pitch_classes_a_bar,
    "pitch-class transitions": pitch_class_transitions,
    "pitch range": pitch_range,
    "average pitch interval": pitch_interval,
}
OF_RHYTHM: dict[str, Feature] = {  # where an encoding keeps it
    "average inter-onset interval": lambda heard: mean(np.diff(heard.start)) / STEPS,  # 0 in chords
    "note length histogram": length_shares,
    "note length transitions": length_transitions,
}
