"""The fast LSTM layer against stock Keras: values, gradients, training, state, files, fallbacks."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from midilstm.training import lstm

STOCK = keras.layers.LSTM


def make_pair(features: int, units: int, *, seed: int = 0, batch: int = 2, **options: Any) -> Any:
    """Return a stock and a fast layer with the same random weights, biases included."""
    pair = []
    for cls in (STOCK, lstm.LSTM):
        keras.utils.set_random_seed(seed)
        pair.append(cls(units, **options))
        pair[-1].build((batch, None, features))
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 0.5, w.shape) for w in pair[0].trainable_weights]
    for layer in pair:
        for variable, value in zip(layer.trainable_weights, weights, strict=True):
            variable.assign(value)
    return pair


def make_model(
    cls: type, *, layers: int = 1, dropout: float = 0.2, jit_compile: bool = False
) -> keras.Model:
    """Return a compiled stateful model of 11 classes over ids int32 [4, 6]."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input(batch_shape=(4, 6), dtype="int32")
    x = keras.layers.Embedding(11, 9)(inputs)
    for _ in range(layers):
        x = cls(8, return_sequences=True, stateful=True)(x)
        x = keras.layers.Dropout(dropout)(x)
    model = keras.Model(inputs, keras.layers.Dense(11, activation="softmax")(x))
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss="categorical_crossentropy",
        jit_compile=jit_compile,
    )
    return model


def train(model: keras.Model, steps: int, seed: int = 3) -> list[float]:
    """Return the loss of each of `steps` training steps on random ids."""
    ids = np.random.default_rng(seed).integers(0, 11, (steps, 4, 7))
    one_hot = np.eye(11, dtype="float32")
    return [float(model.train_on_batch(b[:, :-1], one_hot[b[:, 1:]])) for b in ids]


def relative_error(actual: Any, expected: Any) -> float:
    """Return the largest difference over the largest expected magnitude, or 0.1 if that is more.

    A small gradient can be a sum of large numbers that cancel: float32 leaves it no relative
    accuracy, in the stock layer either.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 0.1))


def run_with_gradients(layer: Any, arrays: list[Any], mixes: list[Any]) -> tuple[Any, Any]:
    """Return outputs and states, and gradients of their random mix by inputs, states, weights."""
    inputs, hidden, carry = (tf.cast(array, tf.float32) for array in arrays)
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([inputs, hidden, carry])
        results = layer(inputs, initial_state=[hidden, carry])
        total = tf.add_n([tf.reduce_sum(r * m) for r, m in zip(results, mixes, strict=True)])
    return results, tape.gradient(total, [inputs, hidden, carry, *weights])


def check_values_and_gradients(
    shape: tuple[int, ...], *, seed: int = 1, sequences: bool = True, compiled: bool = False
) -> None:
    """Compare outputs, states and all gradients for random inputs of a shape [B, T, D] and H."""
    batch, length, features, units = shape
    rng = np.random.default_rng(seed)
    pair = make_pair(features, units, seed=seed, return_state=True, return_sequences=sequences)
    arrays = [rng.normal(size=(batch, length, features)), *rng.normal(size=(2, batch, units))]
    output = (batch, length, units) if sequences else (batch, units)
    mixes = [rng.normal(size=shape).astype("float32") for shape in (output, *[(batch, units)] * 2)]
    run = tf.function(run_with_gradients, autograph=False) if compiled else run_with_gradients
    expected, actual = (run(layer, arrays, mixes) for layer in pair)
    for ours, stock in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert relative_error(ours, stock) < 1e-5


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(1, 7), st.integers(1, 7)),
    sequences=st.booleans(),
    seed=st.integers(0, 999),
)
def test_values_and_gradients_equal_stock(
    shape: tuple[int, ...], sequences: bool, seed: int
) -> None:
    check_values_and_gradients(shape, sequences=sequences, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 7, 3, 5)], ids=str)
def test_values_and_gradients_equal_stock_when_compiled(shape: tuple[int, ...]) -> None:
    check_values_and_gradients(shape, compiled=True)


def test_saturated_gates_equal_stock() -> None:
    pair = make_pair(3, 4, return_sequences=True)
    inputs = np.random.default_rng(0).normal(0, 100, (2, 5, 3)).astype("float32")
    np.testing.assert_allclose(pair[1](inputs), pair[0](inputs), atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_gives_the_stock_losses_and_the_same_weights_each_time(jit_compile: bool) -> None:
    # Without dropout: XLA draws other random numbers.
    expected = train(make_model(STOCK, dropout=0), 10)
    models = [make_model(lstm.LSTM, dropout=0, jit_compile=jit_compile) for _ in range(2)]
    first, second = (train(model, 10) for model in models)
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-4)
    assert first == second
    for values, other_values in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(values, other_values)


def test_weights_start_as_the_stock_layer_starts() -> None:
    expected, actual = (make_model(cls).get_weights() for cls in (STOCK, lstm.LSTM))
    for ours, stock in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(ours, stock)


def refuse(*_: Any) -> None:
    raise AssertionError("the other path ran")


def test_every_layer_of_a_stack_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    # Layers above one that lost its static shape would take the stock loop.
    monkeypatch.setattr(STOCK, "inner_loop", refuse)
    train(make_model(lstm.LSTM, layers=2), 1)


@pytest.mark.parametrize("shape", [(None, 5, 3), (2, None, 3)])
def test_a_shape_unknown_until_run_time_takes_the_stock_path(
    shape: tuple[int | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm, "lstm", refuse)
    assert lstm.LSTM(4)(keras.Input(batch_shape=shape)).shape == (shape[0], 4)


@pytest.mark.parametrize(
    "options",
    [
        {"go_backwards": True},
        {"unroll": True},
        {"dropout": 0.5},
        {"recurrent_dropout": 0.5},
        {"use_bias": False},
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"dtype": "float64"},
        {"dtype": "mixed_bfloat16"},
        {"dtype": "mixed_float16"},
        {"length": 1},
        {"mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)},
        {"device": tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")},
    ],
    ids=str,
)
def test_other_options_take_the_stock_path(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm, "lstm", refuse)
    special = {name: options.get(name) for name in ("length", "mask", "device")}
    if device := special["device"]:
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda: [device])
    options = {name: value for name, value in options.items() if name not in special}
    stock, ours = make_pair(3, 4, return_sequences=True, **options)
    inputs = np.random.default_rng(0).normal(size=(2, special["length"] or 5, 3)).astype("float32")
    actual, expected = (x(inputs, mask=special["mask"], training=True) for x in (ours, stock))
    np.testing.assert_array_equal(actual, expected)


def test_dropout_of_the_layer_leaves_inference_fast() -> None:
    stock, ours = make_pair(3, 4, dropout=0.5)
    inputs = np.ones((2, 5, 3), "float32")
    assert relative_error(ours(inputs), stock(inputs)) < 1e-5


def read_layers(path: Path) -> list[dict[str, Any]]:
    """Return the layers' configs in a .keras file, without the memory addresses in them."""
    with zipfile.ZipFile(path) as archive:
        text = re.sub(
            rb'"shared_object_id": \d+', b'"shared_object_id": 0', archive.read("config.json")
        )
    layers: list[dict[str, Any]] = json.loads(text)["config"]["layers"]
    return layers


def test_a_saved_file_names_the_stock_layer(tmp_path: Path) -> None:
    for cls, name in ((STOCK, "stock.keras"), (lstm.LSTM, "ours.keras")):
        keras.backend.clear_session()
        make_model(cls).save(tmp_path / name)
    layers = read_layers(tmp_path / "ours.keras")
    assert layers == read_layers(tmp_path / "stock.keras")
    assert "LSTM" in [layer["class_name"] for layer in layers]


@pytest.mark.slow
@pytest.mark.parametrize("saver", [STOCK, lstm.LSTM])
def test_training_goes_on_after_either_layer_saved(saver: type, tmp_path: Path) -> None:
    """Open the file in plain Keras, and as weights in a model built with this layer."""
    path = tmp_path / "model.keras"
    model = make_model(saver, dropout=0)
    train(model, 5)
    model.save(path)
    for layer in model.layers:
        if isinstance(layer, STOCK):
            layer.reset_state()
    expected = train(model, 3, seed=9)

    plain = keras.models.load_model(path)
    assert [type(layer) for layer in plain.layers].count(STOCK) == 1
    np.testing.assert_allclose(train(plain, 3, seed=9), expected, atol=1e-5)

    ours = make_model(lstm.LSTM, dropout=0)
    ours.optimizer.build(ours.trainable_variables)
    ours.load_weights(path)
    assert [type(layer) for layer in ours.layers].count(lstm.LSTM) == 1
    np.testing.assert_allclose(train(ours, 3, seed=9), expected, atol=1e-5)
