"""What may follow what: an automaton over ids, worked out as pieces come; knows no tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import Generic, TypeVar

import numpy as np

State = TypeVar("State", bound=Hashable)
END = 0  # vocabularies.END's id
NOWHERE = -1  # where a forbidden id leads


class Grammar(Generic[State]):
    """Say which of `size` ids may stand where; `follow` gives the state after an id, or None.

    States are numbered as they are met, the start is 0. A state's row of forbidden ids is learned
    only where something depends on it, and most states of a trained network never need theirs: it
    costs a call of `allowed`, or else of `follow` for each id there is. All pieces, in all threads,
    share what is known.
    Rows are 0 or -inf: adding one to log probabilities costs less than picking places by booleans.
    """

    def __init__(
        self,
        follow: Callable[[State, int], State | None],
        size: int,
        start: State,
        allowed: Callable[[State], np.ndarray] | None = None,
    ) -> None:
        """Know nothing yet but the start; `allowed` gives a state's row at once, bool [size]."""
        self._follow, self._size, self._allowed = follow, size, allowed
        self._states, self._numbers = [start], {start: 0}
        self._after: dict[tuple[int, int], int] = {}
        self._rows = np.zeros((64, size), np.float32)  # -inf: known to be forbidden in this state
        self._learned: set[int] = set()
        self._stuck: set[int] = set()  # states where no id but END is allowed
        self._lock = Lock()

    def after(self, states: Sequence[int], ids: Iterable[int]) -> list[int]:
        """Return the state after each id in the state at its place, NOWHERE if forbidden there."""
        known = self._after
        try:
            return [known[pair] for pair in zip(states, ids, strict=True)]
        except KeyError:
            return [self._step(*pair) for pair in zip(states, ids, strict=True)]

    def go(self, states: Sequence[int], ids: Iterable[int]) -> list[int]:
        """Return the state after each id; one that is forbidden leaves the state as it is."""
        found = self.after(states, ids)
        if NOWHERE not in found:
            return found
        return [old if new == NOWHERE else new for old, new in zip(states, found, strict=True)]

    def listen(self, ids: Iterable[int]) -> int:
        """Return the state after a piece that may break the rules: misfits change nothing."""
        state = 0
        for number in ids:
            (state,) = self.go([state], [number])
        return state

    def learn(self, states: Iterable[int]) -> None:
        """Make the rows of these states."""
        for state in set(states) - self._learned:
            here = self._states[state]
            if self._allowed:
                row = ~self._allowed(here)
            else:
                ids = range(self._size)
                row = np.array([self._follow(here, number) is None for number in ids])
            with self._lock:
                self._rows[state, row] = -np.inf
                if all(row[END + 1 :]):
                    self._stuck.add(state)
                self._learned.add(state)

    def mask(self, states: Sequence[int], *, may_end: bool) -> np.ndarray:
        """Return float32 [B, V] to add to log probabilities: -inf where known to be forbidden.

        Where nothing would be left to choose, nothing is forbidden: a piece goes on somehow.
        """
        found = self._rows.take(states, 0)
        if self._stuck:
            for row, state in enumerate(states):
                if state in self._stuck and not (may_end and found[row, END] == 0):
                    found[row] = 0
        return found

    def _step(self, state: int, number: int) -> int:
        """Find out, and remember, the state after an id."""
        found = self._follow(self._states[state], number)
        with self._lock:
            if found is None:
                after = NOWHERE
            elif (after := self._numbers.get(found, NOWHERE)) == NOWHERE:
                after = len(self._states)
                if after == len(self._rows):
                    self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
                self._states.append(found)
                self._numbers[found] = after
            self._after[state, number] = after
        return after
