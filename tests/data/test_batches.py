"""Batches for training and for held-out evaluation."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from midilstm.config import DataConfig
from midilstm.data import batches
from midilstm.data.dataset import load_dataset
from midilstm.tokenizers.vocabulary import KEYS


def test_each_row_continues_in_the_next_batch() -> None:
    ids = np.arange(1, 101, dtype=np.int32)  # 3 rows of 33 ids: 4 whole steps of 8
    result = list(batches.batches(ids, 3, 8, 200))
    assert len(result) == batches.batch_count(100, 3, 8) == 4
    x = np.concatenate([x for x, _ in result], axis=1)
    y = np.concatenate([y for _, y in result], axis=1)
    assert (x.dtype, y.dtype, y.shape) == (np.int32, np.float32, (3, 32, 200))
    for row in range(3):
        np.testing.assert_array_equal(x[row], np.arange(33 * row + 1, 33 * row + 33))
    np.testing.assert_array_equal(y.argmax(-1), x + 1)
    np.testing.assert_array_equal(y.sum(-1), 1)


def test_evaluation_predicts_each_id_once_from_the_one_before() -> None:
    rng = np.random.default_rng(0)
    pieces = [np.append(rng.integers(1, 9, n), 0).astype(np.int32) for n in (3, 11, 7, 20, 5)]
    predicted: list[tuple[int, int]] = []
    n_resets = 0
    for batch in batches.evaluation_batches(pieces, 2, 4):
        assert batch.x.shape == batch.targets.shape == batch.weights.shape == (2, 4)
        n_resets += batch.is_first
        used = batch.weights == 1
        predicted += zip(batch.x[used].tolist(), batch.targets[used].tolist(), strict=True)
    expected = [pair for ids in pieces for pair in zip([0, *ids[:-1]], ids, strict=True)]
    assert n_resets == 3
    assert sorted(predicted) == sorted(expected)


def test_transposed_streams_hold_each_piece_once_in_some_key(music: Path) -> None:
    dataset = load_dataset(DataConfig(data_dir=music, jobs=1))
    vocabulary, pieces = dataset.vocabulary, list(dataset.training.values())
    transpositions = np.array([vocabulary.transposed(key) for key in KEYS])
    rng = np.random.default_rng(3)
    stream = batches.epoch_stream(pieces, rng, shuffle=True, transpositions=transpositions)
    tokens_of = {
        tuple(vocabulary.encoding.transpose(vocabulary.tokens[i], key) for i in ids[:-1]): (n, key)
        for n, ids in enumerate(pieces)
        for key in KEYS
    }
    matches = [
        tokens_of[tuple(vocabulary.tokens[i] for i in ids[:-1])]
        for ids in np.split(stream, np.flatnonzero(stream == 0) + 1)[:-1]
    ]
    assert sorted(n for n, _ in matches) == list(range(len(pieces)))
    assert len({key for _, key in matches}) > 1


def test_only_shuffled_streams_change_the_order_of_pieces() -> None:
    pieces = [np.array([token_id, 0], np.int32) for token_id in range(1, 9)]
    rng = np.random.default_rng(0)
    plain = batches.epoch_stream(pieces, rng, shuffle=False)
    np.testing.assert_array_equal(plain, np.concatenate(pieces))
    shuffled = batches.epoch_stream(pieces, rng, shuffle=True)
    assert sorted(shuffled) == sorted(plain)
    assert list(shuffled) != list(plain)


def test_the_next_item_is_computed_while_the_last_is_used() -> None:
    is_computed = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        is_computed.set()
        yield 1
        raise ZeroDivisionError

    prefetched = batches.prefetch(items())
    assert next(prefetched) == 0
    assert is_computed.wait(10)
    assert next(prefetched) == 1
    with pytest.raises(ZeroDivisionError):
        next(prefetched)
