"""Draw pieces from a network, many side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any, Literal, NamedTuple

import numpy as np

from midilstm.config import SamplingConfig
from midilstm.generation.constraints import PieceState
from midilstm.generation.network import Network, RNNState
from midilstm.generation.sampler import gumbel_noise, sample_tokens
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END_ID

GROUP = 32  # pieces side by side: they share matrix products, and cores share the groups
StopReason = Literal["end", "length", "limit"]


class Drawn(NamedTuple):
    """New ids, and whether END, the length or the largest number of ids stopped the piece."""

    ids: list[int]
    stop_reason: StopReason


def generate(
    network: Network,
    seeds: Sequence[int],
    max_ids: int,
    config: SamplingConfig,
    primer: Sequence[int] = (),
    *,
    match_model: MatchModel | None = None,
    grammar: Grammar[Any] | None = None,
    begin_constraints: Callable[[], PieceState] | None = None,
    begin_length: Callable[[], Callable[[int], bool]] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Drawn]:
    """Draw a piece of `max_ids` ids or fewer for each seed.

    The network is fed END, the primer, and each new id. Its log probabilities are changed, in this
    order, by the match model, whose history must be empty; by the constraints; by excluding END,
    unless `stop_at_end` is set and the piece has begun; by the grammar, which the primer may
    violate; and by the sampling settings. `begin_constraints` is called for each piece, and so is
    `begin_length`, whose result tells of one id after another whether it is beyond the length.
    `progress` is called with the number of ids drawn since its last call.

    The same seeds give the same pieces whatever the number of cores. Of up to network.ROW_BY_ROW
    pieces, each depends on its own seed alone.
    """
    rnn_state, prefix = network.initial_state(), [END_ID, *primer]
    for token_id in prefix[:-1]:
        rnn_state.step(np.array([token_id]))
        if match_model:
            match_model.update(np.array([token_id]))
    grammar_state = grammar.state_after(primer) if grammar else 0

    def draw(seeds: Sequence[int], stopped: Event) -> list[Drawn]:
        pieces, rows = [], [0] * len(seeds)
        for seed in seeds:
            is_beyond = begin_length() if begin_length else None
            constraints = begin_constraints() if begin_constraints else None
            rng = np.random.default_rng(seed)
            pieces.append(_Piece(rng, prefix[:], grammar_state, is_beyond, constraints))
        matches = match_model.select_rows(rows) if match_model else None
        steps = _steps(pieces, rnn_state.select_rows(rows), matches, config, grammar)
        for count in islice(steps, max_ids):
            progress(count)
            if stopped.is_set():
                break
        return [Drawn(piece.ids[len(prefix) :], piece.stop_reason) for piece in pieces]

    return _in_groups(draw, seeds)


def _in_groups(
    draw: Callable[[Sequence[int], Event], list[Drawn]], seeds: Sequence[int]
) -> list[Drawn]:
    """Draw the pieces of all seeds, one group per core; `draw` stops when the event is set."""
    groups = [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]
    stopped = Event()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            results = pool.map(lambda group: draw(group, stopped), groups)
            return [piece for pieces in results for piece in pieces]
        except BaseException:  # Ctrl-C reaches this thread only, and leaving waits for the others
            stopped.set()
            raise


@dataclass
class _Piece:
    """A piece while it is drawn."""

    rng: np.random.Generator
    ids: list[int]  # END, the primer, and the new ids
    grammar_state: int
    is_beyond: Callable[[int], bool] | None
    constraints: PieceState | None
    stop_reason: StopReason = "limit"


def _steps(
    pieces: list[_Piece],
    rnn_state: RNNState,
    match_model: MatchModel | None,
    config: SamplingConfig,
    grammar: Grammar[Any] | None,
) -> Iterator[int]:
    """Draw an id of each piece until all are over; yield how many pieces got one."""
    is_first = True
    while pieces:
        last_ids = np.array([piece.ids[-1] for piece in pieces])
        log_probs, may_end = rnn_state.step(last_ids), config.stop_at_end and not is_first
        if match_model:
            match_model.update(last_ids)
            add_match_bias(log_probs, match_model)
        for piece, row in zip(pieces, log_probs, strict=True):
            if piece.constraints:
                piece.constraints.adjust_logits(row)
        if not may_end:
            log_probs[:, END_ID] = -np.inf
        states = [piece.grammar_state for piece in pieces]
        if grammar:
            log_probs += grammar.mask(states, may_end=may_end)
        noise = gumbel_noise([piece.rng for piece in pieces], log_probs.shape[1])
        ids = sample_tokens(log_probs, noise, config, [piece.ids for piece in pieces]).tolist()
        if grammar:
            states = grammar.advance(states, ids)
        rows = []
        for row_index, (piece, token_id) in enumerate(zip(pieces, ids, strict=True)):
            piece.grammar_state = states[row_index]
            if token_id == END_ID:
                piece.stop_reason = "end"
            # The first id stays whatever its length, so that no piece is empty.
            elif piece.is_beyond and piece.is_beyond(token_id) and not is_first:
                piece.stop_reason = "length"
            else:
                piece.ids.append(token_id)
                if piece.constraints:
                    piece.constraints.update(token_id)
                rows.append(row_index)
        if len(rows) < len(pieces):
            pieces, rnn_state = [pieces[row] for row in rows], rnn_state.select_rows(rows)
            match_model = match_model and match_model.select_rows(rows)
        is_first = False
        yield len(rows)
