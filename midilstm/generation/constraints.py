"""Follow a key, chords and instruments: changes to the log probabilities of what may be drawn.

Notes outside a key or chord become less likely. An instrument that plays in fewer bars than in the
training pieces becomes more likely, and all other instruments become practically impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError, warn
from midilstm.generation.harmony import AUTO, Chord, chords_of, estimate_key, key_profile
from midilstm.generation.opening import Opening, mean_shares
from midilstm.generation.turns import NEVER, Turns
from midilstm.tokenizers.base import Clock, TokenContent, split
from midilstm.tokenizers.order import BASS
from midilstm.tokenizers.vocabulary import Vocabulary

# Nats at strength 1 for each pitch class: outside the key or, off the beat, outside a chord's
# scale; in the key, times its distance from the tonic; and outside a chord on the beat.
FOREIGN, HOME, CHORD = 1.0, 0.5, 2.0
KEY_NOTES = 32  # pitch classes after which the key of a piece is estimated
# How often the bass plays the lowest note where a chord begins, and nats to exclude its others:
# fewer than those that keep an instrument in its range.
ROOT_SHARE, ROOT = 0.8, 1e3
USUAL_SHARE = 0.5  # of the bars, where no training piece has the instrument


class Constraints:
    """The key, chords and instruments of all pieces of a call; `PieceState` is one piece."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: SamplingConfig,
        primer: Sequence[str] = (),
        openings: Sequence[Opening] = (),
    ) -> None:
        """Parse the settings; raise InputError for an unknown key, chord or instrument."""
        self.vocabulary, self.encoding, self.primer = vocabulary, vocabulary.encoding, primer
        self.strength, self.key = config.control_strength, config.key
        if self.key and self.key != AUTO:
            key_profile(self.key)  # raises InputError for another
        self.chords = chords_of(config.chords) if config.chords else ()
        contents = [TokenContent(), *map(self.encoding.content, vocabulary.tokens[1:])]
        known = {program for content in contents for program in content.programs}
        if config.instruments and not known:
            raise InputError(
                f"--instruments needs a model that knows instruments, which {self.encoding.name} "
                "does not: train one with python train.py --encoding=remi"
            )
        if (self.key or self.chords) and not any(content.pitch_classes for content in contents):
            warn("the model knows drums alone: --key and --chords change nothing")
        self.choices = (
            midi.parse_instruments(config.instruments, known) if config.instruments else {}
        )
        self.shares = mean_shares(openings)

        def table(value: Callable[[TokenContent], object]) -> np.ndarray:
            return np.array([*map(value, contents)], np.float32)

        self.classes = table(lambda content: [x in content.pitch_classes for x in range(12)])
        self.plays_on = table(lambda content: content.plays_on)
        self.others = cache(
            lambda allowed: table(lambda content: not allowed.issuperset(content.programs))
        )
        self.weights = cache(self._weights)
        self.is_other_pitch = cache(
            lambda pitch_class: table(lambda x: bool(x.pitch_classes - {pitch_class}))
        )

    def chord_at(self, bars: float) -> Chord | None:
        """Return the chord at a place in bars, which the chords of a bar share equally, if any."""
        if not self.chords:
            return None
        chords, place = self._place_in_chart(bars)
        return chords[int(place)]

    def chord_beginning_at(self, bars: float) -> Chord | None:
        """Return the chord that begins at a place in bars: at a bar line, or after another."""
        if not self.chords:
            return None
        chords, place = self._place_in_chart(bars)
        index = int(place)
        is_new = place % 1 < 1e-3 and (not index or chords[index] != chords[index - 1])
        return chords[index] if is_new else None

    def _place_in_chart(self, bars: float) -> tuple[tuple[Chord | None, ...], float]:
        """Return the chords of the bar at a place in bars, and the place among them."""
        bar, place = divmod(bars + 1e-6, 1)
        chords = self.chords[int(bar) % len(self.chords)]
        return chords, place * len(chords)

    def _weights(self, key: str | None, chord: Chord | None, on_beat: bool) -> np.ndarray:
        """Return the nats, float32 [V], that harmony adds on a beat or off it."""
        weights = np.zeros(12)
        if key:
            weights = np.maximum(HOME * key_profile(key), -FOREIGN)
        if chord:
            tones, scale, _ = chord
            weights[[*tones]] = 0
            if on_beat:
                weights[[x for x in range(12) if x not in tones]] = -CHORD
            elif not key:
                weights[[x for x in range(12) if x not in scale]] = -FOREIGN
        return self.classes @ (self.strength * weights).astype(np.float32)

    def pitch_weights(self) -> np.ndarray | None:
        """Return how well each pitch class suits the key or the chords, float [12]; None if any."""
        if self.key and self.key != AUTO:
            return np.maximum(key_profile(self.key), -1)
        if not self.chords:
            return None
        tones = [[*chord.tones] for bar in self.chords for chord in bar if chord]
        return np.bincount(np.concatenate(tones), minlength=12) if tones else None

    def begin(self, seed: int = 0) -> PieceState:
        """Return the state of the piece of a seed, which continues the primer."""
        key = None if self.key == AUTO else self.key
        clock, turns = self.encoding.clock(None, self.primer), Turns(self.vocabulary)
        state = PieceState(self, clock, key, turns, seed)
        contents = [*map(self.encoding.content, split(self.primer))]
        state.choose_programs({program for content in contents for program in content.programs})
        for content in contents:
            state.count(content)
        if self.key == AUTO and state.counts.any():
            state.key = estimate_key(state.counts)
        state.turns.bars.clear()
        return state


@dataclass
class PieceState:
    """What the constraints of one piece depend on: its place, pitch classes and instruments."""

    constraints: Constraints
    clock: Clock
    key: str | None  # None where there is none or it is not estimated yet
    turns: Turns  # in new bars
    seed: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(12))  # of pitch classes
    programs: Mapping[int, str] = field(default_factory=dict)  # that play → their names
    fixed: frozenset[int] = frozenset()  # programs that play, whatever was chosen

    def choose_programs(self, preferred: Container[int]) -> None:
        """Choose which program each name stands for, `preferred` ones first."""
        self.programs = midi.choose_programs(self.constraints.choices, preferred)

    def write_around(self, fixed: Iterable[int], drawn: Container[int]) -> None:
        """Let programs whose notes are fixed play, and expect only drawn ones of those chosen."""
        self.fixed = frozenset(fixed)
        self.programs = {x: name for x, name in self.programs.items() if x in drawn}

    def copy(self) -> PieceState:
        """Return an independent copy."""
        return replace(
            self,
            clock=deepcopy(self.clock),
            counts=self.counts.copy(),
            turns=self.turns.copy(),
        )

    def adjust_logits(self, log_probs: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        constraints, (bars, beat) = self.constraints, self.clock.position()
        chord = constraints.chord_at(bars)
        log_probs += constraints.weights(self.key, chord, abs(beat - round(beat)) < 1e-6)
        if self.turns.program in BASS and (new_chord := self._chord_of_root(bars)):
            log_probs -= ROOT * constraints.is_other_pitch(new_chord.bass)
        if self.programs:
            allowed = self.fixed.union(self.programs)
            log_probs -= NEVER * constraints.others(allowed)
            if self.turns.program not in allowed:
                log_probs -= NEVER * constraints.plays_on
        shares = {x: constraints.shares.get(x, USUAL_SHARE) for x in self.programs}
        self.turns.prefer_absent(log_probs, shares, int(bars + 1e-6), constraints.strength)
        log_probs -= log_probs.max()
        log_probs -= np.log(np.exp(log_probs).sum())

    def _chord_of_root(self, bars: float) -> Chord | None:
        """Return the chord that begins here, if the bass is to play its lowest note."""
        chord = self.constraints.chord_beginning_at(bars)
        place = round(bars * 2**10)  # whatever the order of the instruments in a bar
        is_drawn = np.random.default_rng([self.seed, 2, place]).random() < ROOT_SHARE
        return chord if is_drawn else None

    def read_key(self, tokens: Sequence[str]) -> None:
        """Take the key of these tokens where it is to be estimated."""
        if self.constraints.key == AUTO:
            counts = np.zeros(12)
            for token in tokens:
                counts[[*self.constraints.encoding.content(token).pitch_classes]] += 1
            self.key = estimate_key(counts) if counts.any() else None

    def add_token(self, token: str) -> None:
        """Add the piece's next token."""
        self.clock.advance(token)
        self.count(self.constraints.encoding.content(token))
        if self.constraints.key == AUTO and not self.key and self.counts.sum() >= KEY_NOTES:
            self.key = estimate_key(self.counts)

    def count(self, content: TokenContent) -> None:
        """Count a token's pitch classes, and record which instruments play."""
        for pitch_class in content.pitch_classes:
            self.counts[pitch_class] += 1
        self.turns.count(content, int(self.clock.position()[0] + 1e-6))

    def report(self) -> dict[str, str]:
        """Return the estimated key, and the instruments that do not play after the primer."""
        report = {"key": self.key or "not known yet"} if self.constraints.key == AUTO else {}
        if silent := [
            name for program, name in self.programs.items() if program not in self.turns.bars
        ]:
            report["silent"] = ", ".join(silent)
        return report


def parse_constraints(
    vocabulary: Vocabulary,
    config: SamplingConfig,
    primer: Sequence[str] = (),
    openings: Sequence[Opening] = (),
) -> Constraints | None:
    """Return the constraints of the settings, or None; raise InputError for unknown names."""
    if not (config.key or config.chords or config.instruments):
        return None
    constraints = Constraints(vocabulary, config, primer, openings)
    return constraints if config.control_strength else None
