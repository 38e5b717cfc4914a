"""The network, its checkpoints and its scorer, with outside truths from Keras and NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model
from midilstm.corpus import batches

keras = model.keras
SIZES: dict[str, Any] = {"embedding_size": 6, "units": 5, "layers": 2, "dropout": 0.2}


def small(batch_size: int = 3, sequence_length: int = 4, seed: int = 0) -> "model.keras.Model":
    model.set_seed(seed)
    network = model.build_model(9, batch_size=batch_size, sequence_length=sequence_length, **SIZES)
    model.compile_for_training(network, 1e-2)
    return network


def some_batches(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    ids = np.random.default_rng(seed).integers(0, 9, 3 * (4 * count + 1)).astype(np.int32)
    return list(batches.batches(ids, 3, 4, 9))


def values(network: "model.keras.Model") -> list[np.ndarray]:
    return model.snapshot(network)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_classic_network_has_its_published_size() -> None:
    network = model.build_model(400, batch_size=16, sequence_length=64)
    assert network.input_shape == (16, 64)
    assert network.output_shape == (16, 64, 400)
    assert network.count_params() == 1_838_080 + 769 * 400


def test_states_carry_on_between_batches_and_reset_to_zero() -> None:
    network, whole = small(3, 4), small(3, 8)
    x = np.random.default_rng(1).integers(0, 9, (3, 8)).astype(np.int32)
    expected = whole(x, training=False)
    first, second = network(x[:, :4], training=False), network(x[:, 4:], training=False)
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, atol=1e-6)
    model.reset_states(network)
    np.testing.assert_array_equal(network(x[:, :4], training=False), first)


def test_training_weights_sample_one_id_at_a_time() -> None:
    network = small(3, 4)
    one = model.build_model(9, batch_size=1, sequence_length=1, **SIZES)
    one.set_weights(network.get_weights())
    step = model.stepper(one)
    x = np.random.default_rng(1).integers(0, 9, (3, 4)).astype(np.int32)
    expected = np.asarray(network(x, training=False))[0]
    got = np.concatenate([step(x[0, i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_checkpoint_brings_back_weights_and_optimizer_exactly(tmp_path: Path) -> None:
    network = small()
    list(model.train_epoch(network, some_batches(3)))
    model.save(network, tmp_path / "epoch-0001.keras")
    other = small(seed=5)
    assert not same(values(other), values(network))
    model.load(other, tmp_path / "epoch-0001.keras")
    assert same(values(other), values(network))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001.keras"]


def test_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    def epoch(network: "model.keras.Model", number: int) -> list[tuple[float, float]]:
        model.reset_states(network)
        model.reseed(network, 7, number)
        return list(model.train_epoch(network, some_batches(3)))

    straight = small()
    epoch(straight, 1)
    model.save(straight, tmp_path / "saved.keras")
    logs = epoch(straight, 2)
    resumed = small(seed=5)
    model.load(resumed, tmp_path / "saved.keras")
    assert epoch(resumed, 2) == logs
    assert same(values(resumed), values(straight))


def test_a_step_compiled_whole_learns_the_same() -> None:
    sizes = {**SIZES, "dropout": 0}  # XLA draws other masks
    losses = []
    for jit in (False, True):
        model.set_seed(0)
        network = model.build_model(9, batch_size=3, sequence_length=4, **sizes)
        model.compile_for_training(network, 1e-2, jit=jit)
        losses.append(list(model.train_epoch(network, some_batches(3))))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_dropout_masks_differ_between_epochs_and_seeds() -> None:
    def loss(seed: int, epoch: int) -> float:
        network = small()
        model.reseed(network, seed, epoch)
        return next(model.train_epoch(network, some_batches(1)))[0]

    assert loss(0, 1) == loss(0, 1)
    assert len({loss(0, 1), loss(0, 2), loss(1, 1)}) == 3


def test_a_network_without_dropout_needs_no_masks() -> None:
    network = model.build_model(
        9, batch_size=3, sequence_length=4, **{**SIZES, "dropout": 0.0, "layers": 1}
    )
    model.reseed(network, 0, 1)
    x = np.zeros((3, 4), np.int32)
    trained = network(x, training=True)
    model.reset_states(network)
    np.testing.assert_array_equal(trained, network(x, training=False))


def test_a_snapshot_undoes_training() -> None:
    network = small()
    before = model.snapshot(network)
    list(model.train_epoch(network, some_batches(2)))
    assert not same(values(network), before)
    model.restore(network, before)
    assert same(values(network), before)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "epoch-0003.keras"
    path.write_bytes(content)
    with pytest.raises(model.CheckpointError, match=r"epoch-0003\.keras is damaged"):
        model.load(small(), path)


def test_weights_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    model.save(small(), tmp_path / "a.keras")
    other = model.build_model(8, batch_size=1, sequence_length=1, **SIZES)
    with pytest.raises(model.CheckpointError, match="another run"):
        model.load(other, tmp_path / "a.keras")


def test_scores_are_those_of_each_piece_alone() -> None:
    network = small()
    rng = np.random.default_rng(3)
    pieces = [np.append(rng.integers(1, 9, n), 0).astype(np.int32) for n in (3, 9, 6, 14, 2)]
    one = model.build_model(9, batch_size=1, sequence_length=1, **SIZES)
    one.set_weights(network.get_weights())
    step = model.stepper(one)
    nats, right, count = 0.0, 0, 0
    for ids in pieces:
        model.reset_states(one)
        for last, target in zip([0, *ids[:-1]], ids, strict=True):
            probabilities = step(np.array([last], np.int32))[0]
            nats -= np.log(probabilities[target])
            right += probabilities.argmax() == target
            count += 1
    scorer = model.Scorer(network)
    for _ in range(2):  # a second call starts from no state of the first
        loss, accuracy = scorer(batches.scoring_batches(pieces, 3, 4))
        assert loss == pytest.approx(nats / count, rel=1e-5)
        assert accuracy == pytest.approx(right / count)


def test_a_saved_model_opens_in_plain_keras(tmp_path: Path) -> None:
    network = small()
    model.save(network, tmp_path / "a.keras")
    opened = keras.models.load_model(tmp_path / "a.keras")
    x = np.random.default_rng(1).integers(0, 9, (3, 4)).astype(np.int32)
    np.testing.assert_allclose(opened(x), network(x, training=False), atol=1e-6)
    assert "LSTM" in {type(layer).__name__ for layer in opened.layers}
