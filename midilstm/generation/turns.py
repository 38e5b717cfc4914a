"""Let each instrument of a piece play in its share of the bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from midilstm.tokenizers.base import TokenContent
from midilstm.tokenizers.vocabulary import Vocabulary

NEVER = 1e4  # nats: practically impossible, and yet finite, so that rows can be compared
# Nats for each bar that an instrument plays less than its share, and for a whole bar less.
RETURN, MUST = 4.0, 100.0


class Turn(NamedTuple):
    """Ids, bool [V] each, that name an instrument in a bar or leave it out there.

    Those that are `late` are merged and do so after something else, such as the end of a note.
    """

    names: np.ndarray
    skips: np.ndarray
    late: np.ndarray


@dataclass
class Turns:
    """The bars in which each instrument of a piece plays, so that it gets its share of them."""

    vocabulary: Vocabulary
    program: int | None = None  # the one that plays now
    bars: dict[int, set[int]] = field(default_factory=dict)  # program → bars in which it plays

    def copy(self) -> Turns:
        """Return an independent copy."""
        return replace(self, bars={program: {*bars} for program, bars in self.bars.items()})

    def count(self, content: TokenContent, bar: int) -> None:
        """Count a token that ends in a bar: the programs that play there."""
        playing = [*content.programs]
        if content.has_notes and self.program is not None:
            playing.append(self.program)
        if content.programs:
            self.program = content.programs[-1]
        for program in playing:
            self.bars.setdefault(program, set()).add(bar)

    def prefer_absent(
        self, log_probs: np.ndarray, shares: Mapping[int, float], bar: int, strength: float = 1
    ) -> None:
        """Make programs more likely that would play in less than their shares of the bars so far.

        `log_probs` float32 [V], of the next id in this bar, is changed in place.
        """
        for program, share in shares.items():
            turns = turns_of(self.vocabulary, program, is_playing=program == self.program)
            for index, turn in enumerate(turns, bar):
                played = self.bars.get(program, ())
                missing = round(share * (index + 1) - len(played), 6)
                if index not in played and missing > 0:
                    take_turn(
                        log_probs, turn, MUST if missing >= 1 else missing * RETURN * strength
                    )


@cache
def turns_of(
    vocabulary: Vocabulary, program: int, *, is_playing: bool = False
) -> tuple[Turn, Turn]:
    """Return the turn of a program in the bar of the next token, and in the bar after it.

    A program that `is_playing` plays on without its name where the vocabulary is solo.
    """
    encoding, tokens = vocabulary.encoding, vocabulary.tokens[1:]

    def skip(texts: list[str], *, end: bool) -> np.ndarray:
        return np.array([end, *(bool(x) and encoding.skips(x, (program,)) for x in texts)])

    first_parts = [token.split(" ")[0] for token in tokens]
    skips = skip([*tokens], end=True)
    # A merged token may begin the next bar before it names the program.
    contents, goes_on = map(encoding.content, tokens), is_playing and vocabulary.is_solo
    is_named = [program in x.programs or (goes_on and x.plays_on) for x in contents]
    names = np.array([False, *is_named]) & ~skips
    this_bar = Turn(names, skips, skips & ~skip(first_parts, end=True))
    begins_bar = np.array([False, *(encoding.bars(token) > 0 for token in tokens)])
    next_skips = skip([_in_next_bar(vocabulary, token) for token in tokens], end=False)
    return this_bar, Turn(begins_bar & ~next_skips, next_skips, next_skips)


def _in_next_bar(vocabulary: Vocabulary, token: str) -> str:
    """Return the parts of a merged token after the beginning of a bar, if any."""
    encoding, parts = vocabulary.encoding, token.split(" ")
    starts = [i for i, part in enumerate(parts) if encoding.bars(part) > 0]
    return " ".join(parts[starts[-1] + 1 :]) if starts and encoding.keeps_meter else ""


def take_turn(log_probs: np.ndarray, turn: Turn, nats: float) -> None:
    """Make the ids that name an instrument more likely, at the cost of those that skip it.

    Inside a note, which names none, only late ids skip it, and others end the note.
    """
    if np.isneginf(log_probs[turn.names]).all():
        log_probs -= np.float32(nats) * turn.late
    else:
        prefer(log_probs, turn.names, turn.skips, nats)


def prefer(log_probs: np.ndarray, is_named: np.ndarray, skips: np.ndarray, nats: float) -> None:
    """Make some ids more likely by some nats, at the cost of others alone.

    In `remi` the instruments of a bar have an order: what comes before one stays as likely.
    """
    named, either = log_probs[is_named], is_named | skips
    if np.isneginf(named).all():
        return
    total = _log_sum(log_probs[either])
    log_probs[is_named] = named + np.float32(nats)
    log_probs[either] += total - _log_sum(log_probs[either])


def _log_sum(log_probs: np.ndarray) -> np.float32:
    """Return the log of the sum of probabilities, faster than np.logaddexp.reduce."""
    highest = log_probs.max()
    return np.float32(highest + np.log(np.exp(log_probs - highest).sum()))
