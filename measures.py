"""Musical statistics and how far apart two sets of pieces are. Knows no files, tokens, networks.

A played note is (start, length, pitch, program): quarter notes, quarter notes, MIDI numbers (128:
percussion).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Note = tuple[float, float, int, int]
Measure = Callable[[Sequence[Note], np.ndarray], float]

RESAMPLES = 1000  # B of the bootstrap
COVERAGE = 0.95  # of its intervals
GRID = 1000  # points at which two densities are compared
MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))


def _classes(played: Sequence[Note]) -> np.ndarray:
    """Return int [12], how many notes each pitch class has."""
    return np.bincount([pitch % 12 for _, _, pitch, _ in played], minlength=12)


def pitch_class_entropy(played: Sequence[Note], _ids: np.ndarray) -> float:
    """Return the entropy of the pitch classes in bits, 0 to 3.58, as MusPy does."""
    shares = _classes(played) / len(played)
    return float(-np.sum(shares[shares > 0] * np.log2(shares[shares > 0])))


def pitch_range(played: Sequence[Note], _ids: np.ndarray) -> float:
    """Return the semitones from the lowest to the highest note, as MusPy does."""
    pitches = [pitch for _, _, pitch, _ in played]
    return float(max(pitches) - min(pitches))


def scale_consistency(played: Sequence[Note], _ids: np.ndarray) -> float:
    """Return the largest share of notes inside one major or minor scale, as MusPy does.

    A natural minor scale has the notes of a major one, so twelve scales are tried.
    """
    found = _classes(played)
    return float(max(found[np.roll(MAJOR, root)].sum() for root in range(12)) / len(played))


def note_density(played: Sequence[Note], _ids: np.ndarray) -> float:
    """Return how many notes begin in a quarter note."""
    end = max(start + length for start, length, *_ in played)
    return len(played) / end


def repeated_tokens(_played: Sequence[Note], ids: np.ndarray) -> float:
    """Return the share of tokens, after the first, that are the one before again."""
    return float(np.mean(ids[1:] == ids[:-1])) if len(ids) > 1 else 0.0


def repeated_phrases(_played: Sequence[Note], ids: np.ndarray, length: int = 4) -> float:
    """Return the share of runs of four tokens that have been heard before in the piece."""
    if len(ids) < length:
        return 0.0
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    return 1 - len(np.unique(runs, axis=0)) / len(runs)


MEASURES: dict[str, Measure] = {
    "pitch-class entropy (bits)": pitch_class_entropy,
    "pitch range (semitones)": pitch_range,
    "scale consistency": scale_consistency,
    "notes a quarter": note_density,
    "repeated tokens": repeated_tokens,
    "repeated 4-grams": repeated_phrases,
}


def measured(pieces: Sequence[tuple[Sequence[Note], np.ndarray]]) -> dict[str, np.ndarray]:
    """Return each measure of each piece, given as its played notes and its ids."""
    return {
        name: np.array([measure(played, ids) for played, ids in pieces])
        for name, measure in MEASURES.items()
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


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a[:, None] - b[None, :])


def _density(points: np.ndarray, grid: np.ndarray, floor: float) -> np.ndarray:
    """Estimate by Gaussian kernels of Scott's width, not below `floor`; sums to 1 over the grid."""
    width = max(points.std(ddof=1) * len(points) ** -0.2, floor)
    values = np.zeros(len(grid))
    for part in np.array_split(points, -(-len(points) // 4096)):  # a few MB at a time
        values += np.exp(-0.5 * ((grid[:, None] - part[None, :]) / width) ** 2).sum(1)
    return values / values.sum()


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return (overlapping area, Kullback-Leibler divergence of b from a in nats) of two samples.

    Both densities are taken on one grid, so that the two numbers speak of the same curves.
    """
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low == high:
        return 1.0, 0.0
    floor = (high - low) / 100  # a width that the grid still resolves
    margin = 4 * max(floor, a.std() * len(a) ** -0.2, b.std() * len(b) ** -0.2)
    grid = np.linspace(low - margin, high + margin, GRID)
    p, q = _density(a, grid, floor), _density(b, grid, floor)
    tiny = np.finfo(float).tiny
    divergence = np.sum(p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny))))
    return float(np.minimum(p, q).sum()), float(divergence)


def similarity(human: np.ndarray, made: np.ndarray) -> dict[str, float] | None:
    """Compare how far people's pieces lie from each other and from those made, one number a piece.

    Yang and Lerch 2018: overlap 1, divergence 0 where a made piece is no farther from people's
    than they are among themselves. None with fewer than three of people's or two made.
    """
    if len(human) < 3 or len(made) < 2:
        return None
    among = _distances(human, human)[np.triu_indices(len(human), 1)]
    area, divergence = overlap(among, _distances(human, made).ravel())
    return {"overlap": area, "divergence": divergence}


def comparison(
    made: Mapping[str, np.ndarray],
    human: Mapping[str, Mapping[str, np.ndarray]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Set each measure of the made pieces beside that of each set of people's pieces."""
    return {
        name: {
            "generated": estimate(values, rng=rng),
            **{
                group: {
                    **estimate(measures[name], rng=rng),
                    "similarity": similarity(measures[name], values),
                }
                for group, measures in human.items()
            },
        }
        for name, values in made.items()
    }
