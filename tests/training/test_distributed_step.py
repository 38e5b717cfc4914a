"""The step and the dropout of several workers, played by one process; test_workers.py has two."""

from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

import model
from midilstm.config import ModelConfig
from midilstm.data import batches
from midilstm.training import distributed as workers
from midilstm.training import weights


class Twins:
    """Two workers that both see the same lanes."""

    workers = ("a:1", "b:1")

    def add(self, values: Any) -> Any:
        return 2 * values

    def gather(self, values: Any) -> Any:
        return tf.concat([values, values], 0)


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 4, 8)])
def test_a_worker_drops_of_its_lanes_what_one_machine_would(shape: tuple[int, ...]) -> None:
    layer = keras.layers.Dropout(0.4)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def seeded() -> None:
        layer.seed_generator.state.assign([3, 4])

    seeded()
    whole = layer(x, training=True).numpy()
    assert 0.2 < np.mean(whole == 0) < 0.6
    for first in (0, 2, 4):
        seeded()
        lanes = x[first : first + 2]
        mine = workers._drop(layer, first, tf.constant(lanes), training=True).numpy()
        assert np.array_equal(mine, whole[first : first + 2])
        assert workers._drop(layer, first, lanes) is lanes


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_two_workers_step_as_one_does_on_the_lanes_of_both(ema: float) -> None:
    def build(lanes: int) -> keras.Model:
        weights.set_seed(0)
        config = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0, input_dropout=0)
        network = model.build_model(config, 9, batch_size=lanes, sequence_length=4)
        model.compile_for_training(network, 1e-2, ema=ema)
        return network

    alone, shared, team = build(6), build(3), Twins()
    step = workers._make_step(shared, cast(Any, team))
    ids = np.random.default_rng(0).integers(0, 9, 3 * 13).astype(np.int32)
    for x, y in batches.batches(ids, 3, 4, 9):
        said = alone.train_on_batch(np.tile(x, (2, 1)), np.tile(y, (2, 1, 1)), return_dict=True)
        assert step(x, y) == pytest.approx(said, rel=1e-5)
    for one, other in zip(weights.snapshot(alone), weights.snapshot(shared), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
