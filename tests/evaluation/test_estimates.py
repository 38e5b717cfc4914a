"""Bootstrap intervals against brute force, and how often they cover the truth."""

import numpy as np

from midilstm.evaluation import estimates
from midilstm.evaluation.estimates import Estimate, estimate_mean, estimate_median


def test_intervals_cover_the_truth_about_as_often_as_they_should() -> None:
    rng = np.random.default_rng(4)
    intervals = [estimate_mean(rng.normal(size=50)).interval for _ in range(200)]
    n_covering = sum(low <= 0 <= high for low, high in filter(None, intervals))
    assert 175 <= n_covering <= 199


def test_a_mean_with_units_is_a_ratio_of_sums() -> None:
    assert estimate_mean([1.0, 9.0], [1, 3]) == Estimate(2.5, (1, 3))
    assert estimate_mean([1.0], [2]) == Estimate(0.5, None)
    assert estimate_mean([]) == Estimate(None, None)


def test_an_interval_of_a_median_equals_that_of_explicit_resamples() -> None:
    values = [np.random.default_rng(n).integers(1, 4, n) * 1.5 for n in (3, 8, 1, 4, 0)]

    def medians(draws: np.ndarray) -> np.ndarray:
        resamples = [
            np.sort(np.concatenate([np.repeat(v, n) for v, n in zip(values, row, strict=True)]))
            for row in draws
        ]
        return np.array([drawn[(len(drawn) - 1) // 2] for drawn in resamples if len(drawn)])

    estimate, draws = estimate_median(values), estimates.resample(5)
    assert estimate.value == medians(np.ones((1, 5), int))[0]
    assert estimate.interval == estimates.percentile_interval(medians(draws))
