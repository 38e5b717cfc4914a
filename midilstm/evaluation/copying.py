"""How much of a piece stands in other pieces, over ids. Knows no files, no networks.

After Yin, Reuben, Stepney and Collins 2022, "Measuring when a music generation algorithm copies
too much": what a program copies is held against what people repeat of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.evaluation.features import estimate
from midilstm.tokenizers.vocabulary import Vocabulary

LENGTHS = (4, 8, 12, 16)
SHIFTS = sorted(range(-12, 13), key=abs)  # semitones: of several as good the smallest is taken

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))


def _prints(ids: np.ndarray, length: int) -> np.ndarray:
    """Return uint64 [n - length + 1], equal for equal runs of `length` ids.

    They are polynomials of 64 bits: that two different runs share one is as good as impossible.
    """
    if len(ids) < length:
        return np.empty(0, np.uint64)
    spread = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
    spread ^= spread >> np.uint64(29)  # near ids become far apart
    powers = np.cumprod(np.full(len(ids), FACTOR))
    sums = np.append(np.uint64(0), np.cumsum(spread * powers))
    back = np.cumprod(np.full(len(ids), INVERSE))
    return (sums[length:] - sums[:-length]) * back[: len(ids) - length + 1]


class TrainingIndex:
    """The pieces that may have been copied from, name → int [n] without its end."""

    def __init__(self, pieces: Mapping[str, np.ndarray]) -> None:
        """Lay the pieces end to end."""
        self._names = list(pieces)
        lengths = [len(ids) for ids in pieces.values()]
        self._starts = np.append(0, np.cumsum(lengths))
        self._stream = np.concatenate([np.empty(0, np.int64), *pieces.values()])
        self._left = np.repeat(self._starts[1:], lengths) - np.arange(self._starts[-1])
        self._indexed = 0, np.empty(0, np.uint64), np.empty(0, np.int64)

    def _index(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sorted prints of the runs of one length and where each begins."""
        if length != self._indexed[0]:  # one is kept: it is as large as the music
            prints = _prints(self._stream, length)
            starts = np.flatnonzero(self._left[: len(prints)] >= length)
            order = np.argsort(prints[starts], kind="stable")
            self._indexed = length, prints[starts][order], starts[order]
        return self._indexed[1:]

    def where(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Return int [n - length + 1]: where each run of `length` ids begins first, or -1."""
        prints, starts = self._index(length)
        wanted = _prints(ids, length)
        if not len(prints):
            return np.full(len(wanted), -1)
        places = np.minimum(np.searchsorted(prints, wanted), len(prints) - 1)
        return np.where(prints[places] == wanted, starts[places], -1)

    def longest(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """Return int [pieces], the length of each one's longest run that stands here."""
        lengths = np.zeros(len(pieces), int)
        bits = max([len(ids) for ids in pieces], default=0).bit_length()
        steps = [1 << bit for bit in reversed(range(bits))]
        for step in tqdm(steps, "Searching copies", delay=1, leave=False, disable=None):
            tried = lengths + step
            # One length after another, so that its index is made once for all pieces.
            for length in np.unique(tried).tolist():
                for number in np.flatnonzero(tried == length).tolist():
                    if (self.where(pieces[number], length) >= 0).any():
                        lengths[number] = length
        return lengths

    def match(self, ids: np.ndarray, length: int) -> dict[str, Any]:
        """Return where the first run of that length stands, in `ids` and here, from 0."""
        if not length:
            return {"length": 0, "start": 0, "piece": None, "piece_start": 0}
        places = self.where(ids, length)
        start = int(np.flatnonzero(places >= 0)[0])
        number = int(np.searchsorted(self._starts, places[start], side="right")) - 1
        origin = int(places[start] - self._starts[number])
        piece = {"piece": self._names[number], "piece_start": origin}
        return {"length": length, "start": start, **piece}


def transpositions(
    pieces: Mapping[str, np.ndarray], vocabulary: Vocabulary
) -> list[list[np.ndarray]]:
    """Return each piece int [n] in all keys, in the order of SHIFTS."""
    none = len(vocabulary)  # an id that no original has
    tables = [np.append(vocabulary.transposed(shift), none) for shift in SHIFTS[1:]]
    return [[ids, *(table[ids] for table in tables)] for ids in pieces.values()]


def copy_report(
    training: Mapping[str, np.ndarray],
    sets: Mapping[str, Mapping[str, np.ndarray]],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what sets of pieces, ids without ends, share with training pieces, ids with ends.

    A copy's `semitones` have to be added to it to give its original.
    """
    originals = TrainingIndex({name: ids[:-1] for name, ids in training.items()})
    result: dict[str, Any] = {"n_training": len(training)}
    for group in (group for group in sets if group != "training"):
        names = list(sets[group])
        keys = transpositions(sets[group], vocabulary)
        facts: dict[str, Any] = {"pieces": len(names), "grams": {}}
        for length in LENGTHS:
            found = [np.array([originals.where(i, length) >= 0 for i in moved]) for moved in keys]
            runs = [places.shape[1] for places in found]
            facts["grams"][str(length)] = {
                "exact": estimate([places[0].sum() for places in found], runs, rng=rng),
                "transposed": estimate([places.any(0).sum() for places in found], runs, rng=rng),
            }
        longest = originals.longest([ids for moved in keys for ids in moved])
        in_any_key = longest.reshape(len(keys), -1)
        for kind, of in (("longest", in_any_key[:, :1]), ("longest_transposed", in_any_key)):
            piece, key = np.unravel_index(of.argmax(), of.shape)
            match = originals.match(keys[piece][key], int(of[piece, key]))
            facts[kind] = {**match, "semitones": SHIFTS[key], "in": names[piece]}
        result[group] = facts
    return result
