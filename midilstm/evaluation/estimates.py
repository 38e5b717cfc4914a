"""Means and medians over pieces, with intervals of the percentile bootstrap over pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number, None where nothing can be measured, and its interval, if it has one."""

    value: float | None = None
    interval: tuple[float, float] | None = None

    def format(self, pattern: str) -> str:
        """Return the value with its interval, a dash for none."""
        if self.value is None:
            return "–"
        bounds = " to ".join(format(bound, pattern) for bound in self.interval or ())
        return format(self.value, pattern) + (f" ({bounds})" if bounds else "")


def percentile_interval(draws: np.ndarray) -> tuple[float, float] | None:
    """Return the interval of the middle 95 % of finite draws; None for fewer than two."""
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        return None
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return low, high


def resample(n_pieces: int) -> np.ndarray:
    """Return int [RESAMPLES, pieces]: how often each piece is in each bootstrap resample."""
    return np.random.default_rng(0).multinomial(
        n_pieces, np.full(n_pieces, 1 / n_pieces), RESAMPLES
    )


def estimate_mean(amounts: ArrayLike, units: ArrayLike | None = None) -> Estimate:
    """Return sum(amounts) / sum(units), one of each per piece (units: 1)."""
    above = np.asarray(amounts)
    below = np.ones(len(above)) if units is None else np.asarray(units, float)
    if not below.sum():
        return Estimate()
    drawn = resample(len(above))
    sums = drawn @ below
    interval = percentile_interval((drawn @ above)[sums > 0] / sums[sums > 0])
    return Estimate(float(above.sum() / below.sum()), interval if len(above) > 1 else None)


def estimate_median(pieces: Sequence[np.ndarray]) -> Estimate:
    """Return the lower median of all values of all pieces, float [n] each."""
    values, indices = np.unique(np.concatenate(pieces), return_inverse=True)
    if not len(values):
        return Estimate()
    ends = np.cumsum([len(piece) for piece in pieces])
    counts = [np.bincount(part, minlength=len(values)) for part in np.split(indices, ends[:-1])]
    drawn = np.vstack([np.ones(len(pieces)), resample(len(pieces))])
    sums = (drawn @ np.array(counts, float)).cumsum(axis=1)
    sums = sums[sums[:, -1] > 0]  # a resample may hold only pieces without values
    medians = values[(2 * sums >= sums[:, -1:]).argmax(axis=1)]
    interval = percentile_interval(medians[1:]) if len(pieces) > 1 else None
    return Estimate(float(medians[0]), interval)
