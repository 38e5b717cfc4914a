"""What one piece sounds like in numbers, and their means over a set. Knows no files, no networks.

What a piece has not, such as the range of one without pitches, is NaN; percussion has no pitches,
though its onsets count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from midilstm.midi import DRUMS

STEPS = 24  # a quarter note, as in MusPy: they hold its eighths as well as its twelfths
BAR = 4 * STEPS
RESAMPLES = 1000  # B of the bootstrap
COVERAGE = 0.95  # of its intervals
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))


class NoteArray(NamedTuple):
    """A piece as it sounds: notes by start and pitch, int [n] each, times in STEPS; its ids."""

    start: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    program: np.ndarray
    ids: np.ndarray = np.empty(0, int)

    @staticmethod
    def of(notes: Iterable[tuple[float, float, int, int]], ids: ArrayLike = ()) -> NoteArray:
        """Put notes, as an encoding's `played` returns them, on the grid."""
        table = np.array(list(notes), float).reshape(-1, 4)
        table[:, :2] *= STEPS
        whole = np.rint(table).astype(np.int64)
        start, length, pitch, program = whole[np.lexsort((whole[:, 2], whole[:, 0]))].T
        return NoteArray(start, length, pitch, program, np.asarray(ids))

    @property
    def stop(self) -> np.ndarray:
        """Return int [n], where each note ends."""
        return self.start + self.length

    @property
    def end(self) -> int:
        """Return where the last note ends, 0 without notes."""
        return int(self.stop.max(initial=0))

    def take(self, chosen: np.ndarray) -> NoteArray:
        """Return some notes, given as a mask or as their numbers."""
        start, length, pitch, program = (part[chosen] for part in self[:4])
        return NoteArray(start, length, pitch, program, self.ids)

    def pitched(self) -> NoteArray:
        """Return the notes without percussion."""
        return self.take(self.program != DRUMS)


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if len(values) else np.nan


def _classes(heard: NoteArray) -> np.ndarray:
    """Return int [12], how many notes each pitch class has."""
    return np.bincount(heard.pitched().pitch % 12, minlength=12)


def pitch_class_entropy(heard: NoteArray) -> float:
    """Return the entropy of the pitch classes in bits, 0 to 3.58, as MusPy does."""
    found = _classes(heard)
    shares = found[found > 0] / max(found.sum(), 1)
    return float(-np.sum(shares * np.log2(shares))) if len(shares) else np.nan


def pitch_range(heard: NoteArray) -> float:
    """Return the semitones from the lowest to the highest note, as MusPy does (0 of none there)."""
    pitches = heard.pitched().pitch
    return float(np.ptp(pitches)) if len(pitches) else np.nan


def scale_consistency(heard: NoteArray) -> float:
    """Return the largest share of notes inside one major or minor scale, as MusPy does.

    A natural minor scale has the notes of a major one, so twelve scales are tried.
    """
    found = _classes(heard)
    most = max(found[np.roll(MAJOR, root)].sum() for root in range(12))
    return float(most / (found.sum() or np.nan))


def repeated_phrases(heard: NoteArray, length: int = 4) -> float:
    """Return the share of runs of four ids that have been heard before in the piece."""
    runs = list(zip(*(heard.ids[n:].tolist() for n in range(length)), strict=False))
    return 1 - len(set(runs)) / (len(runs) or np.nan)


def inter_onsets(heard: NoteArray) -> np.ndarray:
    """Return the steps between neighbouring onsets, int [onsets - 1]; a chord is one onset."""
    return np.diff(np.unique(heard.start))


def note_lengths(heard: NoteArray) -> np.ndarray:
    """Return the notes' lengths in steps; percussion is left out, whose lengths nobody hears."""
    return heard.pitched().length


def groove_consistency(heard: NoteArray) -> float:
    """Return 1 - the mean Hamming distance, per step, of neighbouring bars' onsets, as MusPy does.

    After Wu and Yang 2020, "The Jazz Transformer on the Front Line". Every bar is four quarters.
    Unlike MusPy's, no empty bar follows a note that ends on the last bar line.
    """
    bars = -(-heard.end // BAR)
    grid = np.zeros((bars + 1) * BAR, bool)  # a silent note may begin where the piece ends
    grid[heard.start] = True
    grid = grid.reshape(-1, BAR)[:bars]
    return 1 - mean(grid[1:] != grid[:-1])


def _voices(heard: NoteArray) -> np.ndarray:
    """Return int [end], how many pitches sound at each step."""
    notes, voices, steps = heard.pitched(), np.zeros(heard.end, int), heard.end + 1
    for pitch in np.unique(notes.pitch):
        same = notes.take(notes.pitch == pitch)
        changes = np.bincount(same.start, minlength=steps) - np.bincount(same.stop, minlength=steps)
        voices += changes.cumsum()[:-1] > 0
    return voices


def polyphony(heard: NoteArray) -> float:
    """Return how many pitches sound at once, a mean over the steps with at least one, as MusPy."""
    voices = _voices(heard)
    return mean(voices[voices > 0])


Feature = Callable[[NoteArray], float | np.ndarray]
OF_PITCHES: dict[str, Feature] = {
    "pitch-class entropy (bits)": pitch_class_entropy,
    "pitch range (semitones)": pitch_range,
    "scale consistency": scale_consistency,
    "notes a quarter": lambda heard: len(heard.start) * STEPS / (heard.end or np.nan),
    "repeated tokens": lambda heard: mean(heard.ids[1:] == heard.ids[:-1]),
    "repeated 4-grams": repeated_phrases,
}
OF_RHYTHM: dict[str, Feature] = {  # where an encoding keeps it
    "inter-onset (quarters)": lambda heard: mean(inter_onsets(heard)) / STEPS,
    "note length (quarters)": lambda heard: mean(note_lengths(heard)) / STEPS,
    "groove consistency": groove_consistency,
    "polyphony": polyphony,
    "polyphony rate": lambda heard: mean(_voices(heard) > 1),  # of all steps, as MusPy
    "instruments": lambda heard: float(len(np.unique(heard.program))),  # all percussion is one
    "drum share": lambda heard: mean(heard.program == DRUMS),
}


def feature_matrix(
    features: Mapping[str, Feature], pieces: Sequence[NoteArray]
) -> dict[str, np.ndarray]:
    """Return each feature of each piece, float [pieces] or [pieces, size of the feature]."""
    return {
        name: np.array([feature(heard) for heard in pieces], float)
        for name, feature in features.items()
    }


def middle(draws: np.ndarray) -> list[float] | None:
    """Return the interval with the middle 95 % of draws float [n], NaN left out; None for few."""
    draws = draws[np.isfinite(draws)]
    tail = (1 - COVERAGE) / 2
    return np.quantile(draws, [tail, 1 - tail]).tolist() if len(draws) > 1 else None


def estimate(
    amounts: ArrayLike, units: ArrayLike | None = None, *, rng: np.random.Generator
) -> dict[str, Any]:
    """Return {value, interval} of sum(amounts) / sum(units), one a piece (units: 1).

    The interval is the percentile bootstrap's, over pieces; none for fewer than two.
    """
    above = np.asarray(amounts)
    below = np.ones(len(above)) if units is None else np.asarray(units, float)
    if not below.sum():
        return {"value": None, "interval": None}
    value, pieces = float(above.sum() / below.sum()), len(above)
    if pieces < 2:
        return {"value": value, "interval": None}
    drawn = rng.multinomial(pieces, np.full(pieces, 1 / pieces), RESAMPLES)
    sums = drawn @ below
    return {"value": value, "interval": middle((drawn @ above)[sums > 0] / sums[sums > 0])}
