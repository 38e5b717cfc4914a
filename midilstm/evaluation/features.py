"""Features of the music of a piece: statistics, and those by which MGEval compares pieces.

A feature that a piece lacks, such as the range of one without pitches, is NaN. Drums have onsets
but no pitch or length. MGEval is the program of Yang and Lerch 2018, "On the evaluation of
generative models in music" (github.com/RichardYang40148/mgeval), for one melody; here its features
of neighbouring notes compare notes of one instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from midilstm.midi import DRUMS
from midilstm.repetition.metrics import repeat_lags

STEPS = 24  # per quarter note, as in MusPy: eighths and twelfths of a quarter are whole steps
BAR = 4 * STEPS
BARS = 8  # that MGEval compares one by one, a missing bar as an empty one
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
# Whole to sixteenth, dotted half to dotted sixteenth, triplet half to triplet eighth.
LENGTHS = np.array([96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]) * BAR // 96
NEAR = 2  # steps from a note's end to the next one's beginning: pretty_midi's 0.05 s at 120 bpm


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


Feature = Callable[[NoteArray], float | np.ndarray]
Piece = TypeVar("Piece")  # a form of a piece that features describe


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN without values."""
    return float(values.mean()) if len(values) else np.nan


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / (counts.sum() or np.nan)


def _count_pitch_classes(notes: NoteArray) -> np.ndarray:
    return np.bincount(notes.pitched().pitch % 12, minlength=12)


def pitch_class_entropy(notes: NoteArray) -> float:
    """Return the entropy of the pitch classes in bits, 0 to 3.58, as MusPy does."""
    shares = _shares(_count_pitch_classes(notes))
    return float(-np.sum(shares * np.log2(shares, where=shares > 0, out=np.zeros(12))))


def pitch_range(notes: NoteArray) -> float:
    """Return the semitones from the lowest to the highest note, as MusPy, where it is not 0."""
    pitches = notes.pitched().pitch
    return float(np.ptp(pitches)) if len(pitches) else np.nan


def scale_consistency(notes: NoteArray) -> float:
    """Return the largest share of notes inside one major or natural minor scale, as MusPy does."""
    counts = _count_pitch_classes(notes)
    largest = max(counts[np.roll(MAJOR, root)].sum() for root in range(12))
    return float(largest / (counts.sum() or np.nan))


def inter_onsets(notes: NoteArray) -> np.ndarray:
    """Return the steps between neighbouring onsets, int [onsets - 1]; a chord is one onset."""
    return np.diff(np.unique(notes.start))


def groove_consistency(notes: NoteArray) -> float:
    """Return 1 - the mean Hamming distance, per step, of the onsets of neighbouring 4/4 bars.

    It is MusPy's, after Wu and Yang 2020, "The Jazz Transformer on the Front Line", but no empty
    bar follows a note that ends on the last bar line.
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


def pitch_count(notes: NoteArray) -> float:
    """Return the number of different pitches."""
    return float(len(np.unique(notes.pitched().pitch)))


def pitch_classes(notes: NoteArray) -> np.ndarray:
    """Return the pitch classes' shares of the sounding time, float [12]; NaN without any."""
    pitched = notes.pitched()
    return _shares(np.bincount(pitched.pitch % 12, pitched.length, 12))


def pitch_classes_per_bar(notes: NoteArray) -> np.ndarray:
    """Return the same of what sounds in each bar, float [BARS * 12]; zeros for an empty bar."""
    bars = []
    for begin in range(0, BARS * BAR, BAR):
        start, stop = (np.clip(x, begin, begin + BAR) for x in (notes.start, notes.stop))
        bars.append(np.nan_to_num(pitch_classes(notes._replace(start=start, length=stop - start))))
    return np.concatenate(bars)


def _by_instrument(notes: NoteArray) -> tuple[NoteArray, np.ndarray]:
    """Return pitched notes by instrument, and whether the next has the same one, bool [n - 1]."""
    pitched = notes.pitched()
    pitched = pitched.select(np.argsort(pitched.program, kind="stable"))
    return pitched, pitched.program[1:] == pitched.program[:-1]


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


def _nearest_lengths(notes: NoteArray) -> np.ndarray:
    """Return the index of the nearest of LENGTHS, the first of two, int [n]."""
    return np.abs(notes.length[:, None] - LENGTHS).argmin(1)


def length_shares(notes: NoteArray) -> np.ndarray:
    """Return the shares of notes with each length, float [12]; NaN without notes."""
    return _shares(np.bincount(_nearest_lengths(notes.pitched()), minlength=len(LENGTHS)))


def length_transitions(notes: NoteArray) -> np.ndarray:
    """Return how often a note of one length follows one of another, float [12 * 12]."""
    notes, same = _by_instrument(notes)
    kinds = _nearest_lengths(notes)
    pairs = (len(LENGTHS) * kinds[:-1] + kinds[1:])[same]
    return np.bincount(pairs, minlength=len(LENGTHS) ** 2).astype(float)


def _note_count(notes: NoteArray) -> float:
    return float(len(notes.start))


def _per_bar(feature: Callable[[NoteArray], float]) -> Feature:
    """Return the feature of the notes that begin in each of the first bars, float [BARS]."""
    return lambda notes: np.array(
        [feature(notes.select(notes.start // BAR == bar)) for bar in range(BARS)]
    )


# The tables of RHYTHM_... are for encodings that keep the rhythm.
STATISTICS: dict[str, Feature] = {
    "pitch-class entropy (bits)": pitch_class_entropy,
    "pitch range (semitones)": pitch_range,
    "scale consistency": scale_consistency,
    "notes per quarter": lambda notes: len(notes.start) * STEPS / (notes.end or np.nan),
    "repeated tokens": lambda notes: mean(notes.ids[1:] == notes.ids[:-1]),
    "repeated 4-grams": lambda notes: mean(repeat_lags(notes.ids, 4) > 0),
}
RHYTHM_STATISTICS: dict[str, Feature] = {
    "inter-onset (quarters)": lambda notes: mean(inter_onsets(notes)) / STEPS,
    "note length (quarters)": lambda notes: mean(notes.pitched().length) / STEPS,
    "groove consistency": groove_consistency,
    "polyphony": polyphony,
    "polyphony rate": lambda notes: mean(_voices(notes) > 1),  # of all steps, as in MusPy
    "instruments": lambda notes: float(len(np.unique(notes.program))),  # all drums are one
    "drum share": lambda notes: mean(notes.program == DRUMS),
}
MGEVAL: dict[str, Feature] = {
    "pitch count": pitch_count,
    "pitch count per bar": _per_bar(pitch_count),
    "note count": _note_count,
    "note count per bar": _per_bar(_note_count),
    "pitch-class histogram": pitch_classes,
    "pitch-class histogram per bar": pitch_classes_per_bar,
    "pitch-class transitions": pitch_class_transitions,
    "pitch range": pitch_range,
    "average pitch interval": pitch_interval,
}
RHYTHM_MGEVAL: dict[str, Feature] = {
    "average inter-onset interval": lambda notes: mean(np.diff(notes.start)) / STEPS,  # 0 in chords
    "note length histogram": length_shares,
    "note length transitions": length_transitions,
}


def feature_matrix(
    features: Mapping[str, Callable[[Piece], float | np.ndarray]], pieces: Sequence[Piece]
) -> dict[str, np.ndarray]:
    """Return each feature of each piece, float [pieces] or [pieces, size of the feature]."""
    return {name: np.array([f(notes) for notes in pieces], float) for name, f in features.items()}
