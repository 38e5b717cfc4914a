"""Pieces drawn from a network, side by side: the loop; knows no files, no layers, no tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from midilstm.sampling.choose import WINDOW, Knobs, choose_rows, race
from midilstm.tokens.grammar import NOWHERE, Grammar

END = 0  # vocabularies.END's id: a piece begins after it, and may end with it
# Nats within which rows computed together may differ from rows computed alone. Over 2,000 steps of
# a trained network of the default size they differed by 7e-6 at most.
SLACK = 5e-5
CHUNK = 16  # steps for which random numbers are drawn at once
ROOM = 1024  # ids that a piece has room for at first: most end long before the length allowed


class Lanes(Protocol):
    """Pieces side by side in a network: inference.Lanes, or a test's stand-in."""

    exact: bool

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Feed ids [B]; return the log probabilities of the next ids [B, V]."""

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return a copy of these rows."""

    def put(self, row: int, lane: Self) -> None:
        """Go on in `row` from a single lane's state."""


class Network(Protocol):
    """Give pieces side by side: inference.Network, or a test's stand-in."""

    def lanes(self, count: int = 1) -> Lanes:
        """Return `count` pieces, none begun."""


Until = Callable[[], Callable[[int], bool]]


def generate(
    network: Network,
    seeds: Sequence[int],
    length: int,
    knobs: Knobs,
    primer: Sequence[int] = (),
    *,
    grammar: Grammar[Any] | None = None,
    until: Until | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> list[list[int]]:
    """Draw a piece of `length` ids for each seed, each from what the network gives for the last.

    The primer's ids are fed first, after END, as a piece begins. With `until_end` a piece is over
    where END is drawn, which its first id never is. `until` makes a listener for each piece: told
    each new id, it says whether the piece is over before it (whatever it says, the first id stays).
    What `grammar` forbids is not drawn; a primer may break its rules. A piece is the same whichever
    others are made along with it: where a large group leaves a choice in doubt, it is made again in
    a lane alone. `progress` is told now and then how many more tokens have been drawn.
    """
    tape = np.array([END, *primer])
    primed = network.lanes()
    for number in tape[:-1]:
        primed.step(np.array([number]))
    rules = _Rules(length, knobs, until, grammar, grammar.listen(primer) if grammar else 0)
    parts = list(_parts(seeds, os.cpu_count() or 1))
    work = [_Group(primed, tape, part, rules) for part in parts]
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


@dataclass(frozen=True)
class _Rules:
    """What the pieces of a call have in common; `state` is where the grammar begins."""

    length: int
    knobs: Knobs
    until: Until | None
    grammar: Grammar[Any] | None
    state: int


class _Group:
    """Pieces that are drawn side by side."""

    def __init__(
        self, primed: Lanes, tape: np.ndarray, seeds: Sequence[int], rules: _Rules
    ) -> None:
        """Begin after `tape`, END and the primer; `primed` has heard all of it but the last."""
        self._rules, self._knobs = rules, rules.knobs
        self._begin, self._primed = len(tape), primed
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._tapes = np.zeros((len(seeds), len(tape) + min(rules.length, ROOM)), np.intp)
        self._tapes[:, : len(tape)] = tape
        self._alone: dict[int, tuple[Lanes, int]] = {}  # piece → its own lane, ids it has heard
        self._lanes = primed.take([0] * len(seeds))
        self._pieces = np.arange(len(seeds))  # the pieces that are not over, one a lane
        self._states = [rules.state] * len(seeds)  # the grammar's; all lists have one a lane
        self._ahead = self._states[:]  # the states after the ids just chosen
        self._listeners = [rules.until() for _ in seeds] if rules.until else []
        self._noise = np.empty(0, np.float32)
        self.stopped = False

    def draw(self, progress: Callable[[int], object]) -> list[list[int]]:
        """Return the ids of every piece, without END."""
        ends = np.full(len(self._tapes), self._begin + self._rules.length)
        for now in range(self._begin, self._begin + self._rules.length):
            if self.stopped:
                break
            if now == self._tapes.shape[1]:
                self._tapes = np.concatenate([self._tapes, np.zeros_like(self._tapes)], axis=1)
            ids = self._next(now)
            self._tapes[self._pieces, now] = ids
            if (now + 1 - self._begin) % CHUNK == 0:
                progress(CHUNK * len(ids))
            over = self._over(ids, now)
            if over.any():
                ends[self._pieces[over]] = now
                if over.all():
                    break
                self._keep(np.flatnonzero(~over))
        rows = zip(self._tapes, ends, strict=True)
        return [row[self._begin : end].tolist() for row, end in rows]

    def _over(self, ids: np.ndarray, now: int) -> np.ndarray:
        """Tell which pieces end before the ids just drawn, and let the others hear them."""
        over: np.ndarray = ids == END
        self._states = self._ahead[:]
        if self._listeners:
            pairs = zip(self._listeners, ids.tolist(), strict=True)
            late = [number != END and listen(number) for listen, number in pairs]
            if now > self._begin:  # a piece of no notes is none
                over |= late
        return over

    def _keep(self, rows: np.ndarray) -> None:
        """Go on with these lanes alone."""
        self._pieces, self._lanes = self._pieces[rows], self._lanes.take(rows)
        self._states = [self._states[row] for row in rows]
        self._ahead = self._states[:]
        self._listeners = [self._listeners[row] for row in rows] if self._listeners else []

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
        ids, sure = self._choose(found, slice(None), now, slack)
        for row in np.flatnonzero(~sure):
            ids[row] = self._settle(int(row), now)
        return ids

    def _choose(
        self, found: np.ndarray, lanes: slice, now: int, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose for some of the lanes from their log probabilities `found`."""
        first, grammar, knobs = now == self._begin, self._rules.grammar, self._knobs
        if first:
            found[:, END] = -np.inf  # a piece of no notes is none
        pieces, states = self._pieces[lanes], self._states[lanes]
        window = WINDOW if knobs.repetition_penalty != 1 else 0
        heard = self._tapes[pieces, max(1, now - window) : now]
        noise = self._noise[pieces, (now - self._begin) % CHUNK]
        if grammar is None:
            return choose_rows(found, noise, knobs, heard, slack=slack)
        if knobs.cut:  # what is the likeliest depends on all that is forbidden
            grammar.learn(states)
        for _ in range(2):
            mask = grammar.mask(states, may_end=knobs.until_end and not first)
            ids, sure = choose_rows(found, noise, knobs, heard, mask=mask, slack=slack)
            after = grammar.after(states, ids.tolist())
            if NOWHERE not in after:
                break
            grammar.learn(old for old, new in zip(states, after, strict=True) if new == NOWHERE)
        else:  # nothing is allowed there
            after = grammar.go(states, ids.tolist())
        self._ahead[lanes] = after
        return ids, sure

    def _settle(self, row: int, now: int) -> int:
        """Choose for one lane from a lane alone, and go on from that one's state."""
        piece = int(self._pieces[row])
        lane, heard = self._alone.get(piece, (self._primed, self._begin - 1))
        lane = lane.take([0])
        for place in range(heard, now):
            found = lane.step(self._tapes[piece, place : place + 1])
        self._alone[piece] = lane, now
        self._lanes.put(row, lane)
        return int(self._choose(found, slice(row, row + 1), now, 0.0)[0][0])
