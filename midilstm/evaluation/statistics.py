"""What one piece sounds like in numbers, and their means over a set of pieces.

Knows no files, tokens, networks. What a piece has not, such as the range of one without pitches,
is NaN; percussion has no pitches, though its onsets count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Note = tuple[float, float, int, int]  # start and length in quarter notes, MIDI pitch, program

STEPS = 24  # a quarter note, as in MusPy: they hold its eighths as well as its twelfths
BAR = 4 * STEPS
DRUMS = 128  # the program of percussion
RESAMPLES = 1000  # B of the bootstrap
COVERAGE = 0.95  # of its intervals
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))


@dataclass(frozen=True)
class Played:
    """A piece's notes in order of start and pitch, each array int [n]; times are in STEPS."""

    start: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    program: np.ndarray

    @staticmethod
    def of(notes: Iterable[Note]) -> Played:
        """Put notes, in any order, on the grid."""
        table = np.array(list(notes), float).reshape(-1, 4)
        table[:, :2] *= STEPS
        whole = np.rint(table).astype(np.int64)
        return Played(*whole[np.lexsort((whole[:, 2], whole[:, 0]))].T)

    @property
    def stop(self) -> np.ndarray:
        """Return int [n], where each note ends."""
        return self.start + self.length

    @property
    def end(self) -> int:
        """Return where the last note ends, 0 without notes."""
        return int(self.stop.max(initial=0))

    def take(self, chosen: np.ndarray) -> Played:
        """Return some notes, given as a mask or as their numbers."""
        return Played(*(part[chosen] for part in vars(self).values()))

    def pitched(self) -> Played:
        """Return the notes without percussion."""
        return self.take(self.program != DRUMS)


Measure = Callable[[Played, np.ndarray], float]


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if len(values) else np.nan


def _classes(played: Played) -> np.ndarray:
    """Return int [12], how many notes each pitch class has."""
    return np.bincount(played.pitched().pitch % 12, minlength=12)


def pitch_class_entropy(played: Played, _ids: np.ndarray) -> float:
    """Return the entropy of the pitch classes in bits, 0 to 3.58, as MusPy does."""
    found = _classes(played)
    shares = found[found > 0] / max(found.sum(), 1)
    return float(-np.sum(shares * np.log2(shares))) if len(shares) else np.nan


def pitch_range(played: Played, _ids: np.ndarray) -> float:
    """Return the semitones from the lowest to the highest note, as MusPy does (0 of none there)."""
    pitches = played.pitched().pitch
    return float(np.ptp(pitches)) if len(pitches) else np.nan


def scale_consistency(played: Played, _ids: np.ndarray) -> float:
    """Return the largest share of notes inside one major or minor scale, as MusPy does.

    A natural minor scale has the notes of a major one, so twelve scales are tried.
    """
    found = _classes(played)
    most = max(found[np.roll(MAJOR, root)].sum() for root in range(12))
    return float(most / found.sum()) if found.any() else np.nan


def note_density(played: Played, _ids: np.ndarray) -> float:
    """Return how many notes begin in a quarter note."""
    return len(played.start) * STEPS / played.end if played.end else np.nan


def repeated_tokens(_played: Played, ids: np.ndarray) -> float:
    """Return the share of tokens, after the first, that are the one before again."""
    return float(np.mean(ids[1:] == ids[:-1])) if len(ids) > 1 else 0.0


def repeated_phrases(_played: Played, ids: np.ndarray, length: int = 4) -> float:
    """Return the share of runs of four tokens that have been heard before in the piece."""
    if len(ids) < length:
        return 0.0
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    return 1 - len(np.unique(runs, axis=0)) / len(runs)


def inter_onsets(played: Played) -> np.ndarray:
    """Return the steps between neighbouring onsets, int [onsets - 1]; a chord is one onset."""
    return np.diff(np.unique(played.start))


def note_lengths(played: Played) -> np.ndarray:
    """Return the notes' lengths in steps; percussion is left out, whose lengths nobody hears."""
    return played.pitched().length


def inter_onset_interval(played: Played, _ids: np.ndarray) -> float:
    """Return the mean time from one onset to the next, in quarter notes."""
    return mean(inter_onsets(played)) / STEPS


def note_length(played: Played, _ids: np.ndarray) -> float:
    """Return the mean length of a note, in quarter notes, percussion left out."""
    return mean(note_lengths(played)) / STEPS


def groove_consistency(played: Played, _ids: np.ndarray, bar: int = BAR) -> float:
    """Return 1 - the mean Hamming distance, per step, of neighbouring bars' onsets, as MusPy does.

    After Wu and Yang 2020, "The Jazz Transformer on the Front Line". Every bar has `bar` steps, 96
    for four quarters. Unlike MusPy's, no empty bar follows a note that ends on the last bar line.
    """
    bars = -(-played.end // bar)
    if bars < 2:
        return np.nan
    onsets = np.unique(played.start[played.start < bars * bar])
    # Counted without the bars themselves, of which a long silence would make very many.
    again = np.isin(onsets + bar, onsets).sum()
    ends = np.isin(onsets // bar, (0, bars - 1)).sum()  # these have one neighbour only
    return float(1 - (2 * len(onsets) - ends - 2 * again) / (bar * (bars - 1)))


def _voices(played: Played) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pitches sound between one change and the next, and for how many steps."""
    notes = played.pitched()
    notes = notes.take(notes.length > 0)
    # One pitch after another on one line, so that notes of the same pitch that overlap melt.
    line = notes.pitch * (notes.end + 1)
    order = np.argsort(line + notes.start, kind="stable")
    begin, line = notes.start[order] + line[order], line[order]
    reach = np.maximum.accumulate(notes.stop[order] + line)
    fresh = np.append(True, begin[1:] > reach[:-1])[: len(begin)]
    last = np.append(fresh[1:], True)[: len(begin)]
    times = np.concatenate([(begin - line)[fresh], (reach - line)[last]])
    changes = np.repeat([1, -1], [fresh.sum(), last.sum()])
    order = np.argsort(times, kind="stable")
    return np.cumsum(changes[order])[:-1], np.diff(times[order])


def polyphony(played: Played, _ids: np.ndarray) -> float:
    """Return how many pitches sound at once, a mean over the steps with at least one, as MusPy."""
    voices, steps = _voices(played)
    sounding = steps[voices > 0].sum()
    return float((voices * steps).sum() / sounding) if sounding else np.nan


def polyphony_rate(played: Played, _ids: np.ndarray) -> float:
    """Return the share of all steps in which two or more pitches sound, as MusPy defines it."""
    voices, steps = _voices(played)
    return float(steps[voices > 1].sum() / played.end) if played.end else np.nan


def instruments(played: Played, _ids: np.ndarray) -> float:
    """Return how many programs play, all percussion being one."""
    return float(len(np.unique(played.program)))


def drum_share(played: Played, _ids: np.ndarray) -> float:
    """Return the share of notes that are percussion."""
    return mean(played.program == DRUMS)


MEASURES: dict[str, Measure] = {
    "pitch-class entropy (bits)": pitch_class_entropy,
    "pitch range (semitones)": pitch_range,
    "scale consistency": scale_consistency,
    "notes a quarter": note_density,
    "repeated tokens": repeated_tokens,
    "repeated 4-grams": repeated_phrases,
}
RHYTHMIC: dict[str, Measure] = {  # say something where note lengths and instruments are kept
    "inter-onset (quarters)": inter_onset_interval,
    "note length (quarters)": note_length,
    "groove consistency": groove_consistency,
    "polyphony": polyphony,
    "polyphony rate": polyphony_rate,
    "instruments": instruments,
    "drum share": drum_share,
}


def measured(
    pieces: Sequence[tuple[Played, np.ndarray]], *, rhythm: bool = True
) -> dict[str, np.ndarray]:
    """Return each measure of each piece, given as its played notes and its ids, float [pieces]."""
    chosen = MEASURES | (RHYTHMIC if rhythm else {})
    return {
        name: np.array([measure(played, ids) for played, ids in pieces], float)
        for name, measure in chosen.items()
    }


def estimate(
    amounts: np.ndarray, units: np.ndarray | None = None, *, rng: np.random.Generator
) -> dict[str, Any]:
    """Return {value, interval} of sum(amounts) / sum(units), one a piece (units: 1).

    The interval is the percentile bootstrap's, over pieces; none for fewer than two.
    """
    units = np.ones(len(amounts)) if units is None else np.asarray(units, float)
    if not len(amounts) or units.sum() == 0:
        return {"value": None, "interval": None}
    value = float(np.sum(amounts) / units.sum())
    if len(amounts) < 2:
        return {"value": value, "interval": None}
    drawn = rng.multinomial(len(amounts), np.full(len(amounts), 1 / len(amounts)), RESAMPLES)
    below = drawn @ units
    ratios = (drawn @ amounts)[below > 0] / below[below > 0]
    tail = (1 - COVERAGE) / 2
    return {"value": value, "interval": np.quantile(ratios, [tail, 1 - tail]).tolist()}
