"""Ids are drawn by the frequencies that the knobs ask for."""

import numpy as np
import pytest

from midilstm.generation.sampler import WINDOW, SamplingConfig, gumbel_noise, sample_tokens

PROBABILITIES = (0.3, 0.25, 0.2, 0.15, 0.07, 0.03)
QUANTILE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}  # chi-square 0.999 by freedom


def choose_many(
    probabilities: tuple[float, ...], knobs: SamplingConfig, heard: list[int], n: int = 20_000
) -> np.ndarray:
    with np.errstate(divide="ignore"):
        scores = np.tile(np.log(probabilities), (n, 1))
    rng = np.random.default_rng(0)
    noise = gumbel_noise([rng] * n, len(probabilities))
    return sample_tokens(scores, noise, knobs, [[99, *heard]] * n)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        (SamplingConfig(), PROBABILITIES),
        (SamplingConfig(temperature=0.5), np.square(PROBABILITIES)),
        (SamplingConfig(temperature=2), np.sqrt(PROBABILITIES)),
        (SamplingConfig(top_k=3), (0.3, 0.25, 0.2, 0, 0, 0)),
        (SamplingConfig(top_k=1), (1, 0, 0, 0, 0, 0)),
        (SamplingConfig(top_k=99), PROBABILITIES),
        (SamplingConfig(top_p=0.6), (0.3, 0.25, 0.2, 0, 0, 0)),
        (SamplingConfig(top_p=0.01), (1, 0, 0, 0, 0, 0)),
        # Top-p counts within what top-k leaves: of three the two likeliest have 0.73.
        (SamplingConfig(top_k=3, top_p=0.7), (0.3, 0.25, 0, 0, 0, 0)),
        # Temperature comes first: squared, the likeliest alone has 0.41 of all.
        (SamplingConfig(temperature=0.5, top_p=0.4), (1, 0, 0, 0, 0, 0)),
        # Ids 0 and 3 were heard, 0 twice: once is enough.
        (SamplingConfig(repetition_penalty=2), (0.3**2, 0.25, 0.2, 0.15**2, 0.07, 0.03)),
        # The penalty comes before top-k: 0.09 is no longer among the two likeliest.
        (SamplingConfig(repetition_penalty=2, top_k=2), (0, 0.25, 0.2, 0, 0, 0)),
    ],
    ids=str,
)
def test_frequencies_are_those_of_the_steered_distribution(
    knobs: SamplingConfig, expected: np.ndarray
) -> None:
    counts = np.bincount(choose_many(PROBABILITIES, knobs, [0, 3, 0]), minlength=6)
    shares = np.array(expected) / sum(expected)
    assert counts[shares == 0].sum() == 0
    wanted = counts.sum() * shares[shares > 0]
    chi_square = ((counts[shares > 0] - wanted) ** 2 / wanted).sum()
    assert chi_square <= QUANTILE.get(len(wanted) - 1, 0)


@pytest.mark.parametrize(
    "knobs", [SamplingConfig(temperature=0), SamplingConfig(temperature=0, top_k=3, top_p=0.1)]
)
def test_temperature_zero_is_the_likeliest_whatever_the_other_knobs(knobs: SamplingConfig) -> None:
    assert set(choose_many((0.1, 0.2, 0.4, 0.3), knobs, [], 20)) == {2}


def test_only_the_window_is_penalised() -> None:
    knobs, filler = SamplingConfig(temperature=0, repetition_penalty=3), [2] * WINDOW
    assert choose_many((0.5, 0.4, 0.1), knobs, [0, *filler[1:]], 1) == [1]
    assert choose_many((0.5, 0.4, 0.1), knobs, [0, *filler], 1) == [0]


def test_probabilities_of_zero_are_never_drawn() -> None:
    knobs = SamplingConfig(temperature=50, top_k=3)
    assert set(choose_many((0, 1e-30, 0, 1), knobs, [], 500)) == {1, 3}
