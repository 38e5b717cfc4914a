"""Batches for training, pieces side by side for scoring."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from midilstm.data import batches
from midilstm.data.dataset import load_dataset
from midilstm.tokenizers.vocabulary import KEYS


def test_lanes_go_on_from_batch_to_batch() -> None:
    ids = np.arange(1, 101, dtype=np.int32)  # 3 lanes of 33 ids: 4 whole steps of 8
    made = list(batches.batches(ids, 3, 8, 200))
    assert len(made) == batches.batch_count(100, 3, 8) == 4
    x = np.concatenate([x for x, _ in made], axis=1)
    y = np.concatenate([y for _, y in made], axis=1)
    assert x.dtype == np.int32
    assert y.dtype == np.float32
    assert y.shape == (3, 32, 200)
    for lane in range(3):
        np.testing.assert_array_equal(x[lane], np.arange(33 * lane + 1, 33 * lane + 33))
    np.testing.assert_array_equal(y.argmax(-1), x + 1)
    np.testing.assert_array_equal(y.sum(-1), 1)


def test_scoring_predicts_each_id_once_from_the_one_before() -> None:
    rng = np.random.default_rng(0)
    pieces = [np.append(rng.integers(1, 9, n), 0).astype(np.int32) for n in (3, 11, 7, 20, 5)]
    seen: list[tuple[int, int]] = []
    firsts = 0
    for first, x, targets, weights in batches.evaluation_batches(pieces, 2, 4):
        assert x.shape == targets.shape == weights.shape == (2, 4)
        firsts += first
        seen += [
            (int(a), int(b)) for a, b in zip(x[weights == 1], targets[weights == 1], strict=True)
        ]
    expected = [
        (int(a), int(b)) for ids in pieces for a, b in zip([0, *ids[:-1]], ids, strict=True)
    ]
    assert firsts == 3
    assert sorted(seen) == sorted(expected)


def test_transposed_streams_are_the_same_music_in_other_keys(music: Path) -> None:
    corpus = load_dataset(music, jobs=1, transpose=True)
    vocabulary, pieces = corpus.vocabulary, list(corpus.training.values())
    keys = np.array([vocabulary.transposed(k) for k in KEYS])
    stream = batches.epoch_stream(
        pieces, np.random.default_rng(3), shuffle=True, transpositions=keys
    )
    assert len(stream) == sum(map(len, pieces))
    assert stream.max() < len(vocabulary)
    found = set()
    for piece in np.split(stream, np.flatnonzero(stream == 0) + 1)[:-1]:
        tokens = [vocabulary.tokens[i] for i in piece[:-1]]
        same = [
            (number, k)
            for number, ids in enumerate(pieces)
            for k in KEYS
            if [vocabulary.encoding.transpose(vocabulary.tokens[i], k) for i in ids[:-1]] == tokens
        ]
        assert len(same) == 1
        found.add(same[0])
    assert {number for number, _ in found} == set(range(len(pieces)))
    assert len({k for _, k in found}) > 1


def test_streams_keep_the_order_unless_asked() -> None:
    pieces = [np.array([number, 0], np.int32) for number in range(1, 9)]
    rng = np.random.default_rng(0)
    plain = batches.epoch_stream(pieces, rng, shuffle=False)
    np.testing.assert_array_equal(plain, np.concatenate(pieces))
    shuffled = batches.epoch_stream(pieces, rng, shuffle=True)
    assert sorted(shuffled) == sorted(plain)
    assert list(shuffled) != list(plain)


def test_the_next_batch_is_made_while_the_last_is_used() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    coming = batches.prefetch(items())
    assert next(coming) == 0
    assert second.wait(10)  # without anyone asking for it
    assert list(coming) == [1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_an_error_in_making_a_batch_is_raised_where_it_is_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    coming = batches.prefetch(items())
    assert next(coming) == 1
    with pytest.raises(ZeroDivisionError):
        next(coming)
