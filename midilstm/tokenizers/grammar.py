"""What may follow what: the rules of `tsd` and `remi`, and any encoding's as masks over ids."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
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
    """What must be known of a piece to tell what may follow: its last token, and where it is."""

    kind: str
    program: int | None = None
    position: int = -1
    room: float = POSITIONS * COMMON_TIME[0]  # positions in a bar


# The kinds of token that may follow each kind; a note's three stand in order. "" is the end; a
# piece begins as if after its encoding's name. What all that is read states at its beginning, a
# new piece states, too, and is "new" until then; tokens from elsewhere need not.
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
# After these a piece would hold half a note, or say what nothing follows.
INCOMPLETE = {"Program", "Pitch", "PitchDrum", "Velocity", "Position"}


def next_state(state: State, token: str) -> State | None:
    """Return the state after a token, None where it may not stand; "" ends the piece."""
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
            # Tokens that have named no instrument yet are for piano.
            if program == UNNAMED:
                return None
            if program != ANY_PROGRAM and (program == DRUMS) != (kind == "PitchDrum"):
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
    """Return states of kind, program and place alone: all that a token asks, it asks of one."""
    return (
        State(state.kind, ANY_PROGRAM, -1, inf),
        State(ANY, state.program, -1, inf),
        State(ANY, ANY_PROGRAM, state.position, state.room),
    )


S = TypeVar("S", bound=Hashable)
END_ID = 0  # of the entry that every vocabulary begins with: the end of a piece


class Grammar(Generic[S]):
    """Say which of `size` ids may stand where; `follow` gives the state after an id, or None.

    A piece begins in the state `start`; one that goes on from a primer listens from `begun`.

    A state forbids what any of its `aspects` does; each of those costs a call of `follow` for each
    id, once for all pieces.
    """

    def __init__(
        self,
        follow: Callable[[S, int], S | None],
        size: int,
        start: S,
        state_factors: Callable[[S], tuple[S, ...]] = lambda state: (state,),
        body_state: S | None = None,
    ) -> None:
        """Know nothing yet but the start."""
        self._follow, self._ids, self._aspects = follow, range(size), state_factors
        self._start, self._begun = start, start if body_state is None else body_state
        self._forbidden: dict[S, np.ndarray] = {}  # aspect → bool [size]
        self._rows: dict[tuple[S, bool], np.ndarray] = {}  # state, may_end → float32 [size]

    def advance(self, states: Sequence[S], ids: Iterable[int]) -> list[S]:
        """Return the state after each id; one that is forbidden leaves the state as it is."""
        after = map(self._follow, states, ids)
        return [old if new is None else new for old, new in zip(states, after, strict=True)]

    def state_after(self, ids: Sequence[int]) -> S:
        """Return the state after a piece that may break the rules: misfits change nothing."""
        states = [self._begun if ids else self._start]
        for number in ids:
            states = self.advance(states, [number])
        return states[0]

    def mask(self, states: Sequence[S], *, may_end: bool) -> np.ndarray:
        """Return float32 [B, V] to add to log probabilities: -inf where an id is forbidden, else 0.

        Where nothing would be left to choose, nothing is forbidden: a piece goes on somehow.
        """
        for state in set(states):
            if (state, may_end) in self._rows:
                continue
            row = np.zeros(len(self._ids), bool)
            for aspect in self._aspects(state):
                if aspect not in self._forbidden:
                    found = [self._follow(aspect, number) is None for number in self._ids]
                    self._forbidden[aspect] = np.array(found)
                row |= self._forbidden[aspect]
            row &= not row[END_ID if may_end else END_ID + 1 :].all()
            self._rows[state, may_end] = np.where(row, -np.inf, 0).astype(np.float32)
        return np.stack([self._rows[state, may_end] for state in states])
