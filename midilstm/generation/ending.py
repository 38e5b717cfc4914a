"""Let the model end a piece at a bar line near its length, on the tonic where a key is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from midilstm.generation.constraints import PieceState
from midilstm.generation.harmony import key_profile
from midilstm.generation.length import BARS_AFTER
from midilstm.generation.turns import MUST, NEVER, prefer
from midilstm.tokenizers.base import Clock
from midilstm.tokenizers.vocabulary import END_ID, Vocabulary

# Nats that END gains on the next bar: the model ends one of some tens of bars, and here one of two.
END_NATS = 4.0
NO_PITCH = 128  # above all
BARS_BEFORE = 2  # by which a piece may be shorter than its length


class _Tables(NamedTuple):
    """Of each id: whether it is END, where it lies in a bar, and its first pitch."""

    is_end: np.ndarray  # bool [V]
    begins_bar: np.ndarray  # bool [V]
    crosses_bar: np.ndarray  # float32 [V]: begins a bar after its first part
    is_late: np.ndarray  # float32 [V]: has a position after the beginning of a bar
    pitches: np.ndarray  # int [V], -1 for none


@cache
def _tables(vocabulary: Vocabulary) -> _Tables:
    encoding, tokens = vocabulary.encoding, vocabulary.tokens[1:]
    begins = np.array([False, *(encoding.bars(token.split(" ")[0]) > 0 for token in tokens)])
    bars = np.array([0, *map(encoding.bars, tokens)])
    pitches = np.array([-1, *((*encoding.content(token).pitches, -1)[0] for token in tokens)])
    is_end = np.arange(len(vocabulary)) == END_ID
    clocks = [encoding.clock() for _ in vocabulary.tokens]
    for clock, token in zip(clocks[1:], tokens, strict=True):
        clock.advance(token)
    is_late = np.array([clock.quarter > 0 for clock in clocks], np.float32)
    return _Tables(is_end, begins, (bars > begins).astype(np.float32), is_late, pitches)


@cache
def _tonic_chord(key: str) -> tuple[int, ...]:
    """Return the pitch classes of a key's tonic chord, the root first."""
    profile = key_profile(key)
    tonic = int(profile.argmax())
    third = 4 if np.isfinite(profile[(tonic + 4) % 12]) else 3
    return tonic, (tonic + third) % 12, (tonic + 7) % 12


@dataclass
class Ending:
    """What may follow in one piece, which is to have some `bars` and `clock` measures.

    END may take the place of the next bar from BARS_BEFORE bars before the length on. With a key it
    does so only where the lowest of the notes that the instruments play last is the tonic. Else the
    piece ends BARS_AFTER the length: in that bar the instruments play a single time, at its
    beginning, and with a key the tonic chord: first the tonic, and no other note below it.
    """

    vocabulary: Vocabulary
    bars: int
    clock: Clock
    constraints: PieceState | None
    program: int | None = None
    bar: int = -1  # the bar of the last note
    is_pitched: bool = False  # whether any note so far is
    last_notes: dict[int | None, tuple[float, int]] = field(default_factory=dict)  # of that bar

    def adjust_logits(self, log_probs: np.ndarray) -> None:
        """Change the log probabilities of the next id, float32 [V], in place."""
        tables, n_bars = _tables(self.vocabulary), int(self.clock.position()[0] + 1e-6) + 1
        is_last, key = n_bars >= self.bars + BARS_AFTER, self.constraints and self.constraints.key
        tonic = _tonic_chord(key) if key else ()
        if n_bars < self.bars - BARS_BEFORE:
            log_probs[END_ID] = -np.inf
            return
        log_probs -= NEVER * tables.crosses_bar
        if is_last:
            log_probs -= NEVER * tables.is_late
        is_empty = self.bar < n_bars - 1
        last_notes = {} if is_empty else self.last_notes
        lowest = min((pitch for _, pitch in last_notes.values()), default=NO_PITCH)
        if is_last and tonic:
            classes = tables.pitches % 12
            is_in_chord = np.isin(classes, tonic) & (tables.pitches > lowest)
            is_other = (tables.pitches >= 0) & (classes != tonic[0]) & ~is_in_chord
            log_probs -= NEVER / 10 * is_other
        is_home = not tonic or (lowest < NO_PITCH and lowest % 12 == tonic[0])
        needs_chord = is_last and self.is_pitched and lowest == NO_PITCH
        if is_empty or needs_chord:  # no bar is empty now, so that each can be the last one
            log_probs -= NEVER * tables.begins_bar
            log_probs[END_ID] = -np.inf
        elif is_last or is_home:
            nats = MUST if is_last else END_NATS
            prefer(log_probs, tables.is_end, tables.begins_bar, nats)
        else:
            log_probs[END_ID] = -np.inf

    def add_token(self, token: str) -> None:
        """Add the piece's next token, after which the clock stands."""
        content, (bars, _) = self.vocabulary.encoding.content(token), self.clock.position()
        if content.programs:
            self.program = content.programs[-1]
        if int(bars + 1e-6) != self.bar and (content.has_notes or content.programs):
            self.bar = int(bars + 1e-6)
            self.last_notes.clear()
        self.is_pitched |= bool(content.pitches)
        for pitch in content.pitches:
            start, lowest = self.last_notes.get(self.program, (-1.0, pitch))
            lowest = min(lowest, pitch) if start == self.clock.quarter else pitch
            self.last_notes[self.program] = self.clock.quarter, lowest
