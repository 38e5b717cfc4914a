"""Ids → stateful [B, T] batches for training, pieces side by side for scoring. Knows no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def batch_count(length: int, batch_size: int, sequence_length: int) -> int:
    """Return how many [B, T] batches a stream of `length` ids gives."""
    return max(0, (length // batch_size - 1) // sequence_length)


def batches(
    ids: np.ndarray,
    batch_size: int,
    sequence_length: int,
    vocabulary_size: int,
    which: slice = slice(None),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a stream int32 [N] into x int32 [B, T] and one-hot y float32 [B, T, V], the next ids.

    Lane i of batch k + 1 goes on where lane i of batch k ended. Only lanes `which` are returned.
    """
    lanes = ids[: len(ids) // batch_size * batch_size].reshape(batch_size, -1)[which]
    for number in range(batch_count(len(ids), batch_size, sequence_length)):
        start, stop = number * sequence_length, (number + 1) * sequence_length
        targets = np.zeros((len(lanes), sequence_length, vocabulary_size), np.float32)
        np.put_along_axis(targets, lanes[:, start + 1 : stop + 1, None], 1, axis=-1)
        yield lanes[:, start:stop], targets


def prefetch(items: Iterator[Any]) -> Iterator[Any]:
    """Make each next item in a thread while the last one is used; at most two exist at a time."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = worker.submit(next, items, None)
            yield item


def epoch_stream(
    pieces: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    shuffle: bool,
    transpositions: np.ndarray | None = None,
) -> np.ndarray:
    """Join the pieces, each int32 [n], into an epoch's stream int32 [N].

    With `transpositions` int32 [K, V], from id to id in each of K keys, each is in a random key.
    """
    chosen = [pieces[number] for number in rng.permutation(len(pieces))] if shuffle else pieces
    if transpositions is not None:
        keys = rng.integers(len(transpositions), size=len(chosen))
        chosen = [transpositions[key][ids] for key, ids in zip(keys, chosen, strict=True)]
    return np.concatenate(chosen)


def evaluation_batches(
    pieces: Sequence[np.ndarray], batch_size: int, sequence_length: int
) -> Iterator[tuple[bool, np.ndarray, np.ndarray, np.ndarray]]:
    """Lay whole pieces side by side, one a lane, so that each id is predicted exactly once.

    Yields (first, x int32 [B, T], targets int32 [B, T], weights float32 [B, T]); `first` says
    that new pieces begin and states must be reset. END precedes a piece; padding has weight 0.
    """
    by_length = sorted(pieces, key=len)
    for begin in range(0, len(by_length), batch_size):
        group = by_length[begin : begin + batch_size]
        steps = -(-len(group[-1]) // sequence_length) * sequence_length
        targets = np.zeros((batch_size, steps), np.int32)
        weights = np.zeros((batch_size, steps), np.float32)
        for lane, ids in enumerate(group):
            targets[lane, : len(ids)] = ids
            weights[lane, : len(ids)] = 1
        inputs = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
        for start in range(0, steps, sequence_length):
            cut = slice(start, start + sequence_length)
            yield start == 0, inputs[:, cut], targets[:, cut], weights[:, cut]
