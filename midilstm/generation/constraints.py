"""What a person asks of harmony and instruments, as weights on what may be drawn.

Each wish changes the log probabilities of ids: less for notes foreign to a key or chord, more for
an instrument that has rested for long; others than those asked for are as good as forbidden. Knows
what tokens sound, and no network and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from midilstm import midi
from midilstm.fileio import InputError
from midilstm.generation.harmony import AUTO, chords_of, estimate_key, key_profile
from midilstm.tokenizers.base import Clock, TokenContent, split
from midilstm.tokenizers.vocabulary import Vocabulary

# Nats at strength 1 for each pitch class: foreign to the key or, off the beat, to a chord's scale;
# in the key, times how far from home; and foreign to a chord on the beat.
FOREIGN, HOME, CHORD = 1.0, 0.5, 2.0
HEARD = 32  # pitch classes after which the key of a piece is known
NEVER = 1e4  # nats: as good as endless, and yet one can be less unlikely than another
REST, RETURN = 4.0, 2.0  # bars that an instrument may rest, and nats for each bar beyond
FAMILIES = (  # of General MIDI, eight programs each
    *("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive"),
    "sound effects",
)
WISHES = ("key", "chords", "instruments")


class Constraints:
    """The wishes for all pieces of a call; `Listener` is one piece."""

    def __init__(self, vocabulary: Vocabulary, asked: Mapping[str, Any]) -> None:
        """Read the options' values; raise InputError for what is no key, chord or instrument."""
        self.encoding, self.tokens = vocabulary.encoding, vocabulary.tokens
        self.strength, self.key = asked["control_strength"], asked["key"]
        if self.key and self.key != AUTO:
            key_profile(self.key)  # or InputError
        self.chords = chords_of(asked["chords"]) if asked["chords"] else ()
        sounds = [TokenContent(), *map(self.encoding.content, self.tokens[1:])]
        known = {program for sound in sounds for program in sound.programs}
        self.groups = parse_instruments(asked["instruments"], known) if asked["instruments"] else {}
        self.wanted = set().union(*self.groups.values()) if self.groups else known

        def table(value: Callable[[TokenContent], object]) -> np.ndarray:
            return np.array([*map(value, sounds)], np.float32)

        self.classes = table(lambda sound: [x in sound.pitch_classes for x in range(12)])
        self.plays = table(lambda sound: sound.has_notes)
        self.others = table(lambda sound: not self.wanted.issuperset(sound.programs))
        self.names = {
            name: np.array([not group.isdisjoint(s.programs) for s in sounds], np.float32)
            for name, group in self.groups.items()
        }
        self.weights = cache(self._weights)

    def _weights(self, key: str | None, bar: int, on_beat: bool) -> np.ndarray:
        """Return the nats, float32 [V], that harmony adds in a bar, on a beat or off it."""
        weights = np.zeros(12)
        if key:
            weights = np.maximum(HOME * key_profile(key), -FOREIGN)
        if self.chords:
            tones, scale = self.chords[bar]
            weights[[*tones]] = 0
            if on_beat:
                weights[[x for x in range(12) if x not in tones]] = -CHORD
            elif not key:
                weights[[x for x in range(12) if x not in scale]] = -FOREIGN
        nats = self.classes @ (self.strength * weights).astype(np.float32)
        return nats - np.float32(NEVER) * self.others

    def begin(self, primer: Sequence[str] = ()) -> PieceState:
        """Return a listener to one piece, which goes on from a primer's tokens."""
        listener = PieceState(self, self.encoding.clock(None, primer))
        for token in split(primer):
            listener.take(self.encoding.content(token))
        if self.key == AUTO and listener.counts.any():
            listener.key = estimate_key(listener.counts)
        return listener

    def found(self, tokens: Iterable[str], primer: Sequence[str] = ()) -> dict[str, str]:
        """Say what came of the wishes in a piece's new tokens, for people."""
        listener = self.begin(primer)
        listener.last = {}
        for token in tokens:
            listener.listen(token)
        said = {"key": listener.key or "not known yet"} if self.key == AUTO else {}
        silent = [name for name in self.groups if name not in listener.last]
        return {**said, **({"silent": ", ".join(silent)} if silent else {})}


@dataclass
class PieceState:
    """One piece as far as it has been heard, and so what is asked of its next id."""

    control: Constraints
    clock: Clock
    counts: np.ndarray = field(default_factory=lambda: np.zeros(12))  # of pitch classes
    key: str | None = None
    program: int | None = None
    last: dict[str, float] = field(default_factory=dict)  # instrument → the bar it last played in

    def __post_init__(self) -> None:
        self.key = None if self.control.key == AUTO else self.control.key

    def bend(self, scores: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        asked, (bars, beat) = self.control, self.clock.position()
        bar = int(bars + 1e-6) % max(1, len(asked.chords))
        scores += asked.weights(self.key, bar, abs(beat - round(beat)) < 1e-6)
        if asked.groups and self.program not in asked.wanted:
            scores -= NEVER * asked.plays
        for name, names in asked.names.items():
            # What has not played at all is awaited from the second bar on.
            rested = bars - self.last.get(name, 1 - REST) - REST
            if rested > 0:
                scores += rested * RETURN * asked.strength * names
        scores -= scores.max()
        scores -= np.log(np.exp(scores).sum())

    def hear(self, number: int) -> None:
        """Take in the piece's next id."""
        self.listen(self.control.tokens[number])

    def listen(self, token: str) -> None:
        """Take in the piece's next token."""
        self.clock.advance(token)
        self.take(self.control.encoding.content(token))
        if self.control.key == AUTO and not self.key and self.counts.sum() >= HEARD:
            self.key = estimate_key(self.counts)

    def take(self, sounds: TokenContent) -> None:
        """Count a token's pitch classes, and note which instruments play."""
        for pitch_class in sounds.pitch_classes:
            self.counts[pitch_class] += 1
        now, playing = self.clock.position()[0], [*sounds.programs]
        if sounds.has_notes and self.program is not None:
            playing.append(self.program)
        if sounds.programs:
            self.program = sounds.programs[-1]
        for name, group in self.control.groups.items():
            if not group.isdisjoint(playing):
                self.last[name] = now


def parse_constraints(vocabulary: Vocabulary, asked: Mapping[str, Any]) -> Constraints | None:
    """Return what the options' values ask for, None for nothing; raise InputError for nonsense."""
    found = Constraints(vocabulary, asked) if any(asked[name] for name in WISHES) else None
    return found if asked["control_strength"] else None


def parse_instruments(names: str, known: set[int]) -> dict[str, frozenset[int]]:
    """Return the programs, of those known, that each name between commas stands for.

    It is an instrument, a part of its name, or a family such as bass. Raise InputError for none.
    """
    found = {}
    for name in (word.strip().lower() for word in names.split(",")):
        alike = {p for p in known if name and name in midi.instrument_name(p).lower()}
        family = {p for p in known if p >= 0 and FAMILIES[p // 8] == name}
        is_drums = name in ("drums", "percussion")  # and not steel drums
        found[name] = frozenset(known & {midi.DRUMS} if is_drums else family | alike)
        if not found[name]:
            have = ", ".join(midi.instrument_name(p) for p in sorted(known)) or "no instruments"
            raise InputError(f"the model knows no instrument {name!r}: it knows {have}")
    return found
