"""The fit of the match model to a network, with the pieces that the network then draws."""

from typing import Any, cast

import numpy as np
import pytest
from fake_network import SIZE, VOCABULARY, FakeNetwork
from made_pieces import repeating_pieces

from midilstm.config import SamplingConfig
from midilstm.generation import fit_model
from midilstm.generation.fit_model import fit_match_weights
from midilstm.generation.sampler import Sampler
from midilstm.repetition.fit import PRIOR_MEAN
from midilstm.repetition.match_model import MatchWeights
from midilstm.repetition.metrics import repeat_lags

NETWORK = cast(Any, FakeNetwork())


def repeated_share(pieces: list[np.ndarray]) -> float:
    return float(np.mean([(repeat_lags(ids, 8) > 0).mean() for ids in pieces]))


def repeated_in_last_fifth(pieces: list[np.ndarray]) -> float:
    return float(np.mean([np.array_split(repeat_lags(ids, 8) > 0, 5)[-1] for ids in pieces]))


def draw(count: int, length: int, weights: MatchWeights | None) -> list[np.ndarray]:
    sampler = Sampler(NETWORK, VOCABULARY, SamplingConfig(chars=length), weights)
    return [np.array(piece.ids) for piece in sampler.draw(range(count))]


def test_a_fit_is_reproducible_and_new_pieces_repeat_as_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit_model, "MAX_SAMPLED", 60_000)
    reference = repeating_pieces(20, 4, SIZE)
    weights = fit_match_weights(NETWORK, VOCABULARY, reference, seed=-3)
    assert weights == fit_match_weights(NETWORK, VOCABULARY, reference, seed=-3)
    expected = repeated_share(reference)
    assert repeated_share(draw(40, 143, weights)) == pytest.approx(expected, abs=0.08)
    assert repeated_share(draw(40, 143, None)) < expected / 2
    long = draw(6, 5 * 143, weights)
    assert repeated_in_last_fifth(long) < repeated_in_last_fifth(reference) + 0.1


def test_a_piece_of_one_id_can_be_fitted() -> None:
    weights = fit_match_weights(NETWORK, VOCABULARY, [np.array([1, 0])], seed=0)
    assert weights == MatchWeights(log_lag_sq=PRIOR_MEAN[5])
