"""The two fits of the match model: what predicts best, and what repeats as the reference does."""

import math
from functools import partial

import numpy as np
import pytest
from made_pieces import repeating_pieces

from midilstm.repetition.fit import (
    PRIOR_MEAN,
    Examples,
    calibrate,
    collect_examples,
    fit_weights,
    mixture,
)
from midilstm.repetition.match_model import History, MatchModel, MatchWeights, add_match_bias
from midilstm.repetition.metrics import repeat_lags

SIZE = 12
BARS = [0.0] + [0.25] * (SIZE - 1)  # four ids per bar; END takes no time


def uniform(piece: np.ndarray) -> np.ndarray:
    return np.full((len(piece), SIZE), -math.log(SIZE), np.float32)


def examples_of(pieces: list[np.ndarray]) -> Examples:
    return collect_examples(pieces, uniform, partial(History, BARS, 1.0))


def gain(examples: Examples, weights: MatchWeights) -> float:
    """Return the nats that the match model saves, summed."""
    before, after = (mixture(examples, vector[:7]) for vector in (np.zeros(7), weights.vector))
    observed = np.arange(len(examples.labels)), examples.labels
    return float((after[observed] - before[observed]).sum())


def test_fitted_weights_help_where_pieces_repeat_and_do_no_harm_where_not() -> None:
    repeated, new = (
        examples_of(repeating_pieces(6, 4, SIZE)),
        examples_of(repeating_pieces(40, 1, SIZE)),
    )
    weights = fit_weights(repeated, 1.0)
    assert gain(repeated, weights) > 0.5 * np.log(SIZE) * 6 * 72
    assert gain(new, fit_weights(new, 1.0)) > -0.1
    assert -0.5 < weights.log_lag_sq < -0.3  # held by the prior
    prior = MatchWeights(1.0, 0, 0, 0, 0, 0, PRIOR_MEAN[5], 0)
    assert fit_weights(examples_of([]), 1.0) == prior


def test_the_fit_and_the_sampler_agree_on_the_gain() -> None:
    pieces = repeating_pieces(6, 3, SIZE)
    weights = fit_weights(examples_of(pieces), 1.0)
    saved = 0.0
    for piece in pieces:
        history = History(BARS, 1.0)
        for token_id in piece.tolist():
            log_probs = uniform(piece[:1])
            add_match_bias(log_probs, MatchModel([history], weights))
            saved += float(log_probs[0, token_id]) + math.log(SIZE)
            history.update(token_id)
    assert gain(examples_of(pieces), weights) == pytest.approx(saved, rel=1e-4)


def test_calibration_finds_the_scale_with_which_pieces_repeat_as_the_reference() -> None:
    def sample(weights: MatchWeights, round_index: int) -> list[np.ndarray]:
        """Return a piece of 800 ids that repeats more the larger the bias is."""
        new = np.random.default_rng(round_index).permutation(400)
        n_repeated = int(np.clip(1000 * weights.bias - 900, 0, 400))
        return [np.concatenate([new, new[:n_repeated], 400 + np.arange(400 - n_repeated)])]

    def repeats(ids: np.ndarray) -> list[np.ndarray]:
        return [0.25 * repeat_lags(ids, 8)]

    given = MatchWeights(1.0, 1, 0, 0, 0, 0, 0, 0)
    reference = sample(MatchWeights(1.0, 1.2, 0, 0, 0, 0, 0, 0), 7)
    weights = calibrate(given, sample, reference, repeats)
    assert weights.bias == pytest.approx(1.2, abs=0.03)
    assert calibrate(given, sample, [np.arange(400)], repeats) == given  # without repeats
