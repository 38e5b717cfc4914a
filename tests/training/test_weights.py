"""Checkpoints, states and dropout's random numbers, with outside truths from Keras."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import hostile_files
import keras
import numpy as np
import pytest

import model
from midilstm import model_dir as runs
from midilstm.config import ModelConfig
from midilstm.fileio import InputError
from midilstm.training import weights

Build = Callable[..., keras.Model]
Train = Callable[..., list[float]]
X = np.random.default_rng(1).integers(0, 9, (3, 4)).astype(np.int32)


def same(a: keras.Model, b: keras.Model) -> bool:
    """Tell whether two networks have equal weights and optimizers, bit for bit."""
    pairs = zip(weights.snapshot(a), weights.snapshot(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_training_goes_on_from_a_checkpoint_bit_for_bit(
    tmp_path: Path, small: Build, train: Train
) -> None:
    path = tmp_path / "epoch-0001.keras"
    straight, resumed = small(), small(seed=5)
    train(straight)
    weights.save(straight, path, {"loss": 2.5, "val_loss": 1.5, "val_accuracy": float("nan")})
    weights.load(resumed, path)
    assert same(resumed, straight)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    assert runs.metrics(path).get("val_loss") == 1.5
    for network in (straight, resumed):
        weights.reset_states(network)
        weights.reseed(network, 7, 2)
    assert train(resumed) == train(straight)
    assert same(resumed, straight)


def test_a_checkpoints_weights_are_the_averages(tmp_path: Path, small: Build, train: Train) -> None:
    averaging, plain, path = (
        small(dropout=0.0),
        small(dropout=0.0, ema=0.0),
        tmp_path / "a.keras",
    )
    expected: list[np.ndarray] = []
    raw: list[np.ndarray] = []
    for _ in range(4):
        assert train(averaging, 1) == train(plain, 1)  # averaging changes no training
        raw = [v.numpy() for v in plain.trainable_variables]
        expected = expected or raw
        expected = [0.9 * a + 0.1 * b for a, b in zip(expected, raw, strict=True)]
    weights.save(averaging, path)
    open_checkpoint = keras.models.load_model(path)
    for found, value in zip(open_checkpoint.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, atol=1e-6)
    weights.reset_states(averaging)
    with weights.ema_weights(averaging):
        np.testing.assert_allclose(open_checkpoint(X), averaging(X, training=False), atol=1e-6)
    for found, value in zip(averaging.trainable_variables, raw, strict=True):
        np.testing.assert_array_equal(found.numpy(), value)


def test_a_checkpoint_without_averages_is_refused(tmp_path: Path, small: Build) -> None:
    weights.save(small(ema=0.0), tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"a\.keras .* from another run .*has 29 .*has 20"):
        weights.load(small(), tmp_path / "a.keras")


def test_dropout_masks_differ_between_epochs_and_seeds(small: Build) -> None:
    network = small()

    def output(seed: int, epoch: int) -> bytes:
        weights.reset_states(network)
        weights.reseed(network, seed, epoch)
        return np.asarray(network(X, training=True)).tobytes()

    assert output(0, 1) == output(0, 1)
    assert len({output(0, 1), output(0, 2), output(1, 1)}) == 3


def test_a_network_without_dropout_needs_no_masks(small: Build) -> None:
    network = small(dropout=0.0)
    weights.reseed(network, 0, 1)
    trained = network(X, training=True)
    weights.reset_states(network)
    np.testing.assert_array_equal(trained, network(X, training=False))


def test_a_snapshot_undoes_training(small: Build, train: Train) -> None:
    network, fresh = small(), small()
    before = weights.snapshot(network)
    train(network, 1)
    assert not same(network, fresh)
    weights.restore(network, before)
    assert same(network, fresh)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_checkpoint_is_refused_by_name(
    tmp_path: Path, small: Build, content: bytes
) -> None:
    path = tmp_path / "epoch-0003.keras"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"epoch-0003\.keras is damaged"):
        weights.load(small(), path)


def test_weights_of_another_vocabulary_are_refused(tmp_path: Path, small: Build) -> None:
    weights.save(small(), tmp_path / "a.keras")
    with pytest.raises(InputError, match="another run"):
        weights.load(small(tokens=8), tmp_path / "a.keras")


def test_a_saved_network_opens_in_plain_keras(tmp_path: Path, small: Build, train: Train) -> None:
    network = small()
    train(network)
    weights.reset_states(network)
    weights.save(network, tmp_path / "a.keras")
    open_checkpoint = keras.models.load_model(tmp_path / "a.keras")
    with weights.ema_weights(network):
        np.testing.assert_allclose(open_checkpoint(X), network(X, training=False), atol=1e-6)
    assert {type(layer) for layer in open_checkpoint.layers} >= {keras.layers.LSTM}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, hostile_files.Parts]:
    """Return a network and the parts of its checkpoint."""
    config = ModelConfig(embedding_size=3, units=2, layers=1, dropout=0.2, input_dropout=0)
    network = model.build_model(config, 4, batch_size=1, sequence_length=2)
    model.compile_for_training(network, 1e-2, ema=0.9)
    path = tmp_path_factory.mktemp("saved") / "a.keras"
    weights.save(network, path)
    return network, hostile_files.parts_of(path)


@pytest.mark.parametrize("kind", hostile_files.CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused_before_keras_reads_it(
    kind: str, tmp_path: Path, saved: tuple[keras.Model, hostile_files.Parts]
) -> None:
    (network, parts), path = saved, tmp_path / "epoch-0001.keras"
    write, said = hostile_files.CHECKPOINTS[kind]
    write(path, parts)
    with pytest.raises(InputError, match=r"epoch-0001\.keras (is damaged|has weights)") as refused:
        weights.load(network, path)
    assert said in str(refused.value)


def test_a_checkpoint_that_cannot_be_read_back_replaces_none(
    tmp_path: Path, small: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, close = tmp_path / "best.keras", zipfile.ZipFile.close
    weights.save(small(), path)
    before = path.read_bytes()

    def corrupting(self: zipfile.ZipFile) -> None:
        close(self)
        if self.mode == "a":  # the last that is written of it
            with Path(str(self.filename)).open("r+b") as file:
                file.seek(100)
                file.write(b"?")

    monkeypatch.setattr(zipfile.ZipFile, "close", corrupting)
    with pytest.raises(InputError, match=r"cannot write .*best\.keras \(it cannot be read back\)"):
        weights.save(small(seed=1), path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
