"""Ids drawn from a network's probabilities: the knobs and the loop; knows no files, no layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

END = 0  # preprocess.END's id: a piece begins after it, and may end with it
WINDOW = 64  # tokens that the repetition penalty looks back on
# Nats within which rows computed together may differ from rows computed alone. Over 2,000 steps of
# a trained network of the default size they differed by 7e-6 at most.
SLACK = 5e-5
CHUNK = 16  # steps for which random numbers are drawn at once


@dataclass(frozen=True)
class Knobs:
    """Say how a token is chosen from log probabilities; each default leaves them as they are.

    In this order: a token among the last WINDOW has its log probability multiplied by
    `repetition_penalty`, its probability raised to that power (CTRL: Keskar et al. 2019, arXiv
    1909.05858; log probabilities are scores that are all negative); all are divided by
    `temperature` (0: the likeliest is taken); the `top_k` likeliest stay (0: all do); of these the
    fewest that together have `top_p` of what they sum to (Holtzman et al. 2020, arXiv 1904.09751).
    Tokens exactly as likely as the last that stays, stay. Until `until_end`, END is never chosen.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    until_end: bool = False


class Lanes(Protocol):
    """Pieces side by side in a network: inference.Lanes, or a test's stand-in."""

    exact: bool

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Feed ids [B]; return the log probabilities of the next ids [B, V]."""

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return a copy of these rows."""

    def put(self, row: int, lane: Self) -> None:
        """Go on in `row` from a single lane's state."""


def choose(
    probabilities: np.ndarray,
    rng: np.random.Generator,
    knobs: Knobs,
    recent: Sequence[int] = (),
) -> int:
    """Draw the next id from probabilities [V], after the ids in `recent`."""
    with np.errstate(divide="ignore"):
        scores = np.log(np.asarray(probabilities, np.float64))[None]
    heard = np.array([list(recent)[-WINDOW:]], np.intp)
    return int(choose_rows(scores, race(rng, (1, scores.shape[1])), knobs, heard)[0][0])


def race(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw standard Gumbel noise, float32.

    The largest of log probability + noise is a draw from the probabilities (E. J. Gumbel 1954).
    Unlike a walk along their cumulative sum it hardly minds the last bits: they matter only where
    the two best are about equal, whatever the size of the vocabulary.
    """
    waits = rng.standard_exponential(shape, dtype=np.float32)
    np.maximum(waits, np.finfo(np.float32).tiny, out=waits)
    np.log(waits, out=waits)
    return np.negative(waits, out=waits)


def choose_rows(
    log_probabilities: np.ndarray,
    noise: np.ndarray,
    knobs: Knobs,
    heard: np.ndarray,
    *,
    slack: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose from each row of log probabilities [B, V] with noise [B, V], after heard [B, ...].

    Return ids int [B], and which of them are sure: the same for any log probabilities that differ
    from these by less than `slack` nats.
    """
    scores = log_probabilities.copy()
    rows = np.arange(len(scores))
    slack *= 2 * knobs.repetition_penalty  # of a difference between two scores
    if knobs.repetition_penalty != 1 and heard.size:
        penalised = np.take_along_axis(scores, heard, 1) * knobs.repetition_penalty
        np.put_along_axis(scores, heard, penalised, 1)
    if not knobs.until_end:
        scores[:, END] = -np.inf
    surely_kept: np.ndarray | float = -np.inf
    noisy = scores
    if knobs.temperature:
        scores /= knobs.temperature
        slack /= knobs.temperature
        if knobs.top_k or knobs.top_p < 1:
            perhaps_kept, surely_kept = _cuts(scores, knobs, slack)
            scores[scores < perhaps_kept[:, None]] = -np.inf
        noisy = scores + noise
    ids = noisy.argmax(axis=1)
    if not slack:
        return ids, np.ones(len(ids), bool)
    kept, best = scores[rows, ids] >= surely_kept, noisy[rows, ids]
    noisy[rows, ids] = -np.inf
    return ids, kept & (best - noisy.max(axis=1) > slack)


def _cuts(scores: np.ndarray, knobs: Knobs, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two thresholds [B] for top-k and top-p: scores below the first surely go, scores from
    the second on surely stay, if all are right within `slack`. Without slack both are the same.
    """
    size = scores.shape[1]
    most = min(knobs.top_k or size, size)
    ordered = np.concatenate([-np.sort(-scores, axis=1), np.full((len(scores), 1), -np.inf)], 1)
    masses = np.exp((ordered[:, :most] - ordered[:, :1]).astype(np.float64))
    masses /= masses.sum(axis=1, keepdims=True)
    likelier = np.cumsum(masses, axis=1) - masses  # what all likelier tokens have together

    def threshold(share: float) -> np.ndarray:
        stay = (likelier < share).sum(axis=1) if share < 1 else np.full(len(scores), most)
        pair = np.stack([np.maximum(stay, 1) - 1, np.maximum(stay, 1)], 1)
        return np.take_along_axis(ordered, pair, 1).mean(axis=1)

    if not slack:
        return threshold(knobs.top_p), threshold(knobs.top_p)
    sure = knobs.top_p - slack if knobs.top_p < 1 else 1.0
    return threshold(knobs.top_p + slack) - slack, threshold(sure) + slack


class Network(Protocol):
    """Give pieces side by side: inference.Network, or a test's stand-in."""

    def lanes(self, count: int = 1) -> Lanes:
        """Return `count` pieces, none begun."""


def generate(
    network: Network,
    seeds: Sequence[int],
    length: int,
    knobs: Knobs,
    primer: Sequence[int] = (),
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> list[list[int]]:
    """Draw a piece of `length` ids for each seed, each from what the network gives for the last.

    The primer's ids are fed first, after END, as a piece begins. With `until_end` a piece is over
    where END is drawn, which its first id never is. A piece is the same whichever others are made
    along with it: where a large group leaves a choice in doubt, it is made again in a lane alone.
    `progress` is told now and then how many more tokens have been drawn.
    """
    tape = np.array([END, *primer])
    primed = network.lanes()
    for number in tape[:-1]:
        primed.step(np.array([number]))
    parts = list(_parts(seeds, os.cpu_count() or 1))
    work = [_Group(primed, tape, part, length, knobs) for part in parts]
    if len(work) == 1:
        return work[0].draw(progress)
    from concurrent.futures import ThreadPoolExecutor

    def draw(group: _Group) -> list[list[int]]:
        return group.draw(progress)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            return [piece for pieces in pool.map(draw, work) for piece in pieces]
        except BaseException:  # Ctrl-C reaches this thread only, and leaving waits for the others
            for group in work:
                group.stopped = True
            raise


def _parts(seeds: Sequence[int], cores: int) -> Iterator[Sequence[int]]:
    """Cut seeds into groups for the cores: of 16 at least, so that one product serves many, and
    of 64 at most, so that memory stays small."""
    count = max(min(cores, len(seeds) // 16), -(-len(seeds) // 64), 1)
    size = -(-len(seeds) // count)
    for start in range(0, len(seeds), size):
        yield seeds[start : start + size]


class _Group:
    """Pieces that are drawn side by side."""

    def __init__(
        self, primed: Lanes, tape: np.ndarray, seeds: Sequence[int], length: int, knobs: Knobs
    ) -> None:
        """Begin after `tape`, END and the primer; `primed` has heard all of it but the last."""
        self._knobs, self._begin, self._primed = knobs, len(tape), primed
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._tapes = np.zeros((len(seeds), len(tape) + length), np.intp)
        self._tapes[:, : len(tape)] = tape
        self._alone: dict[int, tuple[Lanes, int]] = {}  # piece → its own lane, ids it has heard
        self._lanes = primed.take([0] * len(seeds))
        self._pieces = np.arange(len(seeds))  # the pieces that are not over, one a lane
        self._noise = np.empty(0, np.float32)
        self.stopped = False

    def draw(self, progress: Callable[[int], object]) -> list[list[int]]:
        """Return the ids of every piece, without END."""
        ends = np.full(len(self._tapes), self._tapes.shape[1])
        for now in range(self._begin, self._tapes.shape[1]):
            if self.stopped:
                break
            ids = self._next(now)
            self._tapes[self._pieces, now] = ids
            if (now + 1 - self._begin) % CHUNK == 0:
                progress(CHUNK * len(ids))
            over = ids == END
            if over.any():
                ends[self._pieces[over]] = now
                self._pieces = self._pieces[~over]
                if not len(self._pieces):
                    break
                self._lanes = self._lanes.take(np.flatnonzero(~over))
        rows = zip(self._tapes, ends, strict=True)
        return [row[self._begin : end].tolist() for row, end in rows]

    def _next(self, now: int) -> np.ndarray:
        """Return the ids at place `now` of the tapes of all pieces that are not over."""
        pieces, fed = self._pieces, self._tapes[self._pieces, now - 1]
        found = self._lanes.step(fed)
        place = (now - self._begin) % CHUNK
        if place == 0:
            self._noise = np.zeros((len(self._tapes), CHUNK, found.shape[1]), np.float32)
            for piece in pieces:
                self._noise[piece] = race(self._rngs[piece], self._noise.shape[1:])
        slack = 0.0 if self._lanes.exact else SLACK
        ids, sure = self._choose(found, pieces, now, slack)
        for row in np.flatnonzero(~sure):
            ids[row] = self._settle(int(row), now)
        return ids

    def _choose(
        self, found: np.ndarray, pieces: np.ndarray, now: int, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        if now == self._begin:
            found[:, END] = -np.inf  # a piece of no notes is none
        window = WINDOW if self._knobs.repetition_penalty != 1 else 0
        heard = self._tapes[pieces, max(1, now - window) : now]
        noise = self._noise[pieces, (now - self._begin) % CHUNK]
        return choose_rows(found, noise, self._knobs, heard, slack=slack)

    def _settle(self, row: int, now: int) -> int:
        """Choose for one lane from a lane alone, and go on from that one's state."""
        piece = int(self._pieces[row])
        lane, heard = self._alone.get(piece, (self._primed, self._begin - 1))
        lane = lane.take([0])
        for place in range(heard, now):
            found = lane.step(self._tapes[piece, place : place + 1])
        self._alone[piece] = lane, now
        self._lanes.put(row, lane)
        return int(self._choose(found, self._pieces[row : row + 1], now, 0.0)[0][0])
