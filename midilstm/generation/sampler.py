"""Draw pieces from a network, many side by side, one id per piece and step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from midilstm.config import SamplingConfig
from midilstm.fileio import warn
from midilstm.generation.consonance import IntervalWeights
from midilstm.generation.constraints import PieceState, parse_constraints
from midilstm.generation.ending import Ending
from midilstm.generation.length import PieceLength
from midilstm.generation.lineup import Lineup
from midilstm.generation.network import Network, RNNState
from midilstm.generation.opening import Opening, choose_opening, usual_parts
from midilstm.generation.primer import encode_primer
from midilstm.generation.token_sampling import gumbel_noise, sample_tokens
from midilstm.repetition.match_model import MatchModel, MatchWeights, add_match_bias
from midilstm.tokenizers.base import Clock, split
from midilstm.tokenizers.vocabulary import END_ID, Vocabulary

GROUP = 32  # pieces side by side: they share matrix products, and cores share the groups


class GeneratedPiece(NamedTuple):
    """New music: the ids as drawn, their tokens up to the length, and the constraints' report.

    `rest` quarter notes after the last token the bars or seconds of the length are over; it is None
    where the model ended the piece earlier, unless it ends with a bar line.
    """

    ids: tuple[int, ...]
    tokens: list[str]
    constraint_report: dict[str, str] | None  # None without constraints
    rest: float | None = None
    opening: Opening | None = None  # that the network read before it


class Restricted(Protocol):
    """What of a piece restricts its next id."""

    grammar_state: Any
    constraints: PieceState | None
    lineup: Lineup | None
    ending: Ending | None


@dataclass
class _Piece:
    """A piece while it is drawn."""

    ids: list[int]  # END, the primer, and the new ids
    rng: np.random.Generator
    clock: Clock | None  # of the length
    grammar_state: Any
    constraints: PieceState | None
    opening: Opening | None = None
    lineup: Lineup | None = None
    ending: Ending | None = None
    header: list[int] = field(default_factory=list)  # ids that the piece must begin with
    tokens: list[str] = field(default_factory=list)  # of the new ids, up to the length
    is_over: bool = False
    is_ended: bool = False  # by the model


class Sampler:
    """A network and all that changes its probabilities.

    The network is fed END, the primer or an opening, and each new id. Its log probabilities are
    changed, in this order, by the match model; by excluding END, unless `stop_at_end` is set and
    the piece has begun; by the grammar, which the primer may violate; by the constraints; by the
    opening's parts; by the ending; and by the sampling settings. Only the network reads the
    opening.
    """

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        config: SamplingConfig,
        match_weights: MatchWeights | None = None,
        primer: Sequence[str] = (),
        openings: Sequence[Opening] = (),
    ) -> None:
        """Encode the primer's tokens; raise InputError for constraints that cannot be followed."""
        if config.top_p is None:
            config = replace(config, top_p=vocabulary.encoding.default_top_p)
        self.network, self.vocabulary, self.config = network, vocabulary, config
        self.match_weights = match_weights if config.memory else None
        self.primer_ids = encode_primer(primer, vocabulary)
        self.primer = [vocabulary.tokens[token_id] for token_id in self.primer_ids]
        self.constraints = parse_constraints(vocabulary, config, self.primer, openings)
        self.openings = openings if config.opening and not self.primer_ids else ()
        self.usual_parts = usual_parts(self.openings)
        self.interval_weights = IntervalWeights(openings, vocabulary)
        self.grammar = vocabulary.grammar() if config.strict_grammar else None
        self.grammar_state = self.grammar and self.grammar.state_after(self.primer_ids)
        self.length = PieceLength(config, vocabulary, primer)

    def draw(
        self, seeds: Sequence[int], progress: Callable[[int], object] | None = None
    ) -> list[GeneratedPiece]:
        """Draw a piece for each seed.

        The same seeds give the same pieces whatever the number of cores. Of up to
        network.ROW_BY_ROW pieces, each depends on its own seed alone. `progress` is called with the
        number of ids drawn since its last call; without it a progress bar is shown.
        """
        rnn_state, match_model = self.network.initial_state(), None
        if self.match_weights:
            weights, strength = self.match_weights, self.config.memory
            match_model = MatchModel.begin(self.vocabulary, weights, strength)
        for token_id in [END_ID, *self.primer_ids][:-1]:
            rnn_state.step(np.array([token_id]))
            if match_model:
                match_model.update(np.array([token_id]))
        total = len(seeds) * self.length.max_tokens if self.length.is_exact else None
        hidden = True if progress else None  # None: hidden where nothing can be drawn
        groups = [seeds[start : start + GROUP] for start in range(0, len(seeds), GROUP)]
        stopped = Event()
        with (
            tqdm(total=total, delay=0.5, unit="token", leave=False, disable=hidden) as bar,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        ):

            def draw_group(group: Sequence[int]) -> list[_Piece]:
                return self._draw_group(
                    group, rnn_state, match_model, stopped, progress or bar.update
                )

            try:
                drawn = [piece for pieces in pool.map(draw_group, groups) for piece in pieces]
            except BaseException:  # Ctrl-C reaches this thread only, and leaving waits for others
                stopped.set()
                raise
        self._warn_of_cut_pieces(drawn)
        return [self._generated(piece) for piece in drawn]

    def _generated(self, piece: _Piece) -> GeneratedPiece:
        """Return what was drawn of a piece."""
        tokens, keeps_rest = piece.tokens, not piece.is_ended or self.length.has_ending
        if self.primer:
            tokens = self.vocabulary.encoding.name_program(tokens, self.primer)
        return GeneratedPiece(
            tuple(piece.ids[1 + len(self.primer_ids) :]),
            tokens,
            piece.constraints.report() if piece.constraints else None,
            self.length.rest(tokens) if keeps_rest else None,
            piece.opening,
        )

    def _warn_of_cut_pieces(self, drawn: Sequence[_Piece]) -> None:
        n_cut = 0 if self.length.is_exact else sum(not piece.is_over for piece in drawn)
        if n_cut:
            warn(
                f"{n_cut} of {len(drawn)} pieces were cut off at {self.length.max_tokens} tokens, "
                f"before {self.length}: the model does not advance in time"
            )

    def _draw_group(
        self,
        seeds: Sequence[int],
        rnn_state: RNNState,
        match_model: MatchModel | None,
        stopped: Event,
        progress: Callable[[int], object],
    ) -> list[_Piece]:
        """Draw pieces that begin in states of one row, until all are over or `stopped` is set."""
        drawn = pieces = [self._begin(seed) for seed in seeds]
        if self.openings:
            rnn_state = self._read_openings([x.opening.ids for x in pieces if x.opening])
        else:
            rnn_state = rnn_state.select_rows([0] * len(seeds))
        match_model = match_model and match_model.select_rows([0] * len(seeds))
        for step in range(self.length.max_tokens):
            log_probs = self._log_probs(pieces, rnn_state, match_model, is_first=step == 0)
            noise = gumbel_noise([piece.rng for piece in pieces], log_probs.shape[1])
            ids = sample_tokens(log_probs, noise, self.config, [piece.ids for piece in pieces])
            for piece, token_id in zip(pieces, ids.tolist(), strict=True):
                token_id = piece.header.pop(0) if piece.header else token_id
                self._append(piece, token_id, is_first=step == 0)
            rows = [row for row, piece in enumerate(pieces) if not piece.is_over]
            progress(len(rows))
            if not rows or stopped.is_set():
                break
            if len(rows) < len(pieces):
                pieces, rnn_state = [pieces[row] for row in rows], rnn_state.select_rows(rows)
                match_model = match_model and match_model.select_rows(rows)
        return drawn

    def _begin(self, seed: int) -> _Piece:
        """Return a piece without any new id, maybe with an opening of its own."""
        piece = _Piece(
            ids=[END_ID, *self.primer_ids],
            rng=np.random.default_rng(seed),
            clock=self.length.begin(),
            grammar_state=self.grammar_state,
            constraints=self.constraints.begin(seed) if self.constraints else None,
        )
        if self.length.has_ending and piece.clock:
            bars = int(self.length.amount)
            piece.ending = Ending(self.vocabulary, bars, piece.clock, piece.constraints)
        if self.openings:
            self._add_opening(piece, np.random.default_rng([seed, 1]))
        return piece

    def _add_opening(self, piece: _Piece, rng: np.random.Generator) -> None:
        """Draw an opening, and take from it the header, the parts and an unknown key."""
        vocabulary, constraints = self.vocabulary, self.constraints
        choices = constraints.choices if constraints else {}
        groups = [frozenset(choice.programs) for choice in choices.values()]
        weights = constraints.pitch_weights() if constraints else None
        opening = choose_opening(self.openings, vocabulary, rng, groups, weights)
        tokens = split(vocabulary.tokens[token_id] for token_id in opening.ids)
        header = vocabulary.ids_of(vocabulary.apply_merges(vocabulary.encoding.header(tokens)))
        # A vocabulary that train.py did not write may lack one of these tokens.
        piece.opening, piece.header = opening, header.tolist() if (header >= 0).all() else []
        clock = vocabulary.encoding.clock()
        piece.lineup = Lineup(vocabulary, opening, not groups, clock, self.usual_parts)
        if piece.constraints:
            piece.constraints.read_key(tokens)
            piece.constraints.choose_programs(opening.parts)

    def _read_openings(self, openings: Sequence[Sequence[int]]) -> RNNState:
        """Return the network's state, a row per opening, after END and all but the last id."""
        lengths = np.array([len(ids) for ids in openings])
        state, begins = self.network.initial_state(len(openings)), lengths.max() - lengths
        rows = np.full((len(openings), lengths.max()), END_ID)
        for row, begin, ids in zip(rows, begins, openings, strict=True):
            row[begin + 1 :] = ids[:-1]
        for step in range(rows.shape[1]):
            state.states[:, :, begins >= step] = 0  # of rows that have not begun
            state.step(rows[:, step])
        return state

    def _log_probs(
        self,
        pieces: Sequence[_Piece],
        rnn_state: RNNState,
        match_model: MatchModel | None,
        *,
        is_first: bool,
    ) -> np.ndarray:
        """Feed each piece's last id; return the log probabilities of the next, float32 [B, V]."""
        last_ids = fed_ids = np.array([piece.ids[-1] for piece in pieces])
        if is_first and self.openings:
            fed_ids = np.array([piece.opening.ids[-1] for piece in pieces if piece.opening])
        may_end = (self.config.stop_at_end or self.length.has_ending) and not is_first
        log_probs = rnn_state.step(fed_ids)
        if match_model:
            match_model.update(last_ids)
            add_match_bias(log_probs, match_model)
        self.restrict(log_probs, pieces, may_end=may_end)
        return log_probs

    def restrict(
        self, log_probs: np.ndarray, pieces: Sequence[Restricted], *, may_end: bool
    ) -> None:
        """Change the log probabilities, float32 [B, V], as all but the sampling settings do."""
        if not may_end:
            log_probs[:, END_ID] = -np.inf
        if self.grammar:
            states = [piece.grammar_state for piece in pieces]
            log_probs += self.grammar.mask(states, may_end=may_end)
        for piece, row in zip(pieces, log_probs, strict=True):
            if piece.constraints:
                piece.constraints.adjust_logits(row)
            if piece.lineup:
                piece.lineup.adjust_logits(row)
            if piece.ending:
                piece.ending.adjust_logits(row)

    def _append(self, piece: _Piece, token_id: int, *, is_first: bool) -> None:
        """Append an id to a piece, unless the id is END or beyond the length and ends the piece."""
        token = ""
        if token_id != END_ID:
            token = self.length.cut(piece.clock, self.vocabulary.tokens[token_id])
        # The first id stays whatever its length, so that no piece is empty.
        if not token and (token_id == END_ID or not is_first):
            piece.is_over, piece.is_ended = True, token_id == END_ID
            return
        piece.ids.append(token_id)
        if self.grammar:
            (piece.grammar_state,) = self.grammar.advance([piece.grammar_state], [token_id])
        if token:
            piece.tokens.append(token)
            for follower in (piece.constraints, piece.lineup, piece.ending):
                if follower:
                    follower.add_token(token)
