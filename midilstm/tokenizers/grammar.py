"""Which tokens may follow: the grammar of `tsd` and `remi`, and that of any encoding as masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from math import inf
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from midilstm.midi import DRUMS
from midilstm.tokenizers.meter import (
    COMMON_TIME,
    POSITIONS,
    parse_signature,
    parts,
    to_miditok_meter,
)

ANY, ANY_PROGRAM = "any", -2  # a state's kind and program where these are to forbid nothing
UNNAMED = -3  # the program of a piece that must name one before its first note


class State(NamedTuple):
    """The kind of a piece's last token, its program, and its position in the bar."""

    kind: str
    program: int | None = None
    position: int = -1
    room: float = POSITIONS * COMMON_TIME[0]  # positions in a bar


# The kinds of token that may follow each kind. "" is the end; a piece begins as if after the name
# of its encoding. A new piece begins with the header that each file's tokens have, and is "new"
# until then; the tokens of a primer need not have one.
_AFTER_NOTE = {"Program", "Pitch", "PitchDrum"}
FOLLOWING = {
    "tsd": {"TimeShift", "Program", "Pitch"},
    "TimeShift": {"TimeShift", *_AFTER_NOTE},
    "remi": {"Bar"},
    "new remi": {"Bar"},
    "new Bar": {"TimeSig"},
    "new TimeSig": {"Position"},
    "new Position": {"Tempo"},
    "Bar": {"Bar", "TimeSig", "Position"},
    "TimeSig": {"Bar", "Position"},
    "Position": {"Tempo", *_AFTER_NOTE},
    "Tempo": {"Bar", "Position", "", *_AFTER_NOTE},
    "Program": {"Pitch", "PitchDrum"},
    "Pitch": {"Velocity"},
    "PitchDrum": {"Velocity"},
    "Velocity": {"Duration"},
    "Duration": {"TimeShift", "Bar", "Position", "", *_AFTER_NOTE},
    "": set[str](),
}
FOLLOWING[ANY] = set().union(*FOLLOWING.values())
# After these a piece would hold part of a note, or a setting of no note.
INCOMPLETE = {"Program", "Pitch", "PitchDrum", "Velocity", "Position"}


def next_state(state: State, token: str) -> State | None:
    """Return the state after a token, None if it is forbidden; "" ends the piece."""
    for part in token.split(" "):
        kind, value = parts(part)
        was, program, position, room = state
        if kind not in FOLLOWING[was]:
            return None
        if kind == "Program":
            if (new := int(value)) == program:
                return None
            program = new
        elif kind in ("Pitch", "PitchDrum"):
            # In the state of a primer, a program of None means piano.
            is_drum, wants_drum = program == DRUMS, kind == "PitchDrum"
            if program == UNNAMED or (program != ANY_PROGRAM and is_drum != wants_drum):
                return None
        elif kind == "Bar":
            position = -1
        elif kind == "TimeSig":
            room = POSITIONS * to_miditok_meter(parse_signature(value))[0]
        elif kind == "Position":
            if not position <= (new := int(value)) < room:
                return None
            position = new
        begins = was.startswith("new ") and kind != "Tempo"
        state = State(f"new {kind}" if begins else kind, program, position, room)
    return state


def state_factors(state: State) -> tuple[State, ...]:
    """Return states of kind, program and position alone: each rule depends on one of them."""
    return (
        State(state.kind, ANY_PROGRAM, -1, inf),
        State(ANY, state.program, -1, inf),
        State(ANY, ANY_PROGRAM, state.position, state.room),
    )


S = TypeVar("S", bound=Hashable)
END_ID = 0  # the first entry of each vocabulary: the end of a piece


class Grammar(Generic[S]):
    """Tell which of `size` ids may follow, where `next_state` gives the state after an id or None.

    A piece begins in the state `start`, one that continues a primer in `body_state`. A state
    forbids what any of its `state_factors` does; each of those costs `size` calls of `next_state`,
    once for all pieces.
    """

    def __init__(
        self,
        next_state: Callable[[S, int], S | None],
        size: int,
        start: S,
        state_factors: Callable[[S], tuple[S, ...]] = lambda state: (state,),
        body_state: S | None = None,
    ) -> None:
        """Set up a grammar without any row of a mask yet."""
        self._next_state, self._size, self._state_factors = next_state, size, state_factors
        self._start, self._body_state = start, start if body_state is None else body_state
        self._forbidden, self._row = cache(self._forbidden_ids), cache(self._mask_row)

    def advance(self, states: Sequence[S], ids: Iterable[int]) -> list[S]:
        """Return the state after each id; one that is forbidden leaves the state as it is."""
        after = map(self._next_state, states, ids)
        return [old if new is None else new for old, new in zip(states, after, strict=True)]

    def state_after(self, ids: Sequence[int]) -> S:
        """Return the state after a piece's ids; those that are forbidden change nothing."""
        state = self._body_state if ids else self._start
        for token_id in ids:
            (state,) = self.advance([state], [token_id])
        return state

    def mask(self, states: Sequence[S], *, may_end: bool) -> np.ndarray:
        """Return float32 [B, V] to add to log probabilities: -inf where an id is forbidden, else 0.

        Where nothing would be left to choose, nothing is forbidden.
        """
        return np.stack([self._row(state, may_end) for state in states])

    def _mask_row(self, state: S, may_end: bool) -> np.ndarray:
        forbidden = np.any([self._forbidden(x) for x in self._state_factors(state)], axis=0)
        forbidden &= not forbidden[END_ID if may_end else END_ID + 1 :].all()
        return np.where(forbidden, -np.inf, 0).astype(np.float32)

    def _forbidden_ids(self, state: S) -> np.ndarray:
        return np.array([self._next_state(state, i) is None for i in range(self._size)])
