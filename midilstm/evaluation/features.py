"""Describe the music of a piece by numbers, and a set of pieces by their means.

A feature that a piece lacks, such as the range of one without pitches, is NaN. Drums have onsets
but no pitches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from midilstm.evaluation.estimates import Estimate, estimate_mean
from midilstm.midi import DRUMS
from midilstm.repetition.metrics import repeat_lags

STEPS = 24  # per quarter note, as in MusPy: eighths and twelfths of a quarter are whole steps
BAR = 4 * STEPS
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))


class NoteArray(NamedTuple):
    """The notes of a piece, ordered by start and pitch, int [n] each, times in steps; its ids."""

    start: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    program: np.ndarray
    ids: np.ndarray = np.empty(0, int)

    @staticmethod
    def from_notes(
        notes: Iterable[tuple[float, float, int, int]], ids: ArrayLike = ()
    ) -> NoteArray:
        """Round notes (start, length, pitch, program), times in quarters, to the grid."""
        table = np.array(list(notes), float).reshape(-1, 4)
        table[:, :2] *= STEPS
        whole = np.rint(table).astype(np.int64)
        start, length, pitch, program = whole[np.lexsort((whole[:, 2], whole[:, 0]))].T
        return NoteArray(start, length, pitch, program, np.asarray(ids))

    @property
    def stop(self) -> np.ndarray:
        """Return the steps at which the notes end, int [n]."""
        return self.start + self.length

    @property
    def end(self) -> int:
        """Return the step at which the last note ends, 0 without notes."""
        return int(self.stop.max(initial=0))

    def select(self, chosen: np.ndarray) -> NoteArray:
        """Return some of the notes, by a mask or by their indices."""
        start, length, pitch, program = (part[chosen] for part in self[:4])
        return NoteArray(start, length, pitch, program, self.ids)

    def pitched(self) -> NoteArray:
        """Return the notes without drums."""
        return self.select(self.program != DRUMS)


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN without values."""
    return float(values.mean()) if len(values) else np.nan


def _count_pitch_classes(notes: NoteArray) -> np.ndarray:
    """Return the number of notes per pitch class, int [12]."""
    return np.bincount(notes.pitched().pitch % 12, minlength=12)


def pitch_class_entropy(notes: NoteArray) -> float:
    """Return the entropy of the pitch classes in bits, 0 to 3.58, as MusPy does."""
    counts = _count_pitch_classes(notes)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-np.sum(shares * np.log2(shares))) if len(shares) else np.nan


def pitch_range(notes: NoteArray) -> float:
    """Return the semitones from the lowest to the highest note, as MusPy, where it is not 0."""
    pitches = notes.pitched().pitch
    return float(np.ptp(pitches)) if len(pitches) else np.nan


def scale_consistency(notes: NoteArray) -> float:
    """Return the largest share of notes inside one major or minor scale, as MusPy does.

    A natural minor scale has the notes of a major one, so twelve scales are tried.
    """
    counts = _count_pitch_classes(notes)
    largest = max(counts[np.roll(MAJOR, root)].sum() for root in range(12))
    return float(largest / (counts.sum() or np.nan))


def inter_onsets(notes: NoteArray) -> np.ndarray:
    """Return the steps between neighbouring onsets, int [onsets - 1]; a chord is one onset."""
    return np.diff(np.unique(notes.start))


def groove_consistency(notes: NoteArray) -> float:
    """Return 1 - the mean Hamming distance, per step, of neighbouring bars' onsets, as MusPy does.

    After Wu and Yang 2020, "The Jazz Transformer on the Front Line". Every bar is four quarters.
    Unlike MusPy's, no empty bar follows a note that ends on the last bar line.
    """
    bars = -(-notes.end // BAR)
    grid = np.zeros((bars + 1) * BAR, bool)  # a note of no length may begin at the very end
    grid[notes.start] = True
    grid = grid.reshape(-1, BAR)[:bars]
    return 1 - mean(grid[1:] != grid[:-1])


def _voices(notes: NoteArray) -> np.ndarray:
    """Return the number of pitches that sound at each step, int [end]."""
    pitched, voices, steps = notes.pitched(), np.zeros(notes.end, int), notes.end + 1
    for pitch in np.unique(pitched.pitch):
        same = pitched.select(pitched.pitch == pitch)
        changes = np.bincount(same.start, minlength=steps) - np.bincount(same.stop, minlength=steps)
        voices += changes.cumsum()[:-1] > 0
    return voices


def polyphony(notes: NoteArray) -> float:
    """Return the mean number of pitches over the steps with at least one, as MusPy does."""
    voices = _voices(notes)
    return mean(voices[voices > 0])


Feature = Callable[[NoteArray], float | np.ndarray]
PITCH_FEATURES: dict[str, Feature] = {
    "pitch-class entropy (bits)": pitch_class_entropy,
    "pitch range (semitones)": pitch_range,
    "scale consistency": scale_consistency,
    "notes per quarter": lambda notes: len(notes.start) * STEPS / (notes.end or np.nan),
    "repeated tokens": lambda notes: mean(notes.ids[1:] == notes.ids[:-1]),
    "repeated 4-grams": lambda notes: mean(repeat_lags(notes.ids, 4) > 0),
}
RHYTHM_FEATURES: dict[str, Feature] = {  # for encodings that keep the rhythm
    "inter-onset (quarters)": lambda notes: mean(inter_onsets(notes)) / STEPS,
    "note length (quarters)": lambda notes: mean(notes.pitched().length) / STEPS,
    "groove consistency": groove_consistency,
    "polyphony": polyphony,
    "polyphony rate": lambda notes: mean(_voices(notes) > 1),  # of all steps, as in MusPy
    "instruments": lambda notes: float(len(np.unique(notes.program))),  # all drums are one
    "drum share": lambda notes: mean(notes.program == DRUMS),
}


def feature_matrix(
    features: Mapping[str, Feature], pieces: Sequence[NoteArray]
) -> dict[str, np.ndarray]:
    """Return each feature of each piece, float [pieces] or [pieces, size of the feature]."""
    return {
        name: np.array([feature(notes) for notes in pieces], float)
        for name, feature in features.items()
    }


@dataclass(frozen=True)
class FeatureMean(Estimate):
    """The mean of a feature over the pieces that have it, and how many lack it."""

    n_skipped: int = 0


@dataclass(frozen=True)
class Statistics:
    """The number of pieces per set, and the mean of each feature per set."""

    pieces: Mapping[str, int]
    values: Mapping[str, Mapping[str, FeatureMean]]


def compare_features(
    sets: Mapping[str, Sequence[NoteArray]],
    features: Mapping[str, Feature],
    rng: np.random.Generator,
) -> Statistics:
    """Return the mean of each feature in each set of pieces."""
    matrices = {group: feature_matrix(features, pieces) for group, pieces in sets.items()}
    rows: dict[str, dict[str, FeatureMean]] = {name: {} for name in features}
    for name, row in rows.items():
        for group, matrix in matrices.items():
            values = matrix[name][np.isfinite(matrix[name])]
            mean_of_set = estimate_mean(values, rng=rng)
            n_skipped = len(matrix[name]) - len(values)
            row[group] = FeatureMean(mean_of_set.value, mean_of_set.interval, n_skipped)
    return Statistics({group: len(pieces) for group, pieces in sets.items()}, rows)
