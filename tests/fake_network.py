"""A network of seven ids whose probabilities depend on the whole history, for tests of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from midilstm.tokenizers.vocabulary import END, Vocabulary

VOCABULARY = Vocabulary((END, "C4", "D4", "E4", "F4", "G4", "A4"))
SIZE = len(VOCABULARY)
_TABLE = np.log(np.random.default_rng(0).dirichlet([0.1, *[1] * (SIZE - 1)], 997))


class FakeState:
    """Hold a hash of each row's ids, which selects its probabilities."""

    def __init__(self, hashes: np.ndarray) -> None:
        self._hashes = hashes

    def step(self, ids: np.ndarray) -> np.ndarray:
        self._hashes = (self._hashes * 31 + ids + 1) % len(_TABLE)
        return _TABLE[self._hashes]

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> FakeState:
        return FakeState(self._hashes[np.asarray(rows, int)])


class FakeNetwork:
    """Stand in for generation.network.Network."""

    digest = "of no weights"
    metrics: ClassVar[dict[str, float]] = {}

    def initial_state(self, rows: int = 1) -> Any:
        return FakeState(np.zeros(rows, int))
