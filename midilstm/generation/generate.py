"""Pieces drawn from a network, side by side: the loop; knows no files, no layers, no tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any, Protocol, cast

import numpy as np

from midilstm.generation.network import Network, RNNState
from midilstm.generation.sampler import SamplingConfig, gumbel_noise, sample_tokens
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END_ID

GROUP = 32  # pieces side by side: one product serves many, and other cores have other groups


def generate(
    network: Network,
    seeds: Sequence[int],
    length: int,
    knobs: SamplingConfig,
    primer: Sequence[int] = (),
    *,
    memory: MatchModel | None = None,
    grammar: Grammar[Any] | None = None,
    control: Callable[[], Constraints] | None = None,
    until: Callable[[], Callable[[int], bool]] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> list[list[int]]:
    """Draw a piece of `length` ids for each seed, each from what the network gives for the last.

    END and the primer are fed first, also to `memory`, which is of one piece, not begun. What is
    likely say, in this order: the network; `memory`; `control`; END, which no piece begins with
    and only with `until_end` one ends with; `grammar`, whose rules a primer may break; and of the
    knobs the repetition penalty, temperature, top-k and top-p. `control` makes for each
    piece what bends its log probabilities and hears it; `until` a listener: told each new id, it
    says whether the piece is over before it (but the first stays). `progress` is told how many more
    tokens have been drawn. The same seeds give the same pieces, however many
    cores there are; of network.ROW_BY_ROW or fewer, each is as its seed alone gives.
    """
    lanes, body_state = network.initial_state(), [END_ID, *primer]
    for number in body_state[:-1]:
        lanes.step(np.array([number]))
        if memory:
            memory.update(np.array([number]))
    state = grammar.state_after(primer) if grammar else 0

    def draw(seeds: Sequence[int], stopped: Event) -> list[list[int]]:
        pieces, rows = [], [0] * len(seeds)
        for seed in seeds:
            listener = until() if until else None
            asked = control() if control else None
            pieces.append(
                _Piece(np.random.default_rng(seed), body_state[:], state, listener, asked)
            )
        past = memory.select_rows(rows) if memory else None
        steps = _steps(pieces, lanes.select_rows(rows), past, knobs, grammar)
        for drawn in islice(steps, length):
            progress(drawn)
            if stopped.is_set():
                break
        return [piece.ids[len(body_state) :] for piece in pieces]

    return _in_groups(draw, seeds)


def _in_groups(
    draw: Callable[[Sequence[int], Event], list[list[int]]], seeds: Sequence[int]
) -> list[list[int]]:
    """Draw the pieces of all seeds, a group a core; whoever draws stops at the event."""
    parts = [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]
    stopped = Event()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            drawn = pool.map(lambda part: draw(part, stopped), parts)
            return [piece for pieces in drawn for piece in pieces]
        except BaseException:  # Ctrl-C reaches this thread only, and leaving waits for the others
            stopped.set()
            raise


class Constraints(Protocol):
    """What is asked of one piece."""

    def bend(self, scores: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""

    def hear(self, number: int) -> None:
        """Take in the piece's next id."""


@dataclass
class _Piece:
    """A piece as it grows."""

    rng: np.random.Generator
    ids: list[int]  # END, the primer, and what was drawn
    state: int  # the grammar's
    listener: Callable[[int], bool] | None
    control: Constraints | None


def _steps(
    pieces: list[_Piece],
    lanes: RNNState,
    memory: MatchModel | None,
    knobs: SamplingConfig,
    grammar: Grammar[Any] | None,
) -> Iterator[int]:
    """Draw an id of each piece, a row of lanes and memory, until all are over; yield how many."""
    place = 0
    while pieces:
        last = np.array([piece.ids[-1] for piece in pieces])
        scores, may_end = lanes.step(last), knobs.stop_at_end and place > 0
        if memory:
            memory.update(last)
            add_match_bias(scores, memory)
        if pieces[0].control:
            for piece, row in zip(pieces, scores, strict=True):
                cast(Constraints, piece.control).bend(row)
        if not may_end:
            scores[:, END_ID] = -np.inf
        states = [piece.state for piece in pieces]
        if grammar:
            scores += grammar.mask(states, may_end=may_end)
        noise = gumbel_noise([piece.rng for piece in pieces], scores.shape[1])
        ids = sample_tokens(scores, noise, knobs, [piece.ids for piece in pieces]).tolist()
        if grammar:
            states = grammar.advance(states, ids)
        rows = []
        for row, (piece, number) in enumerate(zip(pieces, ids, strict=True)):
            piece.state = states[row]
            over = number == END_ID or (piece.listener and piece.listener(number) and place)
            if not over:  # a piece of no notes is none
                piece.ids.append(number)
                if piece.control:
                    piece.control.hear(number)
                rows.append(row)
        if len(rows) < len(pieces):
            pieces, lanes = [pieces[row] for row in rows], lanes.select_rows(rows)
            memory = memory and memory.select_rows(rows)
        place += 1
        yield len(rows)
