"""Draw pieces from a network, many side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any

import numpy as np

from midilstm.config import SamplingConfig
from midilstm.generation.constraints import PieceState
from midilstm.generation.network import Network, RNNState
from midilstm.generation.sampler import gumbel_noise, sample_tokens
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.tokenizers.grammar import Grammar
from midilstm.tokenizers.vocabulary import END_ID

GROUP = 32  # pieces side by side: they share matrix products, and cores share the groups


def generate(
    network: Network,
    seeds: Sequence[int],
    length: int,
    config: SamplingConfig,
    primer: Sequence[int] = (),
    *,
    memory: MatchModel | None = None,
    grammar: Grammar[Any] | None = None,
    control: Callable[[], PieceState] | None = None,
    until: Callable[[], Callable[[int], bool]] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> list[list[int]]:
    """Draw a piece of `length` ids for each seed, each id from the network's output for the last.

    END and the primer are fed first, also to `memory`, the match model of a piece not yet begun.
    Log probabilities are changed, in this order, by the match model; by `control`, which makes the
    constraints of one piece; by excluding END, which may only end a piece, and that only with
    `stop_at_end`; by `grammar`, which a primer may violate; and by the sampling settings. `until`
    makes a function that tells of each new id whether it is beyond the piece's length. `progress`
    is called with the number of tokens drawn. The same seeds give the same pieces, however many
    cores there are; up to network.ROW_BY_ROW pieces each is as its seed alone gives.
    """
    rnn_state, prefix = network.initial_state(), [END_ID, *primer]
    for token_id in prefix[:-1]:
        rnn_state.step(np.array([token_id]))
        if memory:
            memory.update(np.array([token_id]))
    grammar_state = grammar.state_after(primer) if grammar else 0

    def draw(seeds: Sequence[int], stopped: Event) -> list[list[int]]:
        pieces, rows = [], [0] * len(seeds)
        for seed in seeds:
            is_beyond = until() if until else None
            constraints = control() if control else None
            rng = np.random.default_rng(seed)
            pieces.append(_Piece(rng, prefix[:], grammar_state, is_beyond, constraints))
        match_model = memory.select_rows(rows) if memory else None
        steps = _steps(pieces, rnn_state.select_rows(rows), match_model, config, grammar)
        for count in islice(steps, length):
            progress(count)
            if stopped.is_set():
                break
        return [piece.ids[len(prefix) :] for piece in pieces]

    return _in_groups(draw, seeds)


def _in_groups(
    draw: Callable[[Sequence[int], Event], list[list[int]]], seeds: Sequence[int]
) -> list[list[int]]:
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
            # The first id stays whatever its length: a piece without notes is none.
            is_over = token_id == END_ID or (
                piece.is_beyond and piece.is_beyond(token_id) and not is_first
            )
            if not is_over:
                piece.ids.append(token_id)
                if piece.constraints:
                    piece.constraints.update(token_id)
                rows.append(row_index)
        if len(rows) < len(pieces):
            pieces, rnn_state = [pieces[row] for row in rows], rnn_state.select_rows(rows)
            match_model = match_model and match_model.select_rows(rows)
        is_first = False
        yield len(rows)
