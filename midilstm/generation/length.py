"""How much new music a piece gets, in tokens, bars or seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from midilstm.config import MAX_TOKENS, SamplingConfig
from midilstm.tokenizers.vocabulary import Vocabulary

# A piece is given up after this many tokens per unit of length.
MAX_TOKENS_PER_UNIT = {"chars": 1, "bars": 2000, "seconds": 1000}


@dataclass(frozen=True)
class PieceLength:
    """An amount of tokens ("chars"), bars or seconds that follow a primer's tokens.

    After a primer the bar of the first new note is the first one, and seconds begin with that note.
    """

    amount: float
    unit: str
    vocabulary: Vocabulary
    bpm: float | None = None  # overrides the tempo of the tokens
    primer: Sequence[str] = ()

    @staticmethod
    def of(
        config: SamplingConfig, vocabulary: Vocabulary, primer: Sequence[str] = ()
    ) -> PieceLength:
        """Return the length that the settings ask for."""
        lengths = {"chars": config.chars, "bars": config.bars, "seconds": config.seconds}
        amount, unit = next((x, name) for name, x in lengths.items() if x is not None)
        return PieceLength(amount, unit, vocabulary, config.bpm, primer)

    @property
    def max_tokens(self) -> int:
        """Return the number of tokens after which a piece is cut off at the latest."""
        return min(math.ceil(self.amount) * MAX_TOKENS_PER_UNIT[self.unit], MAX_TOKENS)

    @property
    def is_exact(self) -> bool:
        """Tell whether the length is a number of tokens."""
        return self.unit == "chars"

    def __str__(self) -> str:
        unit = "tokens" if self.is_exact else self.unit
        return f"{self.amount:g} {unit if self.amount != 1 else unit[:-1]}"

    def id_counter(self) -> Callable[[int], bool]:
        """Return a function that tells of one id after another whether it is beyond the length."""
        is_beyond = self._token_counter()
        return lambda token_id: is_beyond(self.vocabulary.tokens[token_id])

    def cut(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens of ids, without what the last, if merged, has beyond the length."""
        is_beyond = (lambda _: False) if self.is_exact else self._token_counter()
        tokens = [self.vocabulary.tokens[token_id].split(" ") for token_id in ids]
        parts = ([part for part in token if not is_beyond(part)] for token in tokens)
        return [" ".join(kept) for kept in parts if kept]

    def _token_counter(self) -> Callable[[str], bool]:
        clock = self.vocabulary.encoding.clock(self.bpm, self.primer)

        def is_beyond(token: str) -> bool:
            bars, seconds = clock.advance(token)
            return (bars if self.unit == "bars" else seconds) >= self.amount

        return is_beyond
