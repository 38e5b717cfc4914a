"""The network: its size, its states, and that one set of weights serves every shape."""

from dataclasses import replace

import numpy as np

import model
from midilstm.config import ModelConfig
from midilstm.data import batches
from midilstm.training import weights

SIZES = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0, input_dropout=0)
CLASSIC = ModelConfig(layers=3, dropout=0.2, input_dropout=0)


def test_the_classic_network_has_its_published_size() -> None:
    network = model.build_model(CLASSIC, 400, batch_size=16, sequence_length=64)
    assert network.input_shape == (16, 64)
    assert network.output_shape == (16, 64, 400)
    assert network.count_params() == 1_838_080 + 769 * 400


def test_any_shape_has_the_same_weights_and_states_carry_on_until_reset() -> None:
    whole = model.build_model(SIZES, 9, batch_size=3, sequence_length=8)
    network, one = (model.build_model(SIZES, 9, batch_size=3, sequence_length=n) for n in (4, 1))
    for other in (network, one):
        other.set_weights(whole.get_weights())
    x = np.random.default_rng(1).integers(0, 9, (3, 8)).astype(np.int32)
    expected = whole(x, training=False)
    first, second = network(x[:, :4], training=False), network(x[:, 4:], training=False)
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, atol=1e-6)
    singly = [one(x[:, i : i + 1], training=False) for i in range(8)]
    np.testing.assert_allclose(np.concatenate(singly, 1), expected, atol=1e-6)
    weights.reset_states(network)
    np.testing.assert_array_equal(network(x[:, :4], training=False), first)


def test_a_step_compiled_whole_learns_the_same() -> None:
    ids = np.random.default_rng(0).integers(0, 9, 39).astype(np.int32)
    losses = []
    for jit in (False, True):
        weights.set_seed(0)
        # Without dropout: XLA draws other masks.
        config = replace(SIZES, layers=1)
        network = model.build_model(config, 9, batch_size=3, sequence_length=4)
        model.compile_for_training(network, 1e-2, jit=jit)
        losses.append([network.train_on_batch(x, y)[0] for x, y in batches.batches(ids, 3, 4, 9)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
