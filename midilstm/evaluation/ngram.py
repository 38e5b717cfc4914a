"""Predict ids by n-grams, the baseline, with interpolated Kneser-Ney smoothing.

After Chen and Goodman 1999: a discount, estimated for each length, is taken from each count, and
lower orders count after how many different ids a gram occurs. Below the unigram all ids are equally
likely, so that nothing is impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from midilstm.tokenizers.vocabulary import END_ID

CELLS = 2**20  # probabilities in memory at a time


class Level:
    """The grams of one length and their counts, int64 [G] each.

    `keys` are sorted: index of the gram without its last id * base + last id, where base is one
    more than the number of ids. The largest id stands for unknown tokens and is never predicted.
    """

    def __init__(self, keys: np.ndarray, counts: np.ndarray, base: int, contexts: int) -> None:
        """Sum the counts of each context, and the discounts that go to the lower order."""
        self.keys, self.counts, self.base = keys, np.where(keys % base < base - 1, counts, 0), base
        once, twice = (np.count_nonzero(self.counts == count) for count in (1, 2))
        self.discount = once / (once + 2 * twice) if once else 0.5
        context = keys // base
        self.totals = np.bincount(context, self.counts, minlength=contexts)
        self.discounts = self.discount * np.bincount(context, self.counts > 0, minlength=contexts)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the index of each key, -1 for a key that is missing."""
        indices = np.searchsorted(self.keys, keys)
        indices[indices == len(self.keys)] = 0
        return np.where(self.keys[indices] == keys, indices, -1)

    def interpolate(self, contexts: np.ndarray, probabilities: np.ndarray) -> None:
        """Interpolate this level with a lower order's probabilities [n, V], in place.

        `contexts` int [n] are indices of this level's contexts, -1 for none.
        """
        totals = np.where(contexts >= 0, self.totals[contexts], 0)
        seen = np.flatnonzero(totals)
        contexts, totals = contexts[seen], totals[seen]
        probabilities[seen] *= (self.discounts[contexts] / totals)[:, None]
        start = contexts * self.base
        first, last = np.searchsorted(self.keys, [start, start + self.base - 1])
        sizes = last - first  # the number of grams that begin with each context
        grams = np.repeat(first - np.append(0, np.cumsum(sizes)[:-1]), sizes)
        grams += np.arange(len(grams))
        rows, ids = np.repeat(seen, sizes), self.keys[grams] % self.base
        added = np.maximum(self.counts[grams] - self.discount, 0) / np.repeat(totals, sizes)
        probabilities[rows, ids] += added


@dataclass(frozen=True)
class NGram:
    """Predict the next id from the ids before it, one per level above the unigram."""

    levels: Sequence[Level]  # the unigram first

    def probabilities(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the probabilities at a piece's positions, in order, float64 [some, V]."""
        base = self.levels[0].base
        grams = stream = np.minimum(np.append(END_ID, ids[:-1]), base - 1).astype(np.int64)
        contexts = []  # for each level but the unigram
        for level in self.levels[1:]:
            contexts.append(grams)
            grams = level.find(np.append(-1, grams[:-1]) * base + stream)
        step, unigram = max(1, CELLS // base), np.full((1, base - 1), 1 / (base - 1))
        self.levels[0].interpolate(np.zeros(1, int), unigram)
        for start in range(0, len(ids), step):
            rows = np.repeat(unigram, len(ids[start : start + step]), axis=0)
            for level, context in zip(self.levels[1:], contexts, strict=True):
                level.interpolate(context[start : start + step], rows)
            yield rows


def count_ngrams(pieces: Sequence[np.ndarray], vocabulary_size: int, order: int) -> Iterator[NGram]:
    """Yield the n-grams of 1 to `order` ids of pieces int [n] each, whose last id is END_ID.

    END_ID also stands before each piece. Ids from `vocabulary_size` up are unknown tokens. Counting
    is sorting: time and memory grow with the number of ids times `order`.
    """
    lower: list[Level] = []
    base = vocabulary_size + 1
    stream = np.concatenate([np.append(END_ID, ids) for ids in pieces]).astype(np.int64)
    stream = np.minimum(stream, vocabulary_size)
    position = np.concatenate([np.arange(len(ids) + 1) for ids in pieces])  # in its piece
    ids = stream  # index of the gram that ends at each position, among those of its length
    keys, counts, contexts = np.arange(base), np.bincount(stream[position > 0], minlength=base), 1
    for length in range(1, order + 1):
        yield NGram([*lower, Level(keys, counts, base, contexts)])
        if length == order:
            return
        ends = np.flatnonzero(position >= length)
        grams = ids[ends - 1] * base + stream[ends]
        longer, first, inverse, counts = np.unique(
            grams, return_index=True, return_inverse=True, return_counts=True
        )
        continuations = np.bincount(ids[ends[first]], minlength=len(keys))
        if length > 1:  # nothing precedes the beginning of a piece: it counts as often as it occurs
            continuations += np.bincount(ids[position == length - 1], minlength=len(keys))
        lower.append(Level(keys, continuations, base, contexts))
        ids = np.full(len(stream), -1)
        ids[ends] = inverse
        keys, contexts = longer, len(keys)
