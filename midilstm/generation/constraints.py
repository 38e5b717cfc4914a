"""Follow a key, chords and instruments: changes to the log probabilities of what may be drawn.

Notes outside a key or chord become less likely, an instrument that has rested for long becomes
more likely, and all other instruments become practically impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError, warn
from midilstm.generation.harmony import AUTO, Chord, chords_of, estimate_key, key_profile
from midilstm.tokenizers.base import Clock, TokenContent, split
from midilstm.tokenizers.vocabulary import Vocabulary

# Nats at strength 1 for each pitch class: outside the key or, off the beat, outside a chord's
# scale; in the key, times its distance from the tonic; and outside a chord on the beat.
FOREIGN, HOME, CHORD = 1.0, 0.5, 2.0
KEY_NOTES = 32  # pitch classes after which the key of a piece is estimated
NEVER = 1e4  # nats: practically impossible, and yet finite, so that rows can be compared
REST, RETURN = 4.0, 2.0  # bars that an instrument may rest, and nats for each bar beyond


class Constraints:
    """The key, chords and instruments of all pieces of a call; `PieceState` is one piece."""

    def __init__(
        self, vocabulary: Vocabulary, config: SamplingConfig, primer: Sequence[str] = ()
    ) -> None:
        """Parse the settings; raise InputError for an unknown key, chord or instrument."""
        self.encoding, self.primer = vocabulary.encoding, primer
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
        self.groups = (
            midi.parse_instruments(config.instruments, known) if config.instruments else {}
        )
        self.allowed = set().union(*self.groups.values()) if self.groups else known

        def table(value: Callable[[TokenContent], object]) -> np.ndarray:
            return np.array([*map(value, contents)], np.float32)

        self.classes = table(lambda content: [x in content.pitch_classes for x in range(12)])
        self.plays_on = table(lambda content: content.plays_on)
        self.others = table(lambda content: not self.allowed.issuperset(content.programs))
        self.names = {
            name: np.array([not group.isdisjoint(x.programs) for x in contents])
            for name, group in self.groups.items()
        }
        self.skips = {
            name: np.array([True, *(self.encoding.skips(x, group) for x in vocabulary.tokens[1:])])
            for name, group in self.groups.items()
        }
        self.weights = cache(self._weights)

    def chord_at(self, bars: float) -> Chord | None:
        """Return the chord at a place in bars, which the chords of a bar share equally, if any."""
        if not self.chords:
            return None
        bar, place = divmod(bars + 1e-6, 1)
        chords = self.chords[int(bar) % len(self.chords)]
        return chords[int(place * len(chords))]

    def _weights(self, key: str | None, chord: Chord | None, on_beat: bool) -> np.ndarray:
        """Return the nats, float32 [V], that harmony adds on a beat or off it."""
        weights = np.zeros(12)
        if key:
            weights = np.maximum(HOME * key_profile(key), -FOREIGN)
        if chord:
            tones, scale = chord
            weights[[*tones]] = 0
            if on_beat:
                weights[[x for x in range(12) if x not in tones]] = -CHORD
            elif not key:
                weights[[x for x in range(12) if x not in scale]] = -FOREIGN
        nats = self.classes @ (self.strength * weights).astype(np.float32)
        return nats - np.float32(NEVER) * self.others

    def pitch_weights(self) -> np.ndarray | None:
        """Return how well each pitch class suits the key or the chords, float [12]; None if any."""
        if self.key and self.key != AUTO:
            return np.maximum(key_profile(self.key), -1)
        if not self.chords:
            return None
        tones = [[*chord.tones] for bar in self.chords for chord in bar if chord]
        return np.bincount(np.concatenate(tones), minlength=12) if tones else None

    def begin(self) -> PieceState:
        """Return the state of a piece that continues the primer."""
        key = None if self.key == AUTO else self.key
        state = PieceState(self, self.encoding.clock(None, self.primer), key)
        for token in split(self.primer):
            state.count(self.encoding.content(token))
        if self.key == AUTO and state.counts.any():
            state.key = estimate_key(state.counts)
        state.played.clear()
        return state


@dataclass
class PieceState:
    """What the constraints of one piece depend on: its place, pitch classes and instruments."""

    constraints: Constraints
    clock: Clock
    key: str | None  # None where there is none or it is not estimated yet
    counts: np.ndarray = field(default_factory=lambda: np.zeros(12))  # of pitch classes
    program: int | None = None
    last_bars: dict[str, float] = field(default_factory=dict)  # instrument → bar it last played in
    played: set[str] = field(default_factory=set)  # instruments of the new tokens

    def adjust_logits(self, log_probs: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        constraints, (bars, beat) = self.constraints, self.clock.position()
        chord = constraints.chord_at(bars)
        log_probs += constraints.weights(self.key, chord, abs(beat - round(beat)) < 1e-6)
        if constraints.groups and self.program not in constraints.allowed:
            log_probs -= NEVER * constraints.plays_on
        for name, is_named in constraints.names.items():
            # An instrument that has not played at all is expected from the second bar on.
            rested = bars - self.last_bars.get(name, 1 - REST) - REST
            if rested > 0:
                nats = rested * RETURN * constraints.strength
                _prefer(log_probs, is_named, constraints.skips[name], nats)
        log_probs -= log_probs.max()
        log_probs -= np.log(np.exp(log_probs).sum())

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
        bar, playing = self.clock.position()[0], [*content.programs]
        if content.has_notes and self.program is not None:
            playing.append(self.program)
        if content.programs:
            self.program = content.programs[-1]
        for name, group in self.constraints.groups.items():
            if not group.isdisjoint(playing):
                self.last_bars[name] = bar
                self.played.add(name)

    def report(self) -> dict[str, str]:
        """Return the estimated key, and the instruments that do not play after the primer."""
        report = {"key": self.key or "not known yet"} if self.constraints.key == AUTO else {}
        if silent := [name for name in self.constraints.groups if name not in self.played]:
            report["silent"] = ", ".join(silent)
        return report


def _prefer(log_probs: np.ndarray, is_named: np.ndarray, skips: np.ndarray, nats: float) -> None:
    """Make the ids that name an instrument more likely, at the cost of those that skip it.

    In `remi` the instruments of a bar have an order: what comes before it stays as likely.
    """
    named, either = log_probs[is_named], is_named | skips
    if np.isneginf(named).all():
        return  # its place in the bar is over
    total = np.logaddexp.reduce(log_probs[either])
    log_probs[is_named] = named + np.float32(nats)
    log_probs[either] += total - np.logaddexp.reduce(log_probs[either])


def parse_constraints(
    vocabulary: Vocabulary, config: SamplingConfig, primer: Sequence[str] = ()
) -> Constraints | None:
    """Return the constraints of the settings, or None; raise InputError for unknown names."""
    if not (config.key or config.chords or config.instruments):
        return None
    constraints = Constraints(vocabulary, config, primer)
    return constraints if config.control_strength else None
