"""The network in NumPy against Keras's own, and what it refuses."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model
from midilstm.config import ModelConfig, SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation import generate as loop
from midilstm.generation import network as networks

CONFIG = ModelConfig(embedding_size=6, units=16, layers=3, dropout=0.2, input_dropout=0)
VOCABULARY_SIZE = 23


def build(count: int = 1, steps: int = 1, config: ModelConfig = CONFIG) -> Any:
    """Return Keras's network with weights large enough for every gate to matter."""
    network = model.build_model(config, VOCABULARY_SIZE, batch_size=count, sequence_length=steps)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.7, array.shape) for array in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint as train.py saves it."""
    network = build()
    model.compile_for_training(network, 1e-3)
    path = tmp_path_factory.mktemp("model") / "epoch-0001.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> networks.Network:
    return networks.load(checkpoint, CONFIG, VOCABULARY_SIZE)


@pytest.mark.parametrize(("count", "layers"), [(1, 1), (5, 3), (12, 2)])
def test_it_gives_the_probabilities_that_keras_gives(
    tmp_path: Path, count: int, layers: int
) -> None:
    keras = build(count, 40, replace(CONFIG, layers=layers))
    keras.save(tmp_path / "x.keras")
    ids = np.random.default_rng(0).integers(0, 23, (count, 40)).astype(np.int32)
    expected = np.asarray(keras(ids, training=False))
    lanes = networks.load(
        tmp_path / "x.keras", replace(CONFIG, layers=layers), VOCABULARY_SIZE
    ).initial_state(count)
    found = np.stack([np.exp(lanes.step(ids[:, step])) for step in range(40)], 1)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(expected[:, 20] - expected[:, 30]).max() > 0.03  # there is something to get wrong


def test_rows_of_a_small_group_have_the_bits_of_one_alone(network: networks.Network) -> None:
    ids = np.random.default_rng(0).integers(0, 23, (30, networks.ROW_BY_ROW))
    lanes, alone = network.initial_state(ids.shape[1]), [network.initial_state() for _ in ids[0]]
    for step in ids:
        rows = [lane.step(number[None]) for lane, number in zip(alone, step, strict=True)]
        np.testing.assert_array_equal(lanes.step(step), np.concatenate(rows))


def test_taken_lanes_go_on_where_they_were(network: networks.Network) -> None:
    lanes = network.initial_state(3)
    lanes.step(np.array([1, 2, 3]))
    swapped = lanes.select_rows([2, 0, 0])
    expected = lanes.step(np.array([4, 5, 6]))
    np.testing.assert_array_equal(swapped.step(np.array([6, 4, 4])), expected[[2, 0, 0]])


@pytest.mark.parametrize(
    "knobs",
    [
        SamplingConfig(),
        SamplingConfig(
            temperature=0.8, top_k=9, top_p=0.9, repetition_penalty=1.2, stop_at_end=True
        ),
    ],
    ids=str,
)
def test_groups_of_any_size_can_be_drawn_again(
    network: networks.Network, knobs: SamplingConfig
) -> None:
    def draw(seeds: range) -> list[list[int]]:
        return loop.generate(network, seeds, 50, knobs)

    alone = [draw(range(seed, seed + 1))[0] for seed in range(8)]
    for count in (2, 8):
        assert draw(range(count)) == alone[:count]
    many = draw(range(70))
    assert draw(range(70)) == many
    assert draw(range(32, 64)) == many[32:64]


def test_the_digest_is_of_the_weights_not_of_the_file(
    network: networks.Network, tmp_path: Path
) -> None:
    keras = build(count=2)
    keras.save(tmp_path / "again.keras")
    assert networks.load(tmp_path / "again.keras", CONFIG, VOCABULARY_SIZE).digest == network.digest
    keras.set_weights([array + 1e-6 for array in keras.get_weights()])
    keras.save(tmp_path / "other.keras")
    assert networks.load(tmp_path / "other.keras", CONFIG, VOCABULARY_SIZE).digest != network.digest


def test_layers_it_does_not_know_are_refused(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    inputs = keras.Input(batch_shape=(1, 1), dtype="int32")
    x = keras.layers.Embedding(23, 6, name="embedding")(inputs)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.LSTM(16, return_sequences=True, stateful=True, name="lstm_1")(x)
    outputs = keras.layers.Dense(23, name="next_token")(x)
    keras.Model(inputs, outputs).save(tmp_path / "x.keras")
    with pytest.raises(InputError, match="it describes a layer 'LayerNormalization'"):
        networks.load(tmp_path / "x.keras", replace(CONFIG, layers=1), VOCABULARY_SIZE)


@pytest.mark.parametrize(
    ("config", "vocabulary_size"),
    [
        (replace(CONFIG, units=17), 23),
        (replace(CONFIG, layers=4), 23),
        (replace(CONFIG, embedding_size=7), 23),
        (CONFIG, 24),
    ],
)
def test_a_network_of_other_sizes_is_refused_with_both_shapes(
    checkpoint: Path, config: ModelConfig, vocabulary_size: int
) -> None:
    with pytest.raises(InputError, match=r"has arrays \[.*expected \["):
        networks.load(checkpoint, config, vocabulary_size)


def test_damaged_files_are_named(checkpoint: Path, tmp_path: Path) -> None:
    data, path = checkpoint.read_bytes(), tmp_path / "broken.keras"
    for broken in (b"", b"PK", data[: len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"broken\.keras is damaged"):
            networks.load(path, CONFIG, VOCABULARY_SIZE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"not HDF5")
    with pytest.raises(InputError, match="is damaged"):
        networks.load(path, CONFIG, VOCABULARY_SIZE)
