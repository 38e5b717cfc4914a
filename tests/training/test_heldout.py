"""The held-out score, against one piece at a time in plain Keras."""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from midilstm.training import weights
from midilstm.training.heldout import HeldOutEvaluator


def test_scores_are_those_of_each_piece_alone(
    tmp_path: Path, small: Callable[..., keras.Model]
) -> None:
    network = small(ema=0.0)
    weights.save(network, tmp_path / "a.keras")
    plain = keras.models.load_model(tmp_path / "a.keras")
    rng = np.random.default_rng(3)
    pieces = [np.append(rng.integers(1, 9, n), 0).astype(np.int32) for n in (3, 9, 6, 14, 2)]
    nats: list[float] = []
    hits: list[bool] = []
    for ids in pieces:
        weights.reset_states(plain)
        x = np.zeros((3, 16), np.int32)
        x[:, 1 : len(ids)] = ids[:-1]  # END precedes a piece
        parts = [np.asarray(plain(x[:, i : i + 4], training=False))[0] for i in range(0, 16, 4)]
        for probabilities, target in zip(np.concatenate(parts), ids, strict=False):
            nats.append(-math.log(probabilities[target]))
            hits.append(probabilities.argmax() == target)
    scorer = HeldOutEvaluator(network)
    for _ in range(2):  # a second call starts from no state of the first
        loss, accuracy = scorer(pieces)
        assert loss == pytest.approx(np.mean(nats), rel=1e-5)
        assert accuracy == pytest.approx(np.mean(hits))


def test_no_pieces_have_no_score(small: Callable[..., keras.Model]) -> None:
    assert all(map(math.isnan, HeldOutEvaluator(small())([])))
