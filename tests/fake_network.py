"""A network made up for the tests of sampling: seven ids, no weights."""

from collections.abc import Sequence

import numpy as np

SIZE = 7
_TABLE = np.log(np.random.default_rng(0).dirichlet([0.1, *[1] * (SIZE - 1)], 997))


class FakeLanes:
    """Give probabilities that depend on all ids heard."""

    def __init__(self, states: np.ndarray) -> None:
        self._states = states

    def step(self, ids: np.ndarray) -> np.ndarray:
        self._states = (self._states * 31 + ids + 1) % len(_TABLE)
        return _TABLE[self._states]

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> "FakeLanes":
        return FakeLanes(self._states[np.asarray(rows, int)])


class FakeNetwork:
    """Give lanes, as network.Network does."""

    digest = "of no weights"

    def initial_state(self, rows: int = 1) -> FakeLanes:
        return FakeLanes(np.zeros(rows, int))
