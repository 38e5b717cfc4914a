"""Write into a piece: draw some of its notes around those that are fixed, by particle filtering.

Many candidates, the particles, are drawn side by side. Each id is drawn among those that keep to
the fixed notes, and the candidate's weight is multiplied by the probability of what they leave
possible. At bar lines candidates are resampled by weight where few weigh nearly all (sequential
Monte Carlo; for language models Lew et al. 2023, arXiv 2306.03081), and at last one is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from midilstm.fileio import InputError
from midilstm.generation.consonance import Consonance
from midilstm.generation.constraints import PieceState
from midilstm.generation.ending import Ending
from midilstm.generation.fixed_mask import CURSOR, EVENT, PITCH, VALUE, FixedMask
from midilstm.generation.fixed_notes import FixedNotes
from midilstm.generation.lineup import Lineup
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import SourcePiece
from midilstm.generation.token_sampling import WINDOW, gumbel_noise, sample_tokens
from midilstm.midi import DRUMS, Note
from midilstm.repetition.match_model import History, MatchModel, add_match_bias
from midilstm.tokenizers.meter import Clock, beats_of, parts
from midilstm.tokenizers.vocabulary import END_ID

LOOKAHEAD = 2  # fixed bars after drawn ones that weigh the candidates
MIN_ESS = 0.5  # effective sample size, as a share of the candidates, below which they are resampled
MIN_LOG_PROB = -100.0  # nats: less likely is as impossible


class FilledPiece(NamedTuple):
    """The notes that were drawn, and all tokens that the network read until the last of them."""

    notes: list[Note]
    tokens: list[str]


class BarClock(Clock):
    """Give the bars and beats of a source, to which it is set."""

    place = (0.0, 0.0)

    def advance(self, _: str, /) -> tuple[float, float]:
        return self.place

    def position(self) -> tuple[float, float]:
        return self.place


@dataclass
class Particle:
    """A candidate: its ids, and the place and the ids of the tokens of each note drawn."""

    ids: list[int]
    grammar_state: Any
    constraints: PieceState | None
    history: History | None
    log_weight: float = 0.0
    notes: list[tuple[int, ...]] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)  # ids that are forced
    lineup: Lineup | None = None
    ending: Ending | None = None

    def copy(self) -> Particle:
        """Return an independent copy."""
        return replace(
            self,
            ids=[*self.ids],
            constraints=self.constraints and self.constraints.copy(),
            history=self.history and self.history.copy(),
            notes=[*self.notes],
            queue=[*self.queue],
        )


class Filler:
    """Draw what is not fixed in a piece; the sampler has the network and all settings."""

    def __init__(
        self, sampler: Sampler, source: SourcePiece, seed: int, *, min_ess: float = MIN_ESS
    ) -> None:
        """Begin with one particle, which has no token yet."""
        self.sampler, self.source, self.min_ess = sampler, source, min_ess
        self.vocabulary, self.fixed = sampler.vocabulary, FixedNotes(source, sampler.vocabulary)
        self.rng, self.state = np.random.default_rng(seed), sampler.network.initial_state()
        constraints, drawn = self._constrain(seed)
        self.mask = FixedMask(self.fixed, self.vocabulary, drawn)
        self.queue_at = cache(self._queue_at)
        self.consonance: Consonance | None = None
        if source.kept and sampler.interval_weights.pieces:
            # Chords that are given decide alone.
            strength = 0 if sampler.config.chords else sampler.config.control_strength
            self.consonance = Consonance(
                self.fixed, self.vocabulary, sampler.interval_weights, strength
            )
        grammar, weights = sampler.grammar, sampler.match_weights
        history = History.begin(self.vocabulary, weights.min_lag_bars) if weights else None
        state = grammar and grammar.state_after([END_ID])  # that of a primer
        if state and self.vocabulary.is_solo:  # so that fixed notes need not name the program
            state = state._replace(program=min(drawn))
        queue = [*self.queue_at(0, 0)]
        self.particles = [Particle([END_ID], state, constraints, history, queue=queue)]
        self.places = self.mask.begin()[:, None]  # int64 [7, particles]

    def _constrain(self, seed: int) -> tuple[PieceState | None, frozenset[int]]:
        """Return the constraints, in the fixed notes' key, and the programs that are drawn.

        The fixed instruments play, too.
        """
        drawn = self.source.drawn
        if not (constraints := self.sampler.constraints):
            return None, drawn
        state = constraints.begin(seed)
        state.choose_programs(drawn)
        if state.programs:
            drawn &= state.programs.keys()
        if not drawn:
            raise InputError(
                f"--instruments={self.sampler.config.instruments} leaves no instrument to draw"
            )
        notes, known = self.source.fixed_notes[0], self.source.read_as
        state.write_around((known[x.program] for x in notes if x.program in known), drawn)
        state.clock = BarClock()
        state.read_key([f"Pitch_{note.pitch}" for note in notes if note.program != DRUMS])
        return state, drawn

    def draw(self, progress: Callable[[int], object] = lambda _: None) -> FilledPiece:
        """Return what is drawn; `progress` is called with 1 after each bar with drawn notes."""
        for is_drawn, group in groupby(enumerate(self.source.is_drawn), itemgetter(1)):
            bars = [bar for bar, _ in group]
            if is_drawn:
                self._select([0] * self.sampler.config.candidates)
                for bar in bars:
                    self._run(bar + 1)
                    self._resample()
                    progress(1)
                continue
            if bars[0]:
                self._run(min(bars[0] + LOOKAHEAD, bars[-1] + 1))
                self._choose()
            if any(self.source.is_drawn[bars[-1] :]):
                self._run()
        self._choose()
        tokens, (particle,) = self.vocabulary.tokens, self.particles
        notes = []
        for *place, velocity, length in particle.notes:
            values = parts(tokens[velocity])[1], parts(tokens[length])[1]
            notes.append(self.fixed.note_at(place, int(values[0]), beats_of(values[1])))
        return FilledPiece(notes, [tokens[x] for x in particle.ids if x != END_ID])

    def _run(self, bar: int | None = None) -> None:
        """Make steps until all particles have reached a bar, or else while ids are forced."""
        while True:
            is_waiting = np.array([bool(particle.queue) for particle in self.particles])
            if bar is not None:
                is_waiting = self.mask.bars(self.places) < bar
            if not is_waiting.any():
                return
            self._step(np.flatnonzero(is_waiting))

    def _step(self, rows: np.ndarray) -> None:
        """Append an id to each of these particles, one that is forced or one that is drawn."""
        particles = [self.particles[row] for row in rows]
        log_probs = self._predict(rows, particles)
        ids = np.array([particle.queue.pop(0) if particle.queue else -1 for particle in particles])
        drawing = np.flatnonzero(ids < 0)
        for row in np.flatnonzero(ids >= 0):
            particles[row].log_weight += float(log_probs[row, ids[row]])
        if len(drawing):
            drawn = [particles[row] for row in drawing]
            ids[drawing] = self._draw_ids(drawn, self.places[:, rows[drawing]], log_probs[drawing])
        self._append(rows, particles, ids)

    def _predict(self, rows: np.ndarray, particles: Sequence[Particle]) -> np.ndarray:
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

    def _draw_ids(
        self, particles: Sequence[Particle], places: np.ndarray, log_probs: np.ndarray
    ) -> np.ndarray:
        """Return the next id of each particle, int [B], given log probabilities, float32 [B, V].

        The weight is multiplied by the probability of what the fixed notes leave possible, and by
        how much more likely the id is drawn because it leads to the next of them.
        """
        if self.consonance:
            self.consonance.exclude_crossing(log_probs, places)
        logits = log_probs.copy()
        self.sampler.restrict(logits, particles, may_end=True)
        if self.consonance:
            self.consonance.adjust_logits(logits, places)
        natural, logits = self.mask.apply(places, log_probs, logits)
        if np.isneginf(logits.max(axis=1)).any():
            raise InputError("the model's vocabulary.json lacks tokens that fixed notes need")
        noise = gumbel_noise([self.rng] * len(particles), logits.shape[1])
        history = [[x.ids[-1]] * WINDOW + x.ids[-WINDOW:] for x in particles]  # none is too short
        ids = sample_tokens(logits, noise, self.sampler.config, history)
        for row, (particle, token_id) in enumerate(zip(particles, ids, strict=True)):
            total = max(MIN_LOG_PROB, float(np.logaddexp.reduce(natural[row])))
            particle.log_weight += total + float(log_probs[row, token_id] - natural[row, token_id])
        return ids

    def _append(self, rows: np.ndarray, particles: Sequence[Particle], ids: np.ndarray) -> None:
        """Append an id to each particle, record the notes drawn, and force what must follow."""
        places = self.places[:, rows]
        for x in self.mask.walk(places, ids):
            for row, kind, code in zip(*(y[x.is_drawn] for y in x[:3]), strict=True):
                notes = particles[row].notes
                if kind == PITCH:
                    notes.append(tuple(places[: PITCH + 1, row].tolist()))
                elif kind == VALUE:
                    notes[-1] += (int(code),)
        self.places[:, rows] = places
        for particle, token_id, place in zip(particles, ids.tolist(), places.T, strict=True):
            particle.ids.append(token_id)
            if grammar := self.sampler.grammar:
                (particle.grammar_state,) = grammar.advance([particle.grammar_state], [token_id])
            if (state := particle.constraints) and isinstance(state.clock, BarClock):
                state.clock.place = self.fixed.position(place)
                state.add_token(self.vocabulary.tokens[token_id])
            if not particle.queue:
                particle.queue = [*self.queue_at(*place[[EVENT, CURSOR]].tolist())]

    def _queue_at(self, event: int, cursor: int) -> list[int]:
        """Return the ids that are forced but the last, with which drawn tokens may merge."""
        codes = self.fixed.codes[cursor : max(cursor, self.fixed.ends[event])]
        tokens = self.vocabulary.apply_merges([self.vocabulary.tokens[code] for code in codes])
        return [self.vocabulary.token_ids[token] for token in tokens[:-1]]

    def _weights(self) -> np.ndarray:
        """Return the normalised weights of the particles, float64 [N]."""
        log_weights = np.array([particle.log_weight for particle in self.particles], float)
        weights: np.ndarray = np.exp(log_weights - log_weights.max())
        return weights / weights.sum()

    def _resample(self) -> None:
        """Draw the particles anew by weight, systematically, where few weigh nearly all."""
        weights, count = self._weights(), len(self.particles)
        if 1 / (weights**2).sum() < self.min_ess * count:
            points = (self.rng.random() + np.arange(count)) / count
            self._select(np.minimum(np.searchsorted(weights.cumsum(), points), count - 1).tolist())

    def _choose(self) -> None:
        """Keep one particle, by weight."""
        weights = self._weights()
        self._select([int(self.rng.choice(len(weights), p=weights))])

    def _select(self, rows: Sequence[int]) -> None:
        self.particles = [self.particles[row].copy() for row in rows]
        for particle in self.particles:
            particle.log_weight = 0.0
        self.state, self.places = self.state.select_rows(rows), self.places[:, rows]
