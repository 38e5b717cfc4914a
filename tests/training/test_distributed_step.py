"""The training step and the dropout of several workers, in one process."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import model
from midilstm.config import ModelConfig
from midilstm.data import batches
from midilstm.training import distributed, weights


def add_to_itself(values: list[Any]) -> list[Any]:
    """Return what two workers add up that both see the same rows."""

    def add(value: Any) -> Any:
        if isinstance(value, tf.IndexedSlices):
            rows, ids = (tf.concat([x, x], 0) for x in (value.values, value.indices))
            return tf.IndexedSlices(rows, ids, value.dense_shape)
        return 2 * value

    return [add(value) for value in values]


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 4, 8)])
def test_a_worker_drops_of_its_rows_what_one_machine_would(shape: tuple[int, ...]) -> None:
    layer = keras.layers.Dropout(0.4)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def seeded() -> None:
        layer.seed_generator.state.assign([3, 4])

    seeded()
    whole = layer(x, training=True).numpy()
    assert 0.2 < np.mean(whole == 0) < 0.6
    for first in (0, 2, 4):
        seeded()
        rows = x[first : first + 2]
        mine = distributed._drop(layer, first, tf.constant(rows), training=True).numpy()
        assert np.array_equal(mine, whole[first : first + 2])
        assert distributed._drop(layer, first, rows) is rows


@pytest.mark.parametrize("ema", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_two_workers_step_as_one_does_on_the_rows_of_both(ema: float) -> None:
    def build(rows: int) -> keras.Model:
        weights.set_seed(0)
        config = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0, input_dropout=0)
        network = model.build_model(config, 9, batch_size=rows, sequence_length=4)
        model.compile_for_training(network, 1e-2, ema=ema)
        return network

    alone, shared = build(6), build(3)
    step = distributed.make_step(shared, 2, add_to_itself)
    ids = np.random.default_rng(0).integers(0, 9, 3 * 13).astype(np.int32)
    for x, y in batches.batches(ids, 3, 4, 9):
        expected = alone.train_on_batch(np.tile(x, (2, 1)), np.tile(y, (2, 1, 1)), return_dict=True)
        assert step(x, y) == pytest.approx(expected, rel=1e-5)
    for one, other in zip(weights.snapshot(alone), weights.snapshot(shared), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
