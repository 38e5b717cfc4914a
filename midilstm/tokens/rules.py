"""The grammar of `tsd` and `remi`: which of MidiTok's tokens may follow which. Knows no ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

DRUMS = -1  # MidiTok's program of percussion
# Positions in a beat: the fewest that hold triplets and sixteenths alike (benchmarks/bands.md).
POSITIONS = 12
COMMON_TIME = (4, 4)


class State(NamedTuple):
    """What must be known of a piece to tell what may follow: its last token, and where it is."""

    kind: str = ""
    program: int | None = None
    position: int = -1
    beats: int = COMMON_TIME[0]


# The kinds of token that may follow each kind; a note's three stand in order. "": start and end.
_AFTER_NOTE = {"Program", "Pitch", "PitchDrum"}
FOLLOWING = {
    "tsd": {
        "": {"TimeShift", "Program", "Pitch"},
        "TimeShift": {"TimeShift", *_AFTER_NOTE},
        "Program": {"Pitch", "PitchDrum"},
        "Pitch": {"Velocity"},
        "PitchDrum": {"Velocity"},
        "Velocity": {"Duration"},
        "Duration": {"TimeShift", "", *_AFTER_NOTE},
    },
    "remi": {
        "": {"Bar"},
        "Bar": {"Bar", "TimeSig", "Position"},
        "TimeSig": {"Bar", "Position"},
        "Position": {"Tempo", *_AFTER_NOTE},
        "Tempo": {"Bar", "Position", "", *_AFTER_NOTE},
        "Program": {"Pitch", "PitchDrum"},
        "Pitch": {"Velocity"},
        "PitchDrum": {"Velocity"},
        "Velocity": {"Duration"},
        "Duration": {"Bar", "Position", "", *_AFTER_NOTE},
    },
}
# After these a piece would hold half a note, or say what nothing follows.
INCOMPLETE = {"Program", "Pitch", "PitchDrum", "Velocity", "Position"}


WORD = re.compile(
    r"Bar_None|TimeSig_[1-9]\d?/[1-9]\d?|Tempo_\d+\.\d+|Program_(-1|\d+)"
    r"|(Position|Pitch|PitchDrum|Velocity)_\d+|(Duration|TimeShift)_\d+\.\d+\.[1-9]\d*"
)


def is_token(token: str) -> bool:
    """Tell whether a token, or each part of a merged one, looks like one of MidiTok's."""
    return all(WORD.fullmatch(part) for part in token.split(" "))


def parts(token: str) -> tuple[str, str]:
    """Return a token's kind and value."""
    kind, _, value = token.partition("_")
    return kind, value


def follow(state: State, token: str, name: str) -> State | None:
    """Return the state after a token, None where it may not stand; "" ends the piece."""
    kind, value = parts(token)
    was, program, position, beats = state
    if kind not in FOLLOWING[name][was]:
        return None
    if kind == "Program":
        was_program, program = program, int(value)
        if program == was_program:
            return None
    elif kind in ("Pitch", "PitchDrum"):
        # A piece that has named no instrument yet is for piano.
        if (program == DRUMS) != (kind == "PitchDrum"):
            return None
    elif kind == "Bar":
        position = -1
    elif kind == "TimeSig":
        beats = int(value.split("/")[0])
    elif kind == "Position":
        was_position, position = position, int(value)
        if not was_position <= position < POSITIONS * beats:
            return None
    return State(kind, program, position, beats)


class _Demands(NamedTuple):
    """What a token, merged of parts or not, asks of the state before it."""

    first: str  # the kind of its first part
    sound: bool = True  # whether its parts may follow each other at all
    drums: int = -1  # 1: the program must be of drums, 0: it must not; -1: either
    program: int = -3  # may not be on already; -3: nothing is asked
    place: int = -1  # a position before any bar: the one before may not be later
    last_place: int = -1  # a position before any time signature: the bar must reach beyond it


def _demands(token: str, name: str) -> _Demands:
    """Work out what a token asks, by what its parts say before anything else has said it."""
    pairs = [parts(part) for part in token.split(" ")]
    asked = _Demands(pairs[0][0])
    state = State("", None, -1, 0)  # beats of 0: none were named
    is_placed = False
    for number, (kind, value) in enumerate(pairs):
        sound = number == 0 or kind in FOLLOWING[name][state.kind]
        if kind == "Program":
            sound &= int(value) != state.program
            if state.program is None:
                asked = asked._replace(program=int(value))
            state = state._replace(program=int(value))
        elif kind in ("Pitch", "PitchDrum"):
            drums = kind == "PitchDrum"
            if state.program is None:
                sound &= asked.drums in (-1, drums)
                asked = asked._replace(drums=int(drums))
            else:
                sound &= (state.program == DRUMS) == drums
        elif kind == "Bar":
            state, is_placed = state._replace(position=-1), True
        elif kind == "TimeSig":
            state = state._replace(beats=int(value.split("/")[0]))
        elif kind == "Position":
            place = int(value)
            if is_placed:
                sound &= state.position <= place
            else:
                asked = asked._replace(place=place)
            if state.beats:
                sound &= place < POSITIONS * state.beats
            else:
                asked = asked._replace(last_place=max(asked.last_place, place))
            state, is_placed = state._replace(position=place), True
        state = state._replace(kind=kind)
        asked = asked._replace(sound=asked.sound and sound)
    return asked


def allowed(tokens: Sequence[str], name: str) -> Callable[[State], np.ndarray]:
    """Return a function that tells of every token whether it may follow in a state, bool [V].

    It says what `follow` says of one token after another ("": the end), all at once.
    """
    import numpy as np

    asked = [_demands(token, name) for token in tokens]
    columns = zip(
        *((row.drums, row.program, row.place, row.last_place) for row in asked), strict=True
    )
    drums, program, place, last_place = map(np.array, columns)
    of_kind = {
        kind: np.array([row.sound and row.first in after for row in asked])
        for kind, after in FOLLOWING[name].items()
    }

    def row_of(state: State) -> np.ndarray:
        found = of_kind[state.kind] & ((drums < 0) | (drums == (state.program == DRUMS)))
        if state.program is not None:
            found &= program != state.program
        return (
            found
            & ((place < 0) | (place >= state.position))
            & (last_place < POSITIONS * state.beats)
        )

    return row_of
