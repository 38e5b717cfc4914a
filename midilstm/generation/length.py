"""How much new music a piece gets, in tokens, bars or seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from midilstm.config import MAX_TOKENS, SamplingConfig
from midilstm.fileio import warn
from midilstm.tokenizers.base import Clock, split
from midilstm.tokenizers.vocabulary import Vocabulary

# A piece is given up after this many tokens per unit of length.
MAX_TOKENS_PER_UNIT = {"tokens": 1, "bars": 2000, "seconds": 1000}
BARS_AFTER = 1  # the length, in which a piece with an ending ends at the latest


class PieceLength:
    """An amount of tokens, bars or seconds that follow a primer's tokens.

    The bar of the first new note is the first one; seconds begin with it, after a primer with that
    note.
    """

    def __init__(
        self, config: SamplingConfig, vocabulary: Vocabulary, primer: Sequence[str] = ()
    ) -> None:
        """Take the length and the tempo of the settings."""
        lengths = {"tokens": config.chars, "bars": config.bars, "seconds": config.seconds}
        self.unit, self.amount = next((name, x) for name, x in lengths.items() if x is not None)
        self.max_tokens = min(math.ceil(self.amount) * MAX_TOKENS_PER_UNIT[self.unit], MAX_TOKENS)
        self.is_exact = self.unit == "tokens"
        self.has_ending = config.ending and self.unit == "bars" and vocabulary.encoding.keeps_meter
        if config.ending and not vocabulary.encoding.keeps_meter:
            warn(f"{vocabulary.encoding_name} has no bars, so that --ending changes nothing")
        self._limit = self.amount + BARS_AFTER * self.has_ending
        self._encoding, self._bpm, self._primer = vocabulary.encoding, config.bpm, primer

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit if self.amount != 1 else self.unit[:-1]}"

    def begin(self) -> Clock | None:
        """Return the clock of a piece; None where the length is a number of tokens."""
        return None if self.is_exact else self._encoding.clock(self._bpm, self._primer)

    def cut(self, clock: Clock | None, token: str) -> str:
        """Advance a piece's clock by its next token; return the parts within the length."""
        if clock is None:
            return token
        times = ((part, *clock.advance(part)) for part in token.split(" "))
        is_bars = self.unit == "bars"
        return " ".join(
            part for part, bars, seconds in times if (bars if is_bars else seconds) < self._limit
        )

    def rest(self, tokens: Sequence[str]) -> float | None:
        """Return the quarter notes from the last token to the end of the bars or seconds.

        With an ending that is the end of the bar of the last note.
        """
        if not (clock := self.begin()):
            return None
        end = 0.0
        for token in split(tokens):
            clock.advance(token)
            if self.has_ending and self._encoding.content(token).has_notes:
                next_bar = int(clock.position()[0] + 1e-6) + 1
                end = clock.quarter + clock.quarters_to(bars=next_bar)
        if self.has_ending:
            return end - clock.quarter
        return clock.quarters_to(**{self.unit: self.amount})

    def drop_silence(self, tokens: Sequence[str]) -> list[str]:
        """Return a piece's tokens without silence before its first bar, unless tokens count."""
        begun = self._encoding.with_header(tokens, ())
        return list(tokens) if self.is_exact or begun == split(tokens) else begun
