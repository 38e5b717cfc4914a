"""Ids are drawn with the frequencies that the settings ask for."""

import numpy as np
import pytest

from midilstm.config import SamplingConfig
from midilstm.generation.token_sampling import WINDOW, gumbel_noise, sample_tokens

PROBABILITIES = (0.3, 0.25, 0.2, 0.15, 0.07, 0.03)
QUANTILE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}  # chi-square 0.999 by freedom


def draw_many(
    probabilities: tuple[float, ...], config: SamplingConfig, history: list[int], n: int = 20_000
) -> np.ndarray:
    with np.errstate(divide="ignore"):
        log_probs = np.tile(np.log(probabilities), (n, 1))
    rng = np.random.default_rng(0)
    noise = gumbel_noise([rng] * n, len(probabilities))
    return sample_tokens(log_probs, noise, config, [[99, *history]] * n)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SamplingConfig(), PROBABILITIES),
        (SamplingConfig(temperature=0.5), np.square(PROBABILITIES)),
        (SamplingConfig(temperature=2), np.sqrt(PROBABILITIES)),
        (SamplingConfig(top_k=3), (0.3, 0.25, 0.2, 0, 0, 0)),
        (SamplingConfig(top_k=1), (1, 0, 0, 0, 0, 0)),
        (SamplingConfig(top_k=99), PROBABILITIES),
        (SamplingConfig(top_p=0.6), (0.3, 0.25, 0.2, 0, 0, 0)),
        (SamplingConfig(top_p=0.01), (1, 0, 0, 0, 0, 0)),
        # Top-p counts within what top-k keeps: of three ids the two most likely have 0.73.
        (SamplingConfig(top_k=3, top_p=0.7), (0.3, 0.25, 0, 0, 0, 0)),
        # Temperature comes first: squared, the most likely id alone has 0.41 of the sum.
        (SamplingConfig(temperature=0.5, top_p=0.4), (1, 0, 0, 0, 0, 0)),
        # Ids 0 and 3 are recent, 0 twice: it is penalised once.
        (SamplingConfig(repetition_penalty=2), (0.3**2, 0.25, 0.2, 0.15**2, 0.07, 0.03)),
        # The penalty comes before top-k: 0.09 is no longer among the two most likely.
        (SamplingConfig(repetition_penalty=2, top_k=2), (0, 0.25, 0.2, 0, 0, 0)),
    ],
    ids=str,
)
def test_frequencies_follow_the_settings(config: SamplingConfig, expected: np.ndarray) -> None:
    counts = np.bincount(draw_many(PROBABILITIES, config, [0, 3, 0]), minlength=6)
    shares = np.array(expected) / sum(expected)
    assert counts[shares == 0].sum() == 0
    wanted = counts.sum() * shares[shares > 0]
    chi_square = ((counts[shares > 0] - wanted) ** 2 / wanted).sum()
    assert chi_square <= QUANTILE.get(len(wanted) - 1, 0)


@pytest.mark.parametrize("settings", [{}, {"top_k": 3, "top_p": 0.1}])
def test_temperature_0_always_takes_the_most_likely_id(settings: dict[str, float]) -> None:
    config = SamplingConfig(temperature=0, **settings)  # type: ignore[arg-type]
    assert set(draw_many((0.1, 0.2, 0.4, 0.3), config, [], 20)) == {2}


def test_the_penalty_applies_to_recent_ids_only() -> None:
    config, others = SamplingConfig(temperature=0, repetition_penalty=3), [2] * WINDOW
    assert draw_many((0.5, 0.4, 0.1), config, [0, *others[1:]], 1) == [1]
    assert draw_many((0.5, 0.4, 0.1), config, [0, *others], 1) == [0]


def test_an_id_of_probability_0_is_never_drawn() -> None:
    config = SamplingConfig(temperature=50, top_k=3)
    assert set(draw_many((0, 1e-30, 0, 1), config, [], 500)) == {1, 3}
