"""N-gram yardsticks over ids: what plain counting predicts. Knows no files, no Keras, no tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMOOTHINGS = ("witten-bell", "kneser-ney")


@dataclass(frozen=True)
class Level:
    """The grams of one length: sorted keys (id of the gram but its last) * base + last, int64 [G].

    `raw` int64 [G] says how often each occurs, `continued` int64 [G] after how many different ids.
    """

    keys: np.ndarray
    raw: np.ndarray
    continued: np.ndarray

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the place of each key, -1 for one that is not here."""
        places = np.searchsorted(self.keys, keys)
        places[places == len(self.keys)] = 0
        return np.where(self.keys[places] == keys, places, -1)


class Counts:
    """Count the grams of 1 to `order` ids in pieces, int [n] each, whose last id is 0 (the end).

    A piece follows one end. Ids from `vocabulary_size` up stand for what has no id: they are never
    counted as predicted, and are one and the same before others.
    """

    def __init__(self, pieces: Sequence[np.ndarray], vocabulary_size: int, order: int) -> None:
        """Count by sorting: time and memory grow with the number of ids times `order`."""
        self.vocabulary_size, self.base = vocabulary_size, vocabulary_size + 1
        stream, place = _lay_out(pieces, vocabulary_size)
        ids = stream  # of the gram that ends here, among those of its length
        predicted = np.bincount(stream[place > 0], minlength=self.base)
        keys, raw = np.arange(self.base), self._without_unknown(np.arange(self.base), predicted)
        self.levels: list[Level] = []
        for length in range(2, order + 1):
            here = np.flatnonzero(place >= length - 1)
            longer, first, inverse, times = np.unique(
                ids[here - 1] * self.base + stream[here],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            # A gram that begins a piece has nothing before it: it counts as often as it occurs.
            beginning = ids[place == length - 2] if length > 2 else ids[:0]
            continued = np.bincount(ids[here[first]], minlength=len(keys))
            continued += np.bincount(beginning, minlength=len(keys))
            self.levels.append(Level(keys, raw, self._without_unknown(keys, continued)))
            ids = np.full(len(stream), -1)
            ids[here] = inverse
            keys, raw = longer, self._without_unknown(longer, times)
        self.levels.append(Level(keys, raw, raw))

    def _without_unknown(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return np.where(keys % self.base < self.vocabulary_size, counts, 0)


def _lay_out(pieces: Sequence[np.ndarray], vocabulary_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all pieces as one stream int64 [N], an end before each, and each id's place in it."""
    stream = np.concatenate([np.append(0, ids) for ids in pieces]).astype(np.int64)
    place = np.concatenate([np.arange(len(ids) + 1) for ids in pieces])
    return np.minimum(stream, vocabulary_size), place


class NGram:
    """Predict the next id from the `order` - 1 before it, interpolated with all lower orders.

    Witten-Bell: a context seen N times with T different ids gives T of N + T to the lower order.
    Kneser-Ney (Chen and Goodman 1999, interpolated): a discount D, estimated for each length, is
    taken from each count, and lower orders count after how many different ids a gram occurs.
    Below the unigram all ids are equally likely, so that nothing is impossible.
    """

    def __init__(self, counts: Counts, order: int, smoothing: str = "witten-bell") -> None:
        """Choose among the counted lengths."""
        if smoothing not in SMOOTHINGS or not 1 <= order <= len(counts.levels):
            raise ValueError(f"no {smoothing} n-gram of order {order} can be made of these counts")
        self._counts, self._levels = counts, counts.levels[:order]
        self._by_level: list[np.ndarray] = []
        self._given: list[np.ndarray] = []  # of each context: what its grams' counts add up to
        self._kept: list[np.ndarray] = []  # of each context: what goes to the lower order
        self._discounts: list[float] = []
        contexts = 1
        for level in self._levels:
            discounted = smoothing == "kneser-ney"
            numbers = level.continued if discounted and level is not self._levels[-1] else level.raw
            context = level.keys // counts.base
            total = np.bincount(context, numbers, minlength=contexts)
            kinds = np.bincount(context, numbers > 0, minlength=contexts)
            discount = _discount(numbers) if discounted else 0.0
            self._by_level.append(numbers)
            self._discounts.append(discount)
            self._kept.append(discount * kinds if discounted else kinds)
            self._given.append(total if discounted else total + kinds)
            contexts = len(level.keys)

    def probabilities(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """Return float64 [N], the probability of each id of the pieces given those before it.

        Where an id stands for what has no id, it is not a number (nan).
        """
        stream, place = _lay_out(pieces, self._counts.vocabulary_size)
        result = np.full(len(stream), 1 / self._counts.vocabulary_size)
        result[stream == self._counts.vocabulary_size] = np.nan
        ids, before = stream, np.zeros(len(stream), np.int64)
        for number, level in enumerate(self._levels):
            if number:
                before = np.append(-1, ids[:-1])
                before[place < number] = -1
                key = before * self._counts.base + stream
                ids = np.where(before >= 0, level.find(key), -1)
            context = np.maximum(before, 0)
            seen = (before >= 0) & (self._given[number][context] > 0)
            times = np.where(ids >= 0, self._by_level[number][ids], 0)
            result = np.where(seen, self._mix(number, times, context, result), result)
        return result[place > 0]

    def distribution(self, context: Sequence[int]) -> np.ndarray:
        """Return float64 [V], the probabilities of all ids after those of a piece's beginning."""
        size, base = self._counts.vocabulary_size, self._counts.base
        history = np.minimum(np.append(0, context), size).astype(np.int64)
        result = np.full(size, 1 / size)
        for number, level in enumerate(self._levels[: len(history) + 1]):
            before = self._find(history[len(history) - number :])
            if before < 0 or not self._given[number][before]:
                break
            span = slice(*np.searchsorted(level.keys, [before * base, before * base + size]))
            times = np.zeros(size)
            times[level.keys[span] % base] = self._by_level[number][span]
            result = self._mix(number, times, np.array(before), result)
        return result

    def _mix(
        self, number: int, times: np.ndarray, context: np.ndarray, lower: np.ndarray
    ) -> np.ndarray:
        """Return (times - discount + kept * lower) / given."""
        over = np.maximum(times - self._discounts[number], 0) + self._kept[number][context] * lower
        return over / np.maximum(self._given[number][context], 1)

    def _find(self, gram: np.ndarray) -> int:
        """Return the place of a gram among those of its length, 0 for the empty one, -1 if new."""
        place = 0
        for number, last in enumerate(gram):
            key = place * self._counts.base + last
            place = int(self._levels[number].find(np.array([key]))[0])
            if place < 0:
                return -1
        return place


def _discount(numbers: np.ndarray) -> float:
    """Estimate Kneser-Ney's discount from how many grams count 1 and 2; a half where none does."""
    once, twice = np.count_nonzero(numbers == 1), np.count_nonzero(numbers == 2)
    return float(once / (once + 2 * twice)) if once else 0.5


class RepeatLast:
    """Predict the last id again, as often as the counted pieces repeat; any other by frequency."""

    def __init__(self, pieces: Sequence[np.ndarray], unigram: NGram) -> None:
        """Learn the share of repeats, one repeat and one change added so that both can happen."""
        repeats = sum(int(np.count_nonzero(ids[1:] == ids[:-1])) for ids in pieces)
        self.share = (repeats + 1) / (sum(map(len, pieces)) + 2)
        self._frequencies = unigram.distribution(())

    def distribution(self, context: Sequence[int]) -> np.ndarray:
        """Return float64 [V], the probabilities of all ids after those of a piece's beginning."""
        last = context[-1] if len(context) else -1
        if not 0 <= last < len(self._frequencies):
            return self._frequencies.copy()
        result = (1 - self.share) * self._frequencies / (1 - self._frequencies[last])
        result[last] = self.share
        return result

    def probabilities(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """Return float64 [N], the probability of each id; the first of a piece goes by frequency.

        Where an id stands for what has no id, it is not a number (nan).
        """
        size = len(self._frequencies)
        stream, place = _lay_out(pieces, size)
        likely = np.append(self._frequencies, np.nan)[stream]
        last = np.append(0, stream[:-1])
        # An unknown id cannot be predicted again: all others share what it would have had.
        share = np.where(last < size, self.share, 0)
        changed = (1 - share) * likely / (1 - np.append(self._frequencies, 0)[last])
        repeated = np.where(stream < size, share, np.nan)
        result = np.where(place == 1, likely, np.where(stream == last, repeated, changed))
        return result[place > 0]
