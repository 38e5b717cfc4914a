"""Cut pieces of ids into stateful [B, T] batches, for training and for held-out evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")


class EvaluationBatch(NamedTuple):
    """A step of whole pieces, one per row; `is_first` means that states must be reset before it."""

    is_first: bool
    x: np.ndarray  # int32 [B, T], the ids before the targets
    targets: np.ndarray  # int32 [B, T]
    weights: np.ndarray  # float32 [B, T], 0 for padding


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

    Row i of batch k + 1 continues row i of batch k. Only the rows `which` are returned.
    """
    rows = ids[: len(ids) // batch_size * batch_size].reshape(batch_size, -1)[which]
    for step in range(batch_count(len(ids), batch_size, sequence_length)):
        start, stop = step * sequence_length, (step + 1) * sequence_length
        targets = np.zeros((len(rows), sequence_length, vocabulary_size), np.float32)
        np.put_along_axis(targets, rows[:, start + 1 : stop + 1, None], 1, axis=-1)
        yield rows[:, start:stop], targets


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Compute each next item in a thread while the last is used; at most two exist at a time."""
    with ThreadPoolExecutor(1) as worker:
        future = worker.submit(next, items, None)
        while (item := future.result()) is not None:
            future = worker.submit(next, items, None)
            yield item


def epoch_stream(
    pieces: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    shuffle: bool,
    transpositions: np.ndarray | None = None,
) -> np.ndarray:
    """Join the pieces, each int32 [n], into the stream int32 [N] of an epoch.

    `transpositions` int32 [K, V] maps each id to its id in each of K keys; each piece is put in a
    random one of them.
    """
    chosen = [pieces[index] for index in rng.permutation(len(pieces))] if shuffle else pieces
    if transpositions is not None:
        keys = rng.integers(len(transpositions), size=len(chosen))
        chosen = [transpositions[key][ids] for key, ids in zip(keys, chosen, strict=True)]
    return np.concatenate(chosen)


def evaluation_batches(
    pieces: Sequence[np.ndarray], batch_size: int, sequence_length: int
) -> Iterator[EvaluationBatch]:
    """Lay whole pieces side by side, one per row, so that each id is predicted exactly once.

    The id END precedes each piece.
    """
    by_length = sorted(pieces, key=len)
    for begin in range(0, len(by_length), batch_size):
        group = by_length[begin : begin + batch_size]
        steps = -(-len(group[-1]) // sequence_length) * sequence_length
        targets = np.zeros((batch_size, steps), np.int32)
        weights = np.zeros((batch_size, steps), np.float32)
        for row, ids in enumerate(group):
            targets[row, : len(ids)] = ids
            weights[row, : len(ids)] = 1
        inputs = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
        for start in range(0, steps, sequence_length):
            cut = slice(start, start + sequence_length)
            yield EvaluationBatch(start == 0, inputs[:, cut], targets[:, cut], weights[:, cut])
