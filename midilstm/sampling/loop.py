"""Pieces drawn from a network, side by side: the loop; knows no files, no layers, no tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, Self

import numpy as np

from midilstm.sampling.choose import WINDOW, Knobs, choose_rows, race
from midilstm.sampling.network import Lanes, Network
from midilstm.tokens.grammar import Grammar
from midilstm.tokens.vocabulary import END_ID

GROUP = 32  # pieces side by side: one product serves many, and other cores have other groups
CHUNK = 16  # steps for which random numbers are drawn at once


class Memory(Protocol):
    """What pieces side by side have held so far, which may come back."""

    def hear(self, ids: np.ndarray) -> None:
        """Take in the next ids [B]."""

    def pull(self, log_probabilities: np.ndarray) -> np.ndarray:
        """Return the log probabilities [B, V] with the pieces' own past mixed in."""

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return a copy of these rows."""


Until = Callable[[], Callable[[int], bool]]


def generate(
    network: Network,
    seeds: Sequence[int],
    length: int,
    knobs: Knobs,
    primer: Sequence[int] = (),
    *,
    memory: Memory | None = None,
    grammar: Grammar[Any] | None = None,
    until: Until | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> list[list[int]]:
    """Draw a piece of `length` ids for each seed, each from what the network gives for the last.

    END and the primer are fed first, also to `memory`, which is of one piece, not begun. With
    `until_end` a piece is over where END is drawn, which its first id never is. `until` makes a
    listener for each piece: told each new id, it says whether the piece is over before it (but the
    first stays). What `grammar` forbids is not drawn; a primer may break its rules. `progress` is
    told now and then how many more tokens have been drawn. The same seeds give the same pieces,
    however many cores there are; of network.ROW_BY_ROW or fewer, each is as its seed alone gives.
    """
    lanes, stopped = network.lanes(), Event()
    for number in np.array([END_ID, *primer][:-1], np.intp)[:, None]:
        lanes.step(number)
        if memory:
            memory.hear(number)
    state = grammar.listen(primer) if grammar else 0

    def draw(seeds: Sequence[int]) -> list[list[int]]:
        begun, rows = [END_ID, *primer], [0] * len(seeds)
        pieces = [
            _Piece(np.random.default_rng(seed), begun[:], state, until() if until else None)
            for seed in seeds
        ]
        past = memory.take(rows) if memory else None
        _Group(pieces, lanes.take(rows), past, knobs, grammar).draw(length, progress, stopped)
        return [piece.ids[len(begun) :] for piece in pieces]

    parts = [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            return [piece for pieces in pool.map(draw, parts) for piece in pieces]
        except BaseException:  # Ctrl-C reaches this thread only, and leaving waits for the others
            stopped.set()
            raise


@dataclass
class _Piece:
    """A piece as it grows."""

    rng: np.random.Generator
    ids: list[int]  # END, the primer, and what was drawn
    state: int  # the grammar's
    listener: Callable[[int], bool] | None
    noise: np.ndarray = field(default_factory=lambda: np.empty(0))  # [CHUNK, V]


@dataclass
class _Group:
    """Pieces that are drawn side by side, each a row of lanes and memory."""

    pieces: list[_Piece]
    lanes: Lanes
    memory: Memory | None
    knobs: Knobs
    grammar: Grammar[Any] | None

    def draw(self, length: int, progress: Callable[[int], object], stopped: Event) -> None:
        """Draw all pieces to their ends."""
        for place in range(length):
            if stopped.is_set():
                return
            ids = self._next(place)
            if (place + 1) % CHUNK == 0:
                progress(CHUNK * len(ids))
            rows = []
            for row, (piece, number) in enumerate(zip(self.pieces, ids, strict=True)):
                over = number == END_ID or (piece.listener and piece.listener(number) and place)
                if not over:  # a piece of no notes is none
                    piece.ids.append(number)
                    rows.append(row)
            if len(rows) < len(ids):
                self.pieces = [self.pieces[row] for row in rows]
                self.lanes = self.lanes.take(rows)
                self.memory = self.memory.take(rows) if self.memory else None
            if not rows:
                return

    def _next(self, place: int) -> list[int]:
        """Return each piece's next id: network, memory, grammar, and then the knobs."""
        last = np.array([piece.ids[-1] for piece in self.pieces])
        scores = self.lanes.step(last)
        if self.memory:
            self.memory.hear(last)
            scores = self.memory.pull(scores)
        may_end = self.knobs.until_end and place > 0
        if not may_end:
            scores[:, END_ID] = -np.inf
        if place % CHUNK == 0:
            for piece in self.pieces:
                piece.noise = race(piece.rng, (CHUNK, scores.shape[1]))
        noise = np.stack([piece.noise[place % CHUNK] for piece in self.pieces])
        states = [piece.state for piece in self.pieces]
        if self.grammar:
            scores = scores + self.grammar.mask(states, may_end=may_end)
        window = WINDOW if self.knobs.repetition_penalty != 1 else 0
        begin = max(1, len(self.pieces[0].ids) - window)  # all have as many
        heard = np.array([piece.ids[begin:] for piece in self.pieces], np.intp)
        ids = choose_rows(scores, noise, self.knobs, heard).tolist()
        if self.grammar:
            for piece, state in zip(self.pieces, self.grammar.go(states, ids), strict=True):
                piece.state = state
        return ids
