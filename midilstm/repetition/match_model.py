"""What a piece has played comes back: its past, mixed into the network's log probabilities.

Knows ids and how many bars each moves on, no tokens and no network. Two ids at most are remembered
at a time: the one that followed the longest stretch that was just played again, and the one that
followed where the piece once went on otherwise. Each gets a pull, some nats on top of its log
probability. It is the match model of the compressors PAQ and lpaq (M. Mahoney), mixed by a
logistic regression of seven weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

LEVELS = 3  # the past is searched by stretches of 1, 2 and 4 ids, each twice the one before
LONGEST = 2 ** (LEVELS - 1)
REACH = 64  # ids over which two stretches are compared; one that goes on being followed may grow
BITS = 32  # of a name
SHORT = 2.0  # log2 of 4 ids: up to that length another id that matches counts for more
FLOOR = -12.0  # nats: what a weight sees of less likely ids
MOST = 16.0  # nats of a pull at strength 1, either way

# An id, whether it is the second of two, how many ids match, the bars since it was heard.
Follower = tuple[int, bool, int, float]


@dataclass(frozen=True)
class MatchWeights:
    """What a pull in nats is made of: each weight but `delay` times what `facts` says."""

    delay: float  # bars: what was heard later than that does not count yet
    bias: float
    second: float  # where it is the second of two followers
    length: float  # times log2 of the ids that match
    short: float  # times the same, but no more than SHORT
    distance: float  # times log2 of 1 + the bars since
    square: float  # times the square of that
    network: float  # times the follower's log probability

    def __post_init__(self) -> None:
        """Raise ValueError unless all are numbers in a range that a fit can give."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} is {repr(value)[:60]}, expected a number")
            if not -100 <= value <= 100:
                raise ValueError(f"{name} is {repr(value)[:60]}, expected -100 to 100")
        if self.delay < 0:
            raise ValueError(f"delay is {self.delay}, expected 0 to 100 bars")

    def to_json(self) -> dict[str, float]:
        """Return the weights as a plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: object) -> MatchWeights:
        """Read what `to_json` wrote; raise ValueError that says what is wrong."""
        names = [field.name for field in fields(cls)]
        if not isinstance(found, Mapping) or set(found) != set(names):
            raise ValueError(f"expected the numbers {', '.join(names)}, found {repr(found)[:200]}")
        return cls(**found)


class History:
    """Listen to one piece and say which ids followed what was just heard, earlier in it.

    Time and memory grow linearly with the piece. Every stretch of 2 or 4 ids has a name, a
    number made of those of its halves; an id is its own.
    """

    def __init__(self, clock: Sequence[float], delay: float) -> None:
        """Begin a piece; `clock` float [V] has the bars that each id moves on."""
        self._clock, self._delay, self._now = clock, delay, 0.0
        self._ids, self._begins = [0] * LONGEST, [0.0] * LONGEST  # as if only END came before
        self._names: dict[int, int] = {}  # the halves' names as one number → a name
        # By name: the latest place after it, and the latest where another id stands (0: none).
        self._newest, self._other = [0] * len(clock), [0] * len(clock)
        self._entered = LONGEST  # the places before this one are in `_newest` and `_other`
        self._at = self._length = 0  # where the stretch that is followed goes on (0: none)
        # By level and place: the name of the 2 ** level ids up to there.
        self._before: list[list[int]] = [[0] * LONGEST]
        for level in range(1, LEVELS):
            half = self._before[level - 1][0]
            self._names[half << BITS | half] = len(self._newest)
            self._before.append([len(self._newest)] * LONGEST)
            self._newest.append(0)
            self._other.append(0)

    def hear(self, number: int) -> None:
        """Take in the piece's next id."""
        ids, begins, at = self._ids, self._begins, self._at
        if at and ids[at] == number:
            self._at, self._length = at + 1, self._length + 1
        else:
            self._at = 0
        ids.append(number)
        begins.append(self._now)
        self._now += self._clock[number]
        self._name(number)
        latest, place = self._now - self._delay, self._entered
        while place < len(ids) and begins[place] <= latest:
            self._enter(place)
            place += 1
        self._entered = place

    def _name(self, name: int) -> None:
        """Name the stretches that end with the id just heard."""
        names, newest = self._names, self._newest
        halves, back = self._before[0], -2
        halves.append(name)
        for wholes in self._before[1:]:
            key = halves[back] << BITS | name
            found = names.get(key)
            if found is None:
                found = names[key] = len(newest)
                newest.append(0)
                self._other.append(0)
            wholes.append(found)
            name, halves, back = found, wholes, 2 * back + 1

    def _enter(self, place: int) -> None:
        """Remember what the id at `place` followed."""
        ids, newest, other = self._ids, self._newest, self._other
        number = ids[place]
        for names in self._before:
            name = names[place - 1]
            old = newest[name]
            newest[name] = place
            if old and ids[old] != number:
                other[name] = old

    def candidates(self) -> list[Follower]:
        """Return the ids remembered now, two at most.

        A stretch longer than its distance would come a third time in a row: it is not followed.
        """
        first, second, size = self._at, 0, 0
        ids, newest, other = self._ids, self._newest, self._other
        for level in reversed(range(LEVELS)):
            name = self._before[level][-1]
            place = newest[name]
            if not place:
                continue
            if not first:
                first, self._length = place, self._matching(place, 2**level)
            second = place if ids[place] != ids[first] else other[name]
            if second and ids[second] != ids[first]:
                size = 2**level
                break
        if not first:
            return []
        self._at = first
        end, now, begins = len(ids), self._now, self._begins
        found: list[Follower] = []
        if self._length <= end - first:
            found.append((ids[first], False, self._length, now - begins[first]))
        if size and (length := self._matching(second, size)) <= end - second:
            found.append((ids[second], True, length, now - begins[second]))
        return found

    def _matching(self, place: int, size: int) -> int:
        """Return how many ids before `place` equal those just heard; `size` do."""
        ids, end, most = self._ids, len(self._ids), min(place - LONGEST + 1, REACH)
        while size < most and ids[place - size - 1] == ids[end - size - 1]:
            size += 1
        return size

    def copy(self) -> History:
        """Return the same past, to go on by itself."""
        other = History(self._clock, self._delay)
        other._ids, other._begins, other._now = self._ids[:], self._begins[:], self._now
        other._names, other._newest = self._names.copy(), self._newest[:]
        other._other, other._before = self._other[:], [names[:] for names in self._before]
        other._entered, other._at, other._length = self._entered, self._at, self._length
        return other


def facts(follower: Follower) -> tuple[float, float, float, float, float, float]:
    """Return what the weights from bias to square are multiplied by."""
    _, second, length, bars = follower
    bits, far = math.log2(length), math.log2(1 + bars)
    return 1.0, float(second), bits, min(bits, SHORT), far, far * far


def mix(
    scores: np.ndarray, pasts: Sequence[History], weights: MatchWeights, strength: float = 1.0
) -> None:
    """Pull log probabilities float32 [B, V] towards each piece's past, in place.

    Rows stay log probabilities. `strength` multiplies every pull: 0 changes nothing, to the bit.
    """
    if not strength:
        return
    w, rows, ids, pulls = weights, [], [], []
    for row, past in enumerate(pasts):
        for follower in past.candidates():
            one, second, bits, short, far, square = facts(follower)
            rows.append(row)
            ids.append(follower[0])
            pulls.append(
                w.bias * one
                + w.second * second
                + w.length * bits
                + w.short * short
                + w.distance * far
                + w.square * square
            )
    if not rows:
        return
    before = scores[rows, ids].astype(float)
    pull = np.array(pulls) + w.network * np.maximum(before, FLOOR)
    pull = strength * np.minimum(np.maximum(pull, -MOST), MOST)
    added = np.bincount(rows, np.exp(before) * np.expm1(pull), len(scores))
    scores -= np.log1p(np.maximum(added, -1 + 1e-9)).astype(np.float32)[:, None]
    scores[rows, ids] += pull.astype(np.float32)
