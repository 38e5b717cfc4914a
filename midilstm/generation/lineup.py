"""Keep a piece to the meters and instruments of its opening, and each to what it plays there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import chain

import numpy as np

from midilstm.generation.opening import Opening
from midilstm.generation.turns import NEVER, prefer
from midilstm.tokenizers.base import Clock, TokenContent
from midilstm.tokenizers.vocabulary import Vocabulary

# An instrument may miss so many of the bars in which it should play, as human players do; then it
# becomes more likely, by nats for each bar beyond, up to a limit.
REST, RETURN, MAX_RETURN = 1.0, 2.0, 8.0


@cache
def _contents(vocabulary: Vocabulary) -> list[TokenContent]:
    """Return what each id plays."""
    return [TokenContent(), *map(vocabulary.encoding.content, vocabulary.tokens[1:])]


@cache
def _choice(
    vocabulary: Vocabulary, program: int, *, is_playing: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return which ids name a program, and which skip its place in the bar, bool [V] each.

    A program that `is_playing` plays on without its name where the vocabulary is solo.
    """
    contents, goes_on = _contents(vocabulary), is_playing and vocabulary.is_solo
    names = np.array([program in x.programs or (goes_on and x.plays_on) for x in contents])
    skips = [vocabulary.encoding.skips(token, (program,)) for token in vocabulary.tokens[1:]]
    return names, np.array([True, *skips])


@dataclass
class Lineup:
    """The opening of one piece, and how it changes the log probabilities of the next id.

    Meters other than the opening's are excluded, and programs without a part if `is_closed`. The
    pitches of a part stay in its range, and an instrument that never plays two notes at once does
    not begin to. One that plays in too few bars, if `is_closed`, becomes more likely.
    """

    vocabulary: Vocabulary
    opening: Opening
    is_closed: bool
    clock: Clock
    program: int | None = None
    onset: tuple[int | None, float] | None = None  # program and quarter note of the last note
    bars: dict[int, set[int]] = field(default_factory=dict)  # program → bars in which it plays
    rows: dict[tuple[int | None, bool], np.ndarray] = field(default_factory=dict)

    def adjust_logits(self, log_probs: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        is_sounding = self.onset == (self.program, self.clock.quarter)
        key = self.program, is_sounding
        if key not in self.rows:
            self.rows[key] = self._penalties(is_sounding)
        log_probs -= self.rows[key]
        if self.is_closed:
            self._prefer_rested(log_probs, int(self.clock.position()[0] + 1e-6))

    def _prefer_rested(self, log_probs: np.ndarray, bar: int) -> None:
        """Make the instruments more likely that play in fewer bars than in the opening's piece."""
        for program, part in self.opening.parts.items():
            played = self.bars.get(program, ())
            missed = part.share_of_bars * (bar + 1) - len(played) - REST
            if missed > 0 and bar not in played:
                nats = min(missed * RETURN, MAX_RETURN)
                is_playing = program == self.program
                choice = _choice(self.vocabulary, program, is_playing=is_playing)
                prefer(log_probs, *choice, nats)

    def _penalties(self, is_sounding: bool) -> np.ndarray:
        """Return the nats, float32 [V], of ids that the program may not play now."""
        contents = _contents(self.vocabulary)
        opened = chain.from_iterable(contents[token_id].meters for token_id in self.opening.ids)
        meters, parts = frozenset(opened), self.opening.parts
        part = None if self.program is None else parts.get(self.program)
        pitches = np.array([content.pitches[0] if content.pitches else -1 for content in contents])
        is_excluded = np.array([not meters.issuperset(content.meters) for content in contents])
        if self.is_closed:
            is_excluded |= [not parts.keys() >= set(content.programs) for content in contents]
        if part:
            outside = (pitches < part.lowest) | (pitches > part.highest)
            is_excluded |= (pitches >= 0) & (outside | (is_sounding and not part.is_polyphonic))
        return np.where(is_excluded, NEVER, 0).astype(np.float32)

    def add_token(self, token: str) -> None:
        """Add the piece's next token."""
        self.clock.advance(token)
        content = self.vocabulary.encoding.content(token)
        bar = int(self.clock.position()[0] + 1e-6)
        for program in content.programs:
            self.program = program
            self.bars.setdefault(program, set()).add(bar)
        if content.has_notes and self.program is not None and self.vocabulary.is_solo:
            self.bars.setdefault(self.program, set()).add(bar)
        if content.pitches:
            self.onset = self.program, self.clock.quarter
