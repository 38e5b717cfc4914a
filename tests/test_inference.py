"""The network in NumPy against Keras's own, and what it refuses."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model
from midilstm.sampling import loop
from midilstm.sampling import network as networks

SIZES: dict[str, Any] = {
    "vocabulary_size": 23,
    "embedding_size": 6,
    "units": 16,
    "layers": 3,
    "dropout": 0.2,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with weights large enough for every gate to matter."""
    model.set_seed(0)
    network = model.build_model(batch_size=2, sequence_length=3, **SIZES)
    model.compile_for_training(network, 1e-3)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.7, array.shape) for array in network.get_weights()])
    path = tmp_path_factory.mktemp("model") / "epoch-0001.keras"
    model.save(network, path)
    return path


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> networks.Network:
    return networks.load(checkpoint, SIZES)


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("layers", [1, 3])
def test_it_gives_the_probabilities_that_keras_gives(
    tmp_path: Path, count: int, layers: int
) -> None:
    sizes = SIZES | {"layers": layers}
    model.set_seed(count)
    keras = model.build_model(batch_size=count, sequence_length=40, **sizes)
    rng = np.random.default_rng(0)
    keras.set_weights([rng.normal(0, 0.7, array.shape) for array in keras.get_weights()])
    model.save(keras, tmp_path / "x.keras")
    ids = rng.integers(0, 23, (count, 40)).astype(np.int32)
    expected = np.asarray(keras(ids, training=False))
    lanes = networks.load(tmp_path / "x.keras", sizes).lanes(count)
    found = np.stack([np.exp(lanes.step(ids[:, step])) for step in range(40)], 1)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(expected[:, 20] - expected[:, 30]).max() > 0.1  # there is something to get wrong


def test_rows_of_a_small_group_have_the_bits_of_one_alone(network: networks.Network) -> None:
    ids = np.random.default_rng(0).integers(0, 23, (30, networks.ROW_BY_ROW))
    lanes, alone = network.lanes(ids.shape[1]), [network.lanes() for _ in ids[0]]
    assert lanes.exact
    for step in ids:
        rows = [lane.step(number[None]) for lane, number in zip(alone, step, strict=True)]
        np.testing.assert_array_equal(lanes.step(step), np.concatenate(rows))


def test_rows_of_a_large_group_differ_by_far_less_than_the_slack(
    network: networks.Network,
) -> None:
    ids = np.random.default_rng(0).integers(0, 23, (500, 40))
    lanes, few = network.lanes(40), network.lanes(8)
    assert not lanes.exact
    for step in ids:
        np.testing.assert_allclose(
            lanes.step(step)[:8], few.step(step[:8]), rtol=0, atol=loop.SLACK / 2
        )


def test_taken_and_put_lanes_go_on_where_they_were(network: networks.Network) -> None:
    lanes = network.lanes(3)
    lanes.step(np.array([1, 2, 3]))
    swapped = lanes.take([2, 0])
    expected = lanes.step(np.array([4, 5, 6]))
    np.testing.assert_array_equal(swapped.step(np.array([6, 4])), expected[[2, 0]])
    single = lanes.take([1])
    lanes.put(0, single)
    both = lanes.step(np.array([7, 7, 7]))
    np.testing.assert_array_equal(both[0], both[1])
    assert not network.lanes(40).take([0]).exact  # what was inexact stays so


@pytest.mark.parametrize("knobs", [loop.Knobs(), loop.Knobs(0.8, 9, 0.9, 1.2, True)], ids=str)
def test_pieces_of_any_group_are_the_pieces_alone(
    network: networks.Network, knobs: loop.Knobs
) -> None:
    alone = [loop.generate(network, [seed], 50, knobs)[0] for seed in range(40)]
    for count in (2, 8, 9, 40):
        assert loop.generate(network, range(count), 50, knobs) == alone[:count]
    assert loop.generate(network, range(30, 40), 50, knobs) == alone[30:]


def test_the_digest_is_of_the_weights_not_of_the_file(
    checkpoint: Path, network: networks.Network, tmp_path: Path
) -> None:
    keras = model.build_model(batch_size=1, sequence_length=1, **SIZES)
    model.load(keras, checkpoint)
    model.save(keras, tmp_path / "again.keras")
    assert (tmp_path / "again.keras").read_bytes() != checkpoint.read_bytes()
    assert networks.load(tmp_path / "again.keras", SIZES).digest == network.digest
    keras.set_weights([array + 1e-6 for array in keras.get_weights()])
    model.save(keras, tmp_path / "other.keras")
    assert networks.load(tmp_path / "other.keras", SIZES).digest != network.digest


def test_a_setting_it_does_not_know_is_refused_not_ignored(checkpoint: Path) -> None:
    with pytest.raises(networks.WeightsError, match="does not know \\(residual\\)"):
        networks.load(checkpoint, SIZES | {"residual": True})


def test_layers_it_does_not_know_are_refused(tmp_path: Path) -> None:
    keras = model.keras
    inputs = keras.Input(batch_shape=(1, 1), dtype="int32")
    x = keras.layers.Embedding(23, 6, name="embedding")(inputs)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.LSTM(16, return_sequences=True, stateful=True, name="lstm_1")(x)
    outputs = keras.layers.Dense(23, name="next_token")(x)
    keras.Model(inputs, outputs).save(tmp_path / "x.keras")
    with pytest.raises(networks.WeightsError, match="layer norm has arrays"):
        networks.load(tmp_path / "x.keras", SIZES | {"layers": 1})


@pytest.mark.parametrize("name", ["units", "layers", "embedding_size", "vocabulary_size"])
def test_other_sizes_are_refused_with_both(checkpoint: Path, name: str) -> None:
    with pytest.raises(networks.WeightsError, match=r"has arrays \[.*expected \["):
        networks.load(checkpoint, SIZES | {name: SIZES[name] + 1})


def test_damaged_files_are_named(checkpoint: Path, tmp_path: Path) -> None:
    data, path = checkpoint.read_bytes(), tmp_path / "broken.keras"
    for broken in (b"", b"PK", data[: len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(networks.WeightsError, match=r"broken\.keras is damaged"):
            networks.load(path, SIZES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"not HDF5")
    with pytest.raises(networks.WeightsError, match="is damaged"):
        networks.load(path, SIZES)
