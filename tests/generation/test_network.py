"""The network in NumPy against Keras's own, and what it refuses."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model
from midilstm.fileio import InputError
from midilstm.generation import generate as loop
from midilstm.generation import network as networks
from midilstm.generation.sampler import SamplingConfig

SIZES: dict[str, Any] = {
    "vocabulary_size": 23,
    "embedding_size": 6,
    "units": 16,
    "layers": 3,
    "dropout": 0.2,
}


def build(count: int = 1, steps: int = 1, **sizes: Any) -> Any:
    """Return Keras's network with weights large enough for every gate to matter."""
    network = model.build_model(batch_size=count, sequence_length=steps, **{**SIZES, **sizes})
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
    return networks.load(checkpoint, SIZES)


@pytest.mark.parametrize(("count", "layers"), [(1, 1), (5, 3), (12, 2)])
def test_it_gives_the_probabilities_that_keras_gives(
    tmp_path: Path, count: int, layers: int
) -> None:
    keras = build(count, 40, layers=layers)
    keras.save(tmp_path / "x.keras")
    ids = np.random.default_rng(0).integers(0, 23, (count, 40)).astype(np.int32)
    expected = np.asarray(keras(ids, training=False))
    lanes = networks.load(tmp_path / "x.keras", SIZES | {"layers": layers}).initial_state(count)
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
    "knobs", [SamplingConfig(), SamplingConfig(0.8, 9, 0.9, 1.2, True)], ids=str
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
    assert networks.load(tmp_path / "again.keras", SIZES).digest == network.digest
    keras.set_weights([array + 1e-6 for array in keras.get_weights()])
    keras.save(tmp_path / "other.keras")
    assert networks.load(tmp_path / "other.keras", SIZES).digest != network.digest


def test_layers_it_does_not_know_are_refused(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    inputs = keras.Input(batch_shape=(1, 1), dtype="int32")
    x = keras.layers.Embedding(23, 6, name="embedding")(inputs)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.LSTM(16, return_sequences=True, stateful=True, name="lstm_1")(x)
    outputs = keras.layers.Dense(23, name="next_token")(x)
    keras.Model(inputs, outputs).save(tmp_path / "x.keras")
    with pytest.raises(InputError, match="layer layer_normalization has arrays"):
        networks.load(tmp_path / "x.keras", SIZES | {"layers": 1})


@pytest.mark.parametrize("name", ["units", "layers", "embedding_size", "vocabulary_size"])
def test_other_sizes_are_refused_with_both(checkpoint: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"has arrays \[.*expected \["):
        networks.load(checkpoint, SIZES | {name: SIZES[name] + 1})


def test_damaged_files_are_named(checkpoint: Path, tmp_path: Path) -> None:
    data, path = checkpoint.read_bytes(), tmp_path / "broken.keras"
    for broken in (b"", b"PK", data[: len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"broken\.keras is damaged"):
            networks.load(path, SIZES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"not HDF5")
    with pytest.raises(InputError, match="is damaged"):
        networks.load(path, SIZES)
