"""A network whose predictions move with the music, trained through its factors."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import model
from midilstm import tokenizers
from midilstm.config import ModelConfig
from midilstm.data import batches
from midilstm.generation import network as networks
from midilstm.tokenizers.orbits import token_orbits
from midilstm.tokenizers.vocabulary import END, Vocabulary
from midilstm.training import weights

SIZES = ModelConfig(embedding_size=36, units=24, dropout=0.2, input_dropout=0.2)
NOTES = ("C4", "C#4", "D4", "E-4", "E4", "F4", "F#4", "G4", "G#4", "A4", "B-4", "B4")
TRANSPOSE = tokenizers.get("notes").transpose
CHORDS = {TRANSPOSE(chord, k) for chord in ("0.4.7", "0.3.6.9", "0.6", "0") for k in range(12)}
VOCABULARY = Vocabulary((END, *NOTES, *sorted(CHORDS)))
SIZE = len(VOCABULARY)
IDS = np.random.default_rng(0).integers(0, SIZE, (3, 4)).astype(np.int32)


def transposed(semitones: int) -> np.ndarray:
    """Return int [V - 13]: the ids of the transposed chords, which begin at 13."""
    return VOCABULARY.ids_of([TRANSPOSE(chord, semitones) for chord in VOCABULARY.tokens[13:]])


def build(
    seed: int = 0,
    vocabulary: Vocabulary = VOCABULARY,
    *,
    dropout: float = 0.2,
    jit: bool = False,
) -> keras.Model:
    """Return a compiled network over ids [3, 4]."""
    weights.set_seed(seed)
    config = replace(SIZES, dropout=dropout, input_dropout=dropout)
    network = model.build_model(config, len(vocabulary), batch_size=3, sequence_length=4)
    model.compile_for_training(network, 1e-2, token_orbits(vocabulary), ema=0.9, jit=jit)
    return network


def train(network: keras.Model, steps: int = 4) -> list[float]:
    """Train on a scale of ids and return each step's loss."""
    ids = (np.arange(3 * (4 * steps + 1)) % 7).astype(np.int32)
    pairs = batches.batches(ids, 3, 4, network.output_shape[-1])
    return [float(network.train_on_batch(x, y)[0]) for x, y in pairs]


def predict(network: keras.Model, ids: np.ndarray) -> np.ndarray:
    """Return the probabilities [3, 4, V] of pieces that begin with ids [3, 4]."""
    weights.reset_states(network)
    return np.array(network(ids, training=False))


@pytest.mark.parametrize("semitones", [1, 4, 6, 11])
def test_transposed_chords_are_predicted_alike_before_and_after_training(semitones: int) -> None:
    network, ids, moved = build(), IDS % (SIZE - 13), transposed(semitones)
    for _ in range(2):
        expected = predict(network, ids + 13)[..., 13:]
        actual = predict(network, moved[ids])[..., moved]
        # Of the chords among each other: single notes are not predicted alike.
        for probabilities in (expected, actual):
            probabilities /= probabilities.sum(-1, keepdims=True)
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
        assert np.ptp(expected, axis=-1).min() > 1e-3  # not all alike anyway
        losses = train(network, 16)
    assert losses[-1] < losses[0]


def test_the_first_weights_are_spread_as_those_of_a_plain_network() -> None:
    network = build()
    plain = model.build_model(SIZES, SIZE, batch_size=3, sequence_length=4)
    for variable, other in zip(network.trainable_variables, plain.trainable_variables, strict=True):
        assert np.std(variable) == pytest.approx(np.std(other), rel=0.2)
    recurrent = network.get_layer("lstm_1").get_weights()[1]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(24), atol=1e-5)


def test_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    straight, resumed = build(), build(seed=5)
    train(straight)
    weights.save(straight, tmp_path / "a.keras")
    weights.load(resumed, tmp_path / "a.keras")
    for network in (straight, resumed):
        weights.reset_states(network)
        weights.reseed(network, 7, 2)
    assert train(resumed) == train(straight)
    for value, other in zip(*map(weights.snapshot, (straight, resumed)), strict=True):
        np.testing.assert_array_equal(value, other)


def test_plain_keras_and_the_sampler_open_a_checkpoint(tmp_path: Path) -> None:
    network, path, ids = build(), tmp_path / "a.keras", IDS
    train(network)
    weights.save(network, path)
    with weights.ema_weights(network):
        expected = predict(network, ids)
    opened = keras.models.load_model(path)
    assert {type(layer) for layer in opened.layers} >= {keras.layers.LSTM}
    assert type(opened.optimizer) is keras.optimizers.Adam
    np.testing.assert_allclose(opened(ids), expected, rtol=1e-4)
    state = networks.load(path, SIZES, SIZE).initial_state(3)
    for step, column in enumerate(ids.T):
        np.testing.assert_allclose(np.exp(state.step(column)), expected[:, step], rtol=1e-4)


def test_a_network_that_starts_from_another_predicts_the_same_of_shared_tokens() -> None:
    major = {TRANSPOSE("0.4.7", semitones) for semitones in range(12)}
    smaller = Vocabulary(tuple(token for token in VOCABULARY.tokens if token not in major))
    network, other = build(), build(seed=5, vocabulary=smaller)
    train(other)
    assert weights.copy_shared_tokens(network, VOCABULARY, other, smaller) == len(smaller)
    ids = IDS % len(smaller)
    shared = VOCABULARY.ids_of(smaller.tokens)
    expected = predict(other, ids)
    actual = predict(network, shared[ids])[..., shared]
    np.testing.assert_allclose(actual / actual.sum(-1, keepdims=True), expected, rtol=1e-4)


def test_a_step_compiled_whole_learns_the_same() -> None:
    losses = [train(build(jit=jit, dropout=0)) for jit in (False, True)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
