"""The network in NumPy against Keras's own, and the checkpoints that it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model
from midilstm import tokenizers
from midilstm.config import ModelConfig, SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.network import ROW_BY_ROW, Network, load
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import END, Vocabulary

CONFIG = ModelConfig(embedding_size=6, units=16, layers=3, dropout=0.2, input_dropout=0)
TOKENS = sorted({tokenizers.get("notes").transpose("C4", key) for key in range(-11, 11)})
VOCABULARY = Vocabulary((END, *TOKENS))
SIZE = len(VOCABULARY)


def build(rows: int = 1, steps: int = 1, config: ModelConfig = CONFIG) -> Any:
    """Return Keras's network with weights large enough for every gate to matter."""
    keras = model.build_model(config, SIZE, batch_size=rows, sequence_length=steps)
    rng = np.random.default_rng(0)
    keras.set_weights([rng.normal(0, 0.7, array.shape) for array in keras.get_weights()])
    return keras


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint as train.py saves it."""
    keras = build()
    model.compile_for_training(keras, 1e-3)
    path = tmp_path_factory.mktemp("model") / "epoch-0001.keras"
    keras.save(path)
    return path


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> Network:
    return load(checkpoint, CONFIG, SIZE)


@pytest.mark.parametrize(("rows", "layers"), [(1, 1), (5, 3), (12, 2)])
def test_it_predicts_what_keras_predicts(tmp_path: Path, rows: int, layers: int) -> None:
    config = replace(CONFIG, layers=layers)
    keras = build(rows, 40, config)
    keras.save(tmp_path / "x.keras")
    ids = np.random.default_rng(0).integers(0, SIZE, (rows, 40)).astype(np.int32)
    expected = np.asarray(keras(ids, training=False))
    state = load(tmp_path / "x.keras", config, SIZE).initial_state(rows)
    probabilities = np.stack([np.exp(state.step(ids[:, step])) for step in range(40)], 1)
    np.testing.assert_allclose(probabilities, expected, atol=2e-5)
    assert np.abs(expected[:, 20] - expected[:, 30]).max() > 0.03  # the inputs matter


def test_rows_of_a_small_batch_equal_single_rows_bit_for_bit(network: Network) -> None:
    ids = np.random.default_rng(0).integers(0, SIZE, (30, ROW_BY_ROW))
    batch, single = network.initial_state(ROW_BY_ROW), [network.initial_state() for _ in ids[0]]
    for step in ids:
        rows = [state.step(token_id[None]) for state, token_id in zip(single, step, strict=True)]
        np.testing.assert_array_equal(batch.step(step), np.concatenate(rows))
    selected = batch.select_rows([2, 0, 0])
    expected = batch.step(np.arange(ROW_BY_ROW))
    np.testing.assert_array_equal(selected.step(np.array([2, 0, 0])), expected[[2, 0, 0]])


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "repetition_penalty": 1.2}],
)
def test_batches_of_any_size_are_reproducible(network: Network, settings: Any) -> None:
    config = SamplingConfig(chars=50, stop_at_end=bool(settings), **settings)
    draw = Sampler(network, VOCABULARY, config).draw
    alone = [draw(range(seed, seed + 1))[0] for seed in range(8)]
    for count in (2, 8):
        assert draw(range(count)) == alone[:count]
    many = draw(range(70))
    assert draw(range(70)) == many
    assert draw(range(32, 64)) == many[32:64]


def test_the_digest_is_of_the_weights_not_of_the_file(network: Network, tmp_path: Path) -> None:
    keras = build(rows=2)
    keras.save(tmp_path / "again.keras")
    assert load(tmp_path / "again.keras", CONFIG, SIZE).digest == network.digest
    keras.set_weights([array + 1e-6 for array in keras.get_weights()])
    keras.save(tmp_path / "other.keras")
    assert load(tmp_path / "other.keras", CONFIG, SIZE).digest != network.digest


@pytest.mark.parametrize(
    ("change", "size"),
    [({"units": 17}, SIZE), ({"layers": 4}, SIZE), ({"embedding_size": 7}, SIZE), ({}, SIZE + 1)],
)
def test_other_shapes_are_refused_and_both_named(
    checkpoint: Path, change: dict[str, Any], size: int
) -> None:
    with pytest.raises(InputError, match=r"has arrays \[.*expected \["):
        load(checkpoint, replace(CONFIG, **change), size)
