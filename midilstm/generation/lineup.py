"""Keep a piece to the meters and instruments of its opening, and each to what it plays there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

import numpy as np

from midilstm.generation.opening import Opening, Part
from midilstm.generation.turns import NEVER, Turns
from midilstm.midi import DRUMS
from midilstm.tokenizers.base import Clock, TokenContent
from midilstm.tokenizers.meter import parts as kind_and_value
from midilstm.tokenizers.vocabulary import Vocabulary


@cache
def _contents(vocabulary: Vocabulary) -> list[TokenContent]:
    """Return what each id plays."""
    return [TokenContent(), *map(vocabulary.encoding.content, vocabulary.tokens[1:])]


@cache
def _drums(vocabulary: Vocabulary) -> list[set[int]]:
    """Return the pitches of the drums of each id."""
    tokens = [map(kind_and_value, token.split(" ")) for token in vocabulary.tokens]
    return [{int(x) for kind, x in token if kind == "PitchDrum"} for token in tokens]


@cache
def _ids_beside(vocabulary: Vocabulary, pitch: int) -> np.ndarray:
    """Return the ids of notes a semitone from a pitch, int [n]."""
    beside = {pitch - 1, pitch + 1}
    contents = _contents(vocabulary)
    return np.array([i for i, x in enumerate(contents) if beside & {*x.pitches[:1]}], int)


@dataclass
class Lineup:
    """The opening of one piece, and how it changes the log probabilities of the next id.

    Meters other than the opening's are excluded, and programs without a part if `is_closed`. The
    pitches of a part stay in its range, and an instrument that never plays two notes at once does
    not begin to; a program without a part keeps to its `usual` one. An instrument that plays in
    too few bars, if `is_closed`, becomes more likely.
    """

    vocabulary: Vocabulary
    opening: Opening
    is_closed: bool
    clock: Clock
    usual: Mapping[int, Part] = field(default_factory=dict)  # of programs without a part
    onset: tuple[int | None, float] | None = None  # program and quarter note of the last note
    onsets: dict[float, set[int]] = field(default_factory=dict)  # quarter note → pitches
    rows: dict[tuple[int | None, bool], np.ndarray] = field(default_factory=dict)
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        """Begin without a note."""
        self.turns = Turns(self.vocabulary)
        self.shares = {program: part.share_of_bars for program, part in self.opening.parts.items()}

    def adjust_logits(self, log_probs: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        program = self.turns.program
        is_sounding = self.onset == (program, self.clock.quarter)
        key = program, is_sounding
        if key not in self.rows:
            self.rows[key] = self._penalties(program, is_sounding)
        log_probs -= self.rows[key]
        part = self._part(program)
        if part and not part.has_seconds:
            for pitch in self.onsets.get(self.clock.quarter, ()):
                log_probs[_ids_beside(self.vocabulary, pitch)] -= NEVER
        if self.is_closed:
            bar = int(self.clock.position()[0] + 1e-6)
            self.turns.prefer_absent(log_probs, self.shares, bar)

    def _part(self, program: int | None) -> Part | None:
        """Return what a program may play, None for anything."""
        if program is None:
            return None
        return self.opening.parts.get(program) or self.usual.get(program)

    def _penalties(self, program: int | None, is_sounding: bool) -> np.ndarray:
        """Return the nats, float32 [V], of ids that the program may not play now."""
        contents = _contents(self.vocabulary)
        opened = chain.from_iterable(contents[token_id].meters for token_id in self.opening.ids)
        meters, parts = frozenset(opened), self.opening.parts
        part = self._part(program)
        pitches = np.array([content.pitches[0] if content.pitches else -1 for content in contents])
        is_excluded = np.array([not meters.issuperset(content.meters) for content in contents])
        if self.is_closed:
            is_excluded |= [not parts.keys() >= set(content.programs) for content in contents]
        if drums := self._part(DRUMS):
            is_excluded |= [not pitches.issubset(drums.kit) for pitches in _drums(self.vocabulary)]
        if part:
            outside = (pitches < part.lowest) | (pitches > part.highest)
            is_excluded |= (pitches >= 0) & (outside | (is_sounding and not part.is_polyphonic))
        return np.where(is_excluded, NEVER, 0).astype(np.float32)

    def add_token(self, token: str) -> None:
        """Add the piece's next token."""
        self.clock.advance(token)
        content = self.vocabulary.encoding.content(token)
        self.turns.count(content, int(self.clock.position()[0] + 1e-6))
        if content.pitches:
            self.onset = self.turns.program, self.clock.quarter
            self.onsets.setdefault(self.clock.quarter, set()).update(content.pitches)
