"""Checkpoints, LSTM states and dropout masks, compared with Keras."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import hostile_files
import keras
import numpy as np
import pytest

import model
from midilstm.config import ModelConfig
from midilstm.fileio import InputError
from midilstm.model_dir import metrics
from midilstm.tokenizers.vocabulary import END, Vocabulary
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
    assert metrics(path).get("val_loss") == 1.5
    for network in (straight, resumed):
        weights.reset_states(network)
        weights.reseed(network, 7, 2)
    assert train(resumed) == train(straight)
    assert same(resumed, straight)


def test_a_checkpoint_opens_in_plain_keras_with_the_averaged_weights(
    tmp_path: Path, small: Build, train: Train
) -> None:
    averaging, plain = small(dropout=0.0), small(dropout=0.0, ema=0.0)
    expected: list[np.ndarray] = []
    for _ in range(4):
        assert train(averaging, 1) == train(plain, 1)  # averaging changes no training
        raw = [v.numpy() for v in plain.trainable_variables]
        expected = expected or raw
        expected = [0.9 * a + 0.1 * b for a, b in zip(expected, raw, strict=True)]
    weights.save(averaging, tmp_path / "a.keras")
    opened = keras.models.load_model(tmp_path / "a.keras")
    assert {type(layer) for layer in opened.layers} >= {keras.layers.LSTM}
    for variable, values in zip(opened.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), values, atol=1e-6)
    weights.reset_states(averaging)
    with weights.ema_weights(averaging):
        np.testing.assert_allclose(opened(X), averaging(X, training=False), atol=1e-6)
    for variable, values in zip(averaging.trainable_variables, raw, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


@pytest.mark.parametrize(
    ("other", "reason"), [({"ema": 0.0}, "has 29 .*has 20"), ({"tokens": 8}, "")]
)
def test_a_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, small: Build, other: dict[str, float], reason: str
) -> None:
    weights.save(small(**other), tmp_path / "a.keras")
    with pytest.raises(InputError, match=rf"a\.keras .* from another run .*{reason}"):
        weights.load(small(), tmp_path / "a.keras")


def test_weights_of_another_vocabulary_are_copied_token_by_token(small: Build) -> None:
    vocabulary, other_vocabulary = Vocabulary((END, *"CEG")), Vocabulary((END, *"GACB"))
    network, other, before = small(tokens=4), small(seed=5, tokens=5), small(tokens=4)
    assert weights.copy_shared_tokens(network, vocabulary, other, other_vocabulary) == 3
    ids, other_ids = (v.ids_of([END, "C", "G"]) for v in (vocabulary, other_vocabulary))
    new_id = vocabulary.token_ids["E"]
    for index, layer in enumerate(network.layers):
        values, copied, old = (
            [w.T if layer.name == "next_token" else w for w in x.layers[index].get_weights()]
            for x in (network, other, before)
        )
        for i in range(len(values)):
            if layer.name in ("embedding", "next_token"):
                np.testing.assert_array_equal(values[i][ids], copied[i][other_ids])
                np.testing.assert_array_equal(values[i][new_id], old[i][new_id])
            else:
                np.testing.assert_array_equal(values[i], copied[i])


def test_dropout_masks_differ_between_epochs_and_seeds(small: Build) -> None:
    network = small()

    def output(seed: int, epoch: int) -> bytes:
        weights.reset_states(network)
        weights.reseed(network, seed, epoch)
        return np.asarray(network(X, training=True)).tobytes()

    assert output(0, 1) == output(0, 1)
    assert len({output(0, 1), output(0, 2), output(1, 1)}) == 3


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
    write, reason = hostile_files.CHECKPOINTS[kind]
    write(path, parts)
    with pytest.raises(InputError, match=r"epoch-0001\.keras (is damaged|has weights)") as refused:
        weights.load(network, path)
    assert reason in str(refused.value)


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
