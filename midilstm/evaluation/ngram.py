"""N-grams, the baseline: what plain counting predicts of ids. Knows no files, no networks.

With Kneser-Ney's smoothing (Chen and Goodman 1999, interpolated): a discount, estimated for each
length, is taken from each count, and lower orders count after how many different ids a gram occurs.
Below the unigram all ids are equally likely, so that nothing is impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from midilstm.tokenizers.vocabulary import END_ID

CELLS = 2**20  # probabilities in memory at a time


class Level:
    """The grams of one length, and how often each counts, int64 [G] each.

    `keys` are sorted: id of the gram but its last * base + last, where base is one more than there
    are ids. The last number stands for what has no id: it never counts as predicted.
    """

    def __init__(self, keys: np.ndarray, counts: np.ndarray, base: int, contexts: int) -> None:
        """Work out what each context's counts add up to, and what goes to the lower order."""
        self.keys, self.counts, self.base = keys, np.where(keys % base < base - 1, counts, 0), base
        once, twice = (np.count_nonzero(self.counts == times) for times in (1, 2))
        self.discount = once / (once + 2 * twice) if once else 0.5
        context = keys // base
        self.given = np.bincount(context, self.counts, minlength=contexts)
        self.kept = self.discount * np.bincount(context, self.counts > 0, minlength=contexts)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the place of each key, -1 for one that is not here."""
        places = np.searchsorted(self.keys, keys)
        places[places == len(self.keys)] = 0
        return np.where(self.keys[places] == keys, places, -1)

    def mix(self, contexts: np.ndarray, lower: np.ndarray) -> None:
        """Change the rows [n, V] of lower orders whose contexts int [n], -1 for none, are here."""
        given = np.where(contexts >= 0, self.given[contexts], 0)
        seen = np.flatnonzero(given)
        contexts, given = contexts[seen], given[seen]
        lower[seen] *= (self.kept[contexts] / given)[:, None]
        start = contexts * self.base
        first, last = np.searchsorted(self.keys, [start, start + self.base - 1])
        kinds = last - first  # how many grams begin with each context, and then where they stand
        here = np.repeat(first - np.append(0, np.cumsum(kinds)[:-1]), kinds)
        here += np.arange(len(here))
        rows, ids = np.repeat(seen, kinds), self.keys[here] % self.base
        more = np.maximum(self.counts[here] - self.discount, 0) / np.repeat(given, kinds)
        lower[rows, ids] += more


class NGram:
    """Predict the next id from those before it, as many as there are levels above the unigram."""

    def __init__(self, levels: Sequence[Level]) -> None:
        """Interpolate these levels, the unigram first."""
        self._levels = levels

    def rows(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Yield float64 [some, V], the probabilities at each place of a piece, in order."""
        base = self._levels[0].base
        grams = stream = np.minimum(np.append(END_ID, ids[:-1]), base - 1).astype(np.int64)
        contexts = []  # for each level but the unigram
        for level in self._levels[1:]:
            contexts.append(grams)
            grams = level.find(np.append(-1, grams[:-1]) * base + stream)
        few, unigram = max(1, CELLS // base), np.full((1, base - 1), 1 / (base - 1))
        self._levels[0].mix(np.zeros(1, int), unigram)
        for start in range(0, len(ids), few):
            rows = np.repeat(unigram, len(ids[start : start + few]), axis=0)
            for level, context in zip(self._levels[1:], contexts, strict=True):
                level.mix(context[start : start + few], rows)
            yield rows


def count(pieces: Sequence[np.ndarray], vocabulary_size: int, order: int) -> Iterator[NGram]:
    """Yield the n-grams of 1 to `order` ids of pieces int [n] each, whose last id is END_ID.

    A piece follows one end. Ids from `vocabulary_size` up stand for what has no id. Counting is
    sorting: time and memory grow with the number of ids times `order`.
    """
    lower: list[Level] = []
    base = vocabulary_size + 1
    stream = np.concatenate([np.append(END_ID, ids) for ids in pieces]).astype(np.int64)
    stream = np.minimum(stream, vocabulary_size)
    place = np.concatenate([np.arange(len(ids) + 1) for ids in pieces])  # in its piece
    ids = stream  # of the gram that ends here, among those of its length
    keys, times, contexts = np.arange(base), np.bincount(stream[place > 0], minlength=base), 1
    for length in range(1, order + 1):
        yield NGram([*lower, Level(keys, times, base, contexts)])
        if length == order:
            return
        here = np.flatnonzero(place >= length)
        longer, first, inverse, times = np.unique(
            ids[here - 1] * base + stream[here],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        with_header = np.bincount(ids[here[first]], minlength=len(keys))
        if length > 1:  # what begins a piece has nothing before it: it counts as often as it occurs
            with_header += np.bincount(ids[place == length - 1], minlength=len(keys))
        lower.append(Level(keys, with_header, base, contexts))
        ids = np.full(len(stream), -1)
        ids[here] = inverse
        keys, contexts = longer, len(keys)
