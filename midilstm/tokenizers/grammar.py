"""Which tokens may follow: the grammar of `tsd` and `remi`, and that of any encoding as masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, lru_cache
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
from midilstm.tokenizers.order import program_rank

# A state's kind and program where these are to forbid nothing. Programs that no token names: none,
# though a note needs one, and piano, in a primer that names none.
ANY, ANY_PROGRAM, UNNAMED, DEFAULT = "any", -2, -3, -4


class State(NamedTuple):
    """The kind of a piece's last token, its program, and in `remi` its position and pitch.

    Where the next position or pitch may be the first one, they are -1. `carried` is the program of
    the notes before the bar, which go on without their program's name, or None where they may not.
    """

    kind: str
    program: int = DEFAULT
    position: int = -1
    room: float = POSITIONS * COMMON_TIME[0]  # positions in a bar
    pitch: int = -1
    carried: int | None = None


# The kinds of token that may follow each kind. "" is the end; a piece begins as if after the name
# of its encoding. A new piece begins with the header that each file's tokens have, and is "new"
# until then; the tokens of a primer need not have one.
Following = dict[str, set[str]]
_NOTE: Following = {"Pitch": {"Velocity"}, "PitchDrum": {"Velocity"}, "Velocity": {"Duration"}}
_TSD: Following = {
    "tsd": {"TimeShift", "Program", "Pitch"},
    "TimeShift": {"TimeShift", "Program", "Pitch", "PitchDrum"},
    "Program": {"Pitch", "PitchDrum"},
    **_NOTE,
    "Duration": {"TimeShift", "Program", "Pitch", "PitchDrum", ""},
}
_REMI: Following = {
    "remi": {"Bar"},
    "new remi": {"Bar"},
    "new Bar": {"TimeSig"},
    "new TimeSig": {"Position"},
    "new Position": {"Tempo"},
    "Bar": {"Bar", "TimeSig", "Position", "Program"},
    "TimeSig": {"Bar", "Position", "Program"},
    "Tempo": {"Bar", "Position", "Program", ""},
    "Program": {"Position"},
    "Position": {"Tempo", "Pitch", "PitchDrum"},
    **_NOTE,
    "Duration": {"Bar", "Program", "Position", "Pitch", "PitchDrum", ""},
}
FOLLOWING = {"tsd": _TSD, "remi": _REMI}
for _table in FOLLOWING.values():
    _table[ANY] = set().union(*_table.values())
# After these a piece would hold part of a note, or a setting of no note.
INCOMPLETE = {"Program", "Pitch", "PitchDrum", "Velocity", "Position"}


def next_state(state: State, token: str, encoding: str) -> State | None:
    """Return the state after a token, None if it is forbidden; "" ends the piece."""
    following, after = FOLLOWING[encoding], _after_in_remi if encoding == "remi" else _after_in_tsd
    for kind, value in _parts_of(token):
        if kind not in following.get(state.kind, ()):
            return None
        new = after(state, kind, value)
        if new is None:
            return None
        begins = state.kind.startswith("new ") and kind != "Tempo"
        state = new._replace(kind=f"new {kind}") if begins else new
    return state


@lru_cache(maxsize=2**14)
def _parts_of(token: str) -> tuple[tuple[str, str], ...]:
    return tuple(map(parts, token.split(" ")))


def _after_in_tsd(state: State, kind: str, value: str) -> State | None:
    """Return the state after a token of a kind that may follow, None if its value may not."""
    program = state.program
    if kind == "Program":
        return None if int(value) == program else State(kind, int(value))
    return State(kind, program) if _can_play(program, kind) else None


def _after_in_remi(state: State, kind: str, value: str) -> State | None:
    """Return the same; the order of programs, positions and pitches is `order.by_instrument`'s."""
    _, program, position, room, pitch, carried = state
    is_solo = carried is not None
    if kind == "Bar":
        carried = program if is_solo and program != UNNAMED else carried
        program = UNNAMED
    if kind in ("Bar", "Program") or (is_solo and kind == "Tempo"):
        position = -1  # of notes, which come after all tempos
    if kind in ("Bar", "Program", "Position"):
        pitch = -1
    if kind == "Program":
        program = int(value)
        is_later = program_rank(program) > program_rank(state.program)
        is_allowed = is_later or (is_solo and program != state.program)  # a primer has others
    elif kind == "Position":
        position = int(value)
        is_allowed = state.position < position < room
    elif kind in ("Pitch", "PitchDrum"):
        pitch = int(value)
        program = carried if carried is not None and program == UNNAMED else program
        is_allowed = pitch > state.pitch and _can_play(program, kind)
    else:
        is_allowed = kind != "Tempo" or program < DRUMS  # tempos stand before all programs
    if kind == "TimeSig":
        room = POSITIONS * to_miditok_meter(parse_signature(value))[0]
    return State(kind, program, position, room, pitch, carried) if is_allowed else None


def _can_play(program: int, kind: str) -> bool:
    """Tell whether a token of a kind, if it is a pitch, may follow a program."""
    if kind not in ("Pitch", "PitchDrum") or program == ANY_PROGRAM:
        return True
    return program != UNNAMED and (program == DRUMS) == (kind == "PitchDrum")


def state_factors(state: State) -> tuple[State, ...]:
    """Return states of kind, program, position or pitch alone: each rule needs one of them."""
    carried = None if state.carried is None else ANY_PROGRAM
    free = State(ANY, ANY_PROGRAM, room=inf, carried=carried)
    return (
        free._replace(kind=state.kind),
        free._replace(program=state.program, carried=state.carried),
        free._replace(position=state.position, room=state.room),
        free._replace(pitch=state.pitch),
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
        self._factor_row = cache(self._factor_mask)

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
        choice = slice(END_ID if may_end else END_ID + 1, None)
        mask = np.zeros((len(states), self._size), np.float32)
        for row, state in zip(mask, states, strict=True):
            for factor in self._state_factors(state):
                row += self._factor_row(factor)
            if row[choice].max() < 0:
                row[:] = 0
        return mask

    def _factor_mask(self, state: S) -> np.ndarray:
        forbidden = [self._next_state(state, i) is None for i in range(self._size)]
        return np.where(forbidden, -np.inf, 0).astype(np.float32)
