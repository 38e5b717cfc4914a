"""Write into a piece: draw some of its notes around those that are fixed, by particle filtering.

Many candidates, the particles, are drawn side by side. Wherever fixed notes come next in the
encoding's order, they are forced, and each candidate's weight is multiplied by their likelihood
given it. At bar lines candidates are resampled by weight where few weigh nearly all (sequential
Monte Carlo; for language models Lew et al. 2023, arXiv 2306.03081), and at last one is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import groupby
from typing import Any

import numpy as np

from midilstm.fileio import InputError
from midilstm.generation.constraints import PieceState
from midilstm.generation.ending import Ending
from midilstm.generation.lineup import Lineup
from midilstm.generation.sampler import Sampler
from midilstm.generation.slots import EXCLUDED, INSIDE, Options, Slot, options_of, slots_of
from midilstm.generation.source_piece import FixedBar, SourcePiece
from midilstm.generation.token_sampling import gumbel_noise, sample_tokens
from midilstm.repetition.match_model import History, MatchModel, add_match_bias, bars_per_token
from midilstm.tokenizers.vocabulary import END_ID

LOOKAHEAD = 2  # fixed bars after drawn ones that weigh the candidates
MAX_DRAWN = 2000  # tokens per bar
MIN_ESS = 0.5  # effective sample size, as a share of the candidates, below which they are resampled
MIN_LOG_PROB = -100.0  # nats: less likely is as impossible


@dataclass
class Particle:
    """A candidate: its ids, the tokens drawn, and its place in the bar that is being drawn."""

    ids: list[int]
    grammar_state: Any
    constraints: PieceState | None
    history: History | None
    log_weight: float = 0.0
    drawn: list[str] = field(default_factory=list)  # with the header of each bar
    queue: list[int] = field(default_factory=list)  # ids that are forced
    prefix: tuple[str, ...] = ()  # fixed tokens that the next id must begin with
    slot: int = 0
    is_fresh: bool = True  # whether nothing is drawn in the slot yet
    n_drawn: int = 0  # ids in the bar
    program: int | None = None  # that played last
    lineup: Lineup | None = None
    ending: Ending | None = None

    def copy(self) -> Particle:
        """Return an independent copy."""
        return replace(
            self,
            ids=[*self.ids],
            constraints=self.constraints and self.constraints.copy(),
            history=self.history and self.history.copy(),
            drawn=[*self.drawn],
            queue=[*self.queue],
        )


class Filler:
    """Draw what is not fixed in a piece; the sampler has the network and all settings."""

    def __init__(
        self, sampler: Sampler, source: SourcePiece, seed: int, *, min_ess: float = MIN_ESS
    ) -> None:
        """Begin with one particle, which has no bar yet."""
        self.sampler, self.source, self.min_ess = sampler, source, min_ess
        self.vocabulary, self.programs = sampler.vocabulary, source.drawn
        self.parts = [(), *(tuple(token.split(" ")) for token in self.vocabulary.tokens[1:])]
        self.rng, self.state = np.random.default_rng(seed), sampler.network.initial_state()
        self.options = cache(partial(options_of, self.parts))
        grammar, weights = sampler.grammar, sampler.match_weights
        bars = bars_per_token(self.vocabulary)
        history = History(bars, weights.min_lag_bars) if weights else None
        state = grammar and grammar.state_after([END_ID])  # that of a primer
        self.particles = [Particle([END_ID], state, self._constraints(seed), history)]

    def _constraints(self, seed: int) -> PieceState | None:
        """Let the fixed instruments play, too; begin in the first bar, in the fixed notes' key."""
        if not (constraints := self.sampler.constraints):
            return None
        state = constraints.begin(seed)
        state.choose_programs(self.programs)
        if state.programs:
            self.programs &= state.programs.keys()
        if not self.programs:
            raise InputError(
                f"--instruments={self.sampler.config.instruments} leaves no instrument to draw"
            )
        state.write_around((x for bar in self.source.bars for x in bar.blocks), self.programs)
        state.clock = self.vocabulary.encoding.clock()
        state.read_key([token for bar in self.source.bars for token in bar.tokens])
        return state

    def draw(self, progress: Callable[[int], object] = lambda _: None) -> list[str]:
        """Return the drawn tokens, with the header of each bar of the piece.

        `progress` is called with 1 after each bar in which notes are drawn.
        """
        for is_drawn, group in groupby(self.source.bars, lambda bar: bar.is_drawn):
            bars = [*group]
            if not is_drawn:
                self._feed(bars[:LOOKAHEAD])
                self._choose()
                self._feed(bars[LOOKAHEAD:])
                continue
            self._select([0] * self.sampler.config.candidates)
            for bar in bars:
                self._draw_bar(bar, is_last=bar is self.source.bars[-1])
                progress(1)
        self._choose()
        return self.particles[0].drawn

    def _feed(self, bars: Sequence[FixedBar]) -> None:
        """Force all tokens of fixed bars but the last id, with which drawn tokens may merge."""
        tokens = [token for bar in bars for token in bar.tokens]
        for particle in self.particles:
            particle.drawn += [token for bar in bars for token in bar.header]
            self._force(particle, tokens)
        self._run((), is_last=False)

    def _draw_bar(self, bar: FixedBar, *, is_last: bool) -> None:
        slots = slots_of(bar, self.programs)
        for particle in self.particles:
            particle.drawn += bar.header
            particle.slot = particle.n_drawn = 0
            self._force(particle, slots[0].forced)
        self._run((), is_last=is_last)
        self._resample()
        self._run(slots, is_last=is_last)

    def _force(self, particle: Particle, tokens: Sequence[str]) -> None:
        """Append tokens to those that the network is to read next."""
        name = f"Program_{particle.program}"
        tokens = self.vocabulary.encoding.abbreviate([name, *tokens])[1:]
        particle.program = _last_program(tokens, particle.program)
        ids = [
            self.vocabulary.token_ids[token]
            for token in self.vocabulary.apply_merges([*particle.prefix, *tokens])
        ]
        particle.queue, particle.is_fresh = ids[:-1], True
        particle.prefix = self.parts[ids[-1]] if ids else ()

    def _run(self, slots: Sequence[Slot], *, is_last: bool) -> None:
        """Make steps until no particle has a queue, or a slot to draw in."""
        while rows := [
            row for row, x in enumerate(self.particles) if x.queue or x.slot < len(slots)
        ]:
            particles = [self.particles[row] for row in rows]
            log_probs = self._predict(rows, particles)
            for particle, row in zip(particles, log_probs, strict=True):
                if particle.queue:
                    particle.log_weight += row[particle.queue[0]]
            drawing = [row for row, particle in enumerate(particles) if not particle.queue]
            for particle in particles:
                if particle.queue:
                    self._append(particle, particle.queue.pop(0))
            if drawing:
                drawn = [particles[row] for row in drawing]
                self._draw_ids(drawn, log_probs[drawing], slots, is_last=is_last)

    def _predict(self, rows: Sequence[int], particles: Sequence[Particle]) -> np.ndarray:
        """Feed the last id of these particles; return log probabilities, float32 [B, V]."""
        ids = np.array([particle.ids[-1] for particle in particles])
        state = self.state.select_rows(rows)
        log_probs = state.step(ids)
        self.state.states[:, :, rows] = state.states
        if weights := self.sampler.match_weights:
            histories = [particle.history for particle in particles if particle.history]
            match_model = MatchModel(histories, weights, self.sampler.config.memory)
            match_model.update(ids)
            add_match_bias(log_probs, match_model)
        return log_probs

    def _append(self, particle: Particle, token_id: int) -> None:
        particle.ids.append(token_id)
        if grammar := self.sampler.grammar:
            (particle.grammar_state,) = grammar.advance([particle.grammar_state], [token_id])
        if particle.constraints:
            particle.constraints.add_token(self.vocabulary.tokens[token_id])

    def _draw_ids(
        self,
        particles: Sequence[Particle],
        log_probs: np.ndarray,
        slots: Sequence[Slot],
        *,
        is_last: bool,
    ) -> None:
        """Draw the next id of each particle, given log probabilities, float32 [B, V]."""
        logits = log_probs.copy()
        self.sampler.restrict(logits, particles, may_end=True)
        options = [
            self.options(*slots[x.slot][1:], x.prefix, is_fresh=self._must_name(x, slots[x.slot]))
            for x in particles
        ]
        for row, option in zip(logits, options, strict=True):
            row[option.groups == EXCLUDED] = -np.inf
            if np.isneginf(row.max()):
                row[END_ID] = 0  # leaves the slot
        noise = gumbel_noise([self.rng] * len(particles), logits.shape[1])
        history = [particle.ids for particle in particles]
        ids = sample_tokens(logits, noise, self.sampler.config, history)
        for particle, token_id, row, option in zip(
            particles, ids.tolist(), log_probs, options, strict=True
        ):
            self._take(particle, token_id, row, option, slots, is_last=is_last)

    def _take(
        self,
        particle: Particle,
        token_id: int,
        log_probs: np.ndarray,
        options: Options,
        slots: Sequence[Slot],
        *,
        is_last: bool,
    ) -> None:
        """Append a drawn id, or of one that leaves the slot the part inside it.

        The weight is multiplied by the probability of what the fixed tokens leave possible. What
        follows a slot is certain: the probability to leave is replaced by that of what follows.
        """
        groups, prefix = options.groups, particle.prefix
        group = groups[token_id if particle.n_drawn < MAX_DRAWN else END_ID]
        particle.log_weight += _log_sum(log_probs[groups != EXCLUDED])
        if group == INSIDE:
            new = self.parts[token_id][len(prefix) :]
            self._add_drawn(particle, new)
            particle.is_fresh &= not new
            particle.prefix = ()
            particle.n_drawn += 1
            self._append(particle, token_id)
            return
        self._add_drawn(particle, options.kept[group])
        particle.prefix = *prefix, *options.kept[group]
        particle.slot += 1
        is_bar_over = particle.slot == len(slots)
        if not (is_last and is_bar_over):
            particle.log_weight -= _log_sum(log_probs[groups == group])
        if not is_bar_over:
            self._force(particle, slots[particle.slot].forced)

    def _must_name(self, particle: Particle, slot: Slot) -> bool:
        """Tell whether a particle must name a program before it plays in a slot."""
        goes_on = self.vocabulary.is_solo and particle.program in slot.programs
        return particle.is_fresh and not goes_on

    def _add_drawn(self, particle: Particle, new: Sequence[str]) -> None:
        """Add drawn tokens, with the name of a program that goes on in another slot."""
        if new and particle.is_fresh and not new[0].startswith("Program_"):
            particle.drawn.append(f"Program_{particle.program}")
        particle.drawn += new
        particle.program = _last_program(new, particle.program)

    def _weights(self) -> np.ndarray:
        """Return the normalised weights of the particles, float64 [N]."""
        log_weights = np.array([particle.log_weight for particle in self.particles], float)
        weights: np.ndarray = np.exp(log_weights - log_weights.max())
        return weights / weights.sum()

    def _resample(self) -> None:
        """Draw the particles anew by weight, systematically, where few weigh nearly all."""
        weights, count = self._weights(), len(self.particles)
        if 1 / (weights**2).sum() < self.min_ess * count:
            places = (self.rng.random() + np.arange(count)) / count
            self._select(np.minimum(np.searchsorted(weights.cumsum(), places), count - 1).tolist())

    def _choose(self) -> None:
        """Keep one particle, by weight."""
        weights = self._weights()
        self._select([int(self.rng.choice(len(weights), p=weights))])

    def _select(self, rows: Sequence[int]) -> None:
        self.particles = [self.particles[row].copy() for row in rows]
        for particle in self.particles:
            particle.log_weight = 0.0
        self.state = self.state.select_rows(rows)


def _last_program(tokens: Sequence[str], program: int | None) -> int | None:
    """Return the program that plays after unmerged tokens."""
    named = [token for token in tokens if token.startswith("Program_")]
    return int(named[-1].partition("_")[2]) if named else program


def _log_sum(log_probs: np.ndarray) -> float:
    """Return the log of the sum of probabilities, or MIN_LOG_PROB."""
    return max(MIN_LOG_PROB, float(np.logaddexp.reduce(log_probs, initial=-np.inf)))
