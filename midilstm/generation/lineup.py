"""Keep a piece to the instruments of its opening, and each to what it plays there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from midilstm.generation.opening import NEVER, Part
from midilstm.tokenizers.base import Clock
from midilstm.tokenizers.vocabulary import Vocabulary


@cache
def _token_tables(vocabulary: Vocabulary) -> tuple[np.ndarray, list[frozenset[int]]]:
    """Return the pitch of each id, int [V], -1 for none, and the programs that it names."""
    contents = [vocabulary.encoding.content(token) for token in vocabulary.tokens[1:]]
    pitches = [-1, *(content.pitches[0] if content.pitches else -1 for content in contents)]
    return np.array(pitches), [frozenset(), *(frozenset(x.programs) for x in contents)]


@dataclass
class Lineup:
    """The parts of one piece, and what of them its last token makes impossible.

    A program without a part is excluded if `is_closed`. The pitches of a part stay in its range,
    and an instrument that never plays two notes at once does not begin to.
    """

    vocabulary: Vocabulary
    parts: Mapping[int, Part]
    is_closed: bool
    clock: Clock
    program: int | None = None
    onset: tuple[int | None, float] | None = None  # program and quarter note of the last note
    rows: dict[tuple[int | None, bool], np.ndarray] = field(default_factory=dict)

    def penalties(self) -> np.ndarray:
        """Return the nats, float32 [V], to subtract from the log probabilities of the next id."""
        is_sounding = self.onset == (self.program, self.clock.quarter)
        key = self.program, is_sounding
        if key not in self.rows:
            self.rows[key] = self._row(self.parts.get(self.program or 0), is_sounding)
        return self.rows[key]

    def _row(self, part: Part | None, is_sounding: bool) -> np.ndarray:
        pitches, programs = _token_tables(self.vocabulary)
        is_excluded = np.zeros(len(pitches), bool)
        if self.is_closed:
            is_excluded |= [not names.issubset(self.parts) for names in programs]
        if part:
            outside = (pitches < part.lowest) | (pitches > part.highest)
            is_excluded |= (pitches >= 0) & (outside | (is_sounding and not part.is_polyphonic))
        return np.where(is_excluded, NEVER, 0).astype(np.float32)

    def add_token(self, token: str) -> None:
        """Add the piece's next token."""
        self.clock.advance(token)
        content = self.vocabulary.encoding.content(token)
        if content.programs:
            self.program = content.programs[-1]
        if content.pitches:
            self.onset = self.program, self.clock.quarter
