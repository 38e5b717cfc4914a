"""How much of a piece stands in other pieces, over ids. Knows no files, no tokens, no Keras.

After Yin, Reuben, Stepney and Collins 2022, "Measuring when a music generation algorithm copies
too much": what a program copies is held against what people repeat of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.evaluation.statistics import estimate

LENGTHS = (4, 8, 12, 16)
SHIFTS = range(-12, 13)  # semitones: every key, upwards and downwards

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))


@dataclass(frozen=True)
class Run:
    """The longest stretch that two pieces share; `start` and `piece_start` count from 0."""

    length: int
    start: int
    piece: str | None
    piece_start: int
    semitones: int = 0  # what has to be added to the copy to give the original


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


class Memory:
    """The pieces that may have been copied from, each int [n] without its end."""

    def __init__(self, pieces: Mapping[str, np.ndarray]) -> None:
        """Lay the pieces end to end."""
        self._names = list(pieces)
        lengths = [len(ids) for ids in pieces.values()]
        self._starts = np.append(0, np.cumsum(lengths))
        self._stream = np.concatenate([np.empty(0, np.int64), *pieces.values()])
        self._left = np.repeat(self._starts[1:], lengths) - np.arange(self._starts[-1])
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def _index(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sorted prints of the runs of one length and where each begins."""
        if length not in self._known:
            if len(self._known) > len(LENGTHS):  # a few: they are as large as the music
                self._known.pop(next(iter(self._known)))
            prints = _prints(self._stream, length)
            starts = np.flatnonzero(self._left[: len(prints)] >= length)
            order = np.argsort(prints[starts], kind="stable")
            self._known[length] = prints[starts][order], starts[order]
        return self._known[length]

    def where(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Return int [n - length + 1]: where each run of `length` ids begins first, or -1."""
        prints, starts = self._index(length)
        wanted = _prints(ids, length)
        if not len(prints):
            return np.full(len(wanted), -1)
        places = np.minimum(np.searchsorted(prints, wanted), len(prints) - 1)
        return np.where(prints[places] == wanted, starts[places], -1)

    def longest(self, pieces: Sequence[np.ndarray]) -> list[int]:
        """Return the length of each piece's longest run that stands here, bit by bit."""
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
        return lengths.tolist()

    def run(self, ids: np.ndarray, length: int, semitones: int = 0) -> Run:
        """Return the first run of that length that a piece shares with one of these."""
        if length == 0:
            return Run(0, 0, None, 0)
        places = self.where(ids, length)
        start = int(np.flatnonzero(places >= 0)[0])
        number = int(np.searchsorted(self._starts, places[start], side="right")) - 1
        origin = int(places[start] - self._starts[number])
        return Run(length, start, self._names[number], origin, semitones)


def examine(
    memory: Memory, pieces: Sequence[np.ndarray], transposed: Mapping[int, np.ndarray]
) -> list[dict[str, Any]]:
    """Return for each piece what it shares with the memory, verbatim and in the best other key.

    `transposed` has for each number of semitones a table, new id of each id; an id that the
    memory has not where there is none.
    """
    keys = [{shift: table[ids] for shift, table in transposed.items()} for ids in pieces]
    verbatim = memory.longest(pieces)
    flat = iter(memory.longest([ids for moved in keys for ids in moved.values()]))
    results = []
    for ids, moved, length in zip(pieces, keys, verbatim, strict=True):
        lengths = {shift: next(flat) for shift in moved}
        # The smallest shift wins where several are as long.
        shift = min(lengths, key=lambda semitones: (-lengths[semitones], abs(semitones)))
        results.append(
            {
                "grams": {str(n): _shares(memory, ids, moved, n) for n in LENGTHS},
                "longest": asdict(memory.run(ids, length)),
                "longest_transposed": asdict(memory.run(moved[shift], lengths[shift], shift)),
            }
        )
    return results


def _shares(
    memory: Memory, ids: np.ndarray, moved: Mapping[int, np.ndarray], length: int
) -> dict[str, int]:
    """Count the runs of one length: all, those found verbatim, those found in any key."""
    exact = memory.where(ids, length) >= 0
    in_any_key = exact.copy()
    for other in moved.values():
        in_any_key |= memory.where(other, length) >= 0
    counts = {"all": len(exact), "exact": exact.sum(), "transposed": in_any_key.sum()}
    return {name: int(count) for name, count in counts.items()}


def compare(
    training: Mapping[str, np.ndarray],
    sets: Mapping[str, Mapping[str, np.ndarray]],
    tables: Mapping[int, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what each set of pieces, name → ids without ends, shares with the training pieces."""
    memory = Memory(training)
    result: dict[str, Any] = {"searched_pieces": len(training)}
    for name, pieces in sets.items():
        found = examine(memory, list(pieces.values()), tables)
        facts: dict[str, Any] = {"pieces": len(found), "grams": {}}
        for length in map(str, LENGTHS):
            counts = [one["grams"][length] for one in found]
            units = np.array([count["all"] for count in counts])
            facts["grams"][length] = {
                kind: estimate(np.array([count[kind] for count in counts]), units, rng=rng)
                for kind in ("exact", "transposed")
            }
        for kind in ("longest", "longest_transposed"):
            runs = [{**one[kind], "in": of} for one, of in zip(found, pieces, strict=True)]
            facts[kind] = max(runs, key=lambda run: run["length"], default=None)
            facts[f"mean_{kind}"] = estimate(np.array([run["length"] for run in runs]), rng=rng)
        result[name] = facts
    return result
