"""Means and medians over pieces, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; None where nothing can be measured, or for a single piece."""

    value: float | None = None
    interval: tuple[float, float] | None = None

    def exp(self) -> Estimate:
        """Return the exponential of the value and of the interval."""
        value = None if self.value is None else float(np.exp(self.value))
        if not self.interval:
            return Estimate(value)
        low, high = np.exp(self.interval).tolist()
        return Estimate(value, (low, high))

    def format(self, pattern: str) -> str:
        """Return the value with its interval, a dash for none."""
        if self.value is None:
            return "–"
        bounds = " to ".join(format(bound, pattern) for bound in self.interval or ())
        return format(self.value, pattern) + (f" ({bounds})" if bounds else "")


def percentile_interval(draws: np.ndarray) -> tuple[float, float] | None:
    """Return the interval of the middle 95 % of draws float [n]; None for fewer than two.

    Draws that are NaN are left out.
    """
    draws = draws[np.isfinite(draws)]
    tail = (1 - COVERAGE) / 2
    if len(draws) < 2:
        return None
    low, high = np.quantile(draws, [tail, 1 - tail]).tolist()
    return low, high


def resample(n_pieces: int, rng: np.random.Generator) -> np.ndarray:
    """Return int [RESAMPLES, pieces]: how often each piece is in each bootstrap resample."""
    return rng.multinomial(n_pieces, np.full(n_pieces, 1 / n_pieces), RESAMPLES)


def estimate_mean(
    amounts: ArrayLike, units: ArrayLike | None = None, *, rng: np.random.Generator
) -> Estimate:
    """Return sum(amounts) / sum(units), one of each per piece (units: 1).

    The interval is that of the percentile bootstrap over pieces.
    """
    above = np.asarray(amounts)
    below = np.ones(len(above)) if units is None else np.asarray(units, float)
    if not below.sum():
        return Estimate()
    value = float(above.sum() / below.sum())
    if len(above) < 2:
        return Estimate(value)
    drawn = resample(len(above), rng)
    sums = drawn @ below
    return Estimate(value, percentile_interval((drawn @ above)[sums > 0] / sums[sums > 0]))


def estimate_median(pieces: Sequence[np.ndarray], rng: np.random.Generator) -> Estimate:
    """Return the lower median of all values of all pieces, float [n] each.

    The interval is that of the percentile bootstrap over pieces.
    """
    values, indices = np.unique(np.concatenate(pieces), return_inverse=True)
    if not len(values):
        return Estimate()
    ends = np.cumsum([len(piece) for piece in pieces])
    counts = [np.bincount(part, minlength=len(values)) for part in np.split(indices, ends[:-1])]
    drawn = resample(len(pieces), rng)[: RESAMPLES if len(pieces) > 1 else 0]
    sums = (np.vstack([np.ones(len(pieces)), drawn]) @ np.array(counts, float)).cumsum(axis=1)
    sums = sums[sums[:, -1] > 0]  # a resample may hold only pieces without values
    medians = values[(2 * sums >= sums[:, -1:]).argmax(axis=1)]
    return Estimate(float(medians[0]), percentile_interval(medians[1:]))
