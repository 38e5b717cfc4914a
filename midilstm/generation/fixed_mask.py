"""Tell which ids keep to the fixed notes of a piece, by a walk through the parts of all ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from midilstm.generation.fixed_notes import BITS, FixedNotes
from midilstm.midi.bars import EARLY
from midilstm.tokenizers.meter import POSITIONS, beats_of, parts
from midilstm.tokenizers.vocabulary import Vocabulary

# Kinds of the parts of tokens. The first four are also rows of a place: see fixed_notes.BITS.
BAR, PROGRAM, POSITION, PITCH, VALUE, SETTING, END, NONE = range(8)
KINDS = {"Bar": BAR, "TimeShift": BAR, "Program": PROGRAM, "Position": POSITION, "Pitch": PITCH}
KINDS |= {"PitchDrum": PITCH, "Velocity": VALUE, "Duration": VALUE, "": END}
# Further rows of a place: the next event, the next code that may be forced, and the number of notes
# drawn in the bar, or in `tsd` at the moment, with its limit.
EVENT, CURSOR, N_DRAWN = 4, 5, 6
MAX_DRAWN = 500
FLOOR = -600.0  # nats below the best: less likely is as unlikely, so that shares are above 0


class Parts(NamedTuple):
    """What a part of each of some ids does, arrays of their number."""

    rows: np.ndarray  # int: which of the ids
    kinds: np.ndarray  # int
    codes: np.ndarray  # int: the ids of the parts
    is_drawn: np.ndarray  # bool: it is neither forced nor leads to the next event
    is_allowed: np.ndarray  # bool
    leaves: np.ndarray  # bool: it leads to the next event, or passes it


class FixedMask:
    """Change log probabilities so that the ids that are drawn keep to the fixed notes.

    An id is allowed if none of its parts passes the next event, begins a note of a program that is
    not drawn there, or differs from what is forced. An id that passes the next event says that no
    more is to be drawn before it: its probability goes to those that begin with the same parts and
    then lead there. A place is int64 [7].
    """

    def __init__(self, fixed: FixedNotes, vocabulary: Vocabulary, drawn: Collection[int]) -> None:
        """Split all tokens into parts; notes of the programs `drawn` are drawn."""
        self.fixed = fixed
        split = [[""], *(token.split(" ") for token in vocabulary.tokens[1:])]
        size, longest = len(split), max(map(len, split))
        self.table = np.full((3, size, longest), NONE)  # kind, value and code of each part
        self.nodes = np.zeros((size, longest + 1), int)  # equal where the first parts are
        nodes: dict[tuple[int, str], int] = {}
        for token_id, names in enumerate(split):
            for depth, name in enumerate(names):
                code = vocabulary.token_ids.get(name, 0)
                self.table[:, token_id, depth] = *_kind_and_value(name, fixed.programs), code
                node = nodes.setdefault((self.nodes[token_id, depth], name), len(nodes) + 1)
                self.nodes[token_id, depth + 1 :] = node
        self.n_nodes = len(nodes) + 1
        self.choices = lru_cache(maxsize=2**12)(self._choices)
        self.names_programs = fixed.has_bars and not vocabulary.is_solo  # in each bar
        is_drawn = [False, *(program in drawn for program in fixed.programs)]
        self.drawable = np.outer([*fixed.source.is_drawn, False], is_drawn)
        # In `tsd` the order of the pitches of a chord is free.
        self.bits = np.array([*BITS[:3], BITS[3] if fixed.has_bars else BITS[2], 0, 0, 0])

    def begin(self) -> np.ndarray:
        """Return the place before the piece."""
        return np.array([-1 if self.fixed.has_bars else 0, *[0] * N_DRAWN])

    def bars(self, places: np.ndarray) -> np.ndarray:
        """Return the bars, int [B], of places int64 [7, B]."""
        bars: np.ndarray = np.searchsorted(self.fixed.begins, places[BAR], "right") - 1
        return bars

    def walk(self, places: np.ndarray, ids: np.ndarray) -> Iterator[Parts]:
        """Yield what the first, second ... parts of ids [B] do; change their places int64 [7, B].

        An id is followed as far as it is allowed.
        """
        fixed, rows = self.fixed, np.arange(len(ids))
        for depth in range(self.table.shape[2]):
            rows = rows[self.table[0, ids[rows], depth] != NONE]
            if not len(rows):
                return
            kinds, values, codes = self.table[:, ids[rows], depth]
            place = places[:, rows]
            is_forced = place[CURSOR] < fixed.ends[place[EVENT]]
            is_inside, is_direct, passes = self._move(place, kinds, values)
            forced = fixed.codes[np.minimum(place[CURSOR], len(fixed.codes) - 1)]
            is_allowed = np.where(is_forced, codes == forced, is_inside | is_direct)
            is_drawn, leaves = ~(is_forced | is_direct), ~is_forced & (is_direct | passes)
            is_event = (kinds == PITCH) | (kinds == END) | (fixed.has_bars & (kinds == BAR))
            place[EVENT] += ~is_forced & is_direct & is_event
            place[CURSOR] += is_forced
            place[N_DRAWN] += is_drawn & (kinds == PITCH)
            places[:, rows] = place
            yield Parts(rows, kinds, codes, is_drawn, is_allowed, leaves)
            rows = rows[is_allowed]

    def _move(
        self, place: np.ndarray, kinds: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move places by parts; return which stay before the next event, lead to it, or pass it."""
        fixed, is_bar, is_end, moves = self.fixed, kinds == BAR, kinds == END, kinds <= PITCH
        target = fixed.keys[place[EVENT]]
        gap = (target >> BITS[BAR]) - place[BAR]
        best = fixed.shifts[np.searchsorted(fixed.shifts, gap, "right") - 1]
        rest = gap - values
        # No shift is so short: the next event is as good as reached.
        place[BAR] += is_bar * np.where((rest > 0) & (rest < fixed.shifts[0]), gap, values)
        place[BAR, is_end] = fixed.begins[-1]
        place[N_DRAWN, is_bar] = 0
        if self.names_programs:
            place[PROGRAM, is_bar] = 0
        place[POSITION, kinds < POSITION] = 0
        place[PITCH, kinds < PITCH] = 0
        for row in (PROGRAM, POSITION, PITCH):
            np.copyto(place[row], values, where=kinds == row)
        bars, key = self.bars(place), sum(place[row] << bits for row, bits in enumerate(BITS))
        order = (key >> self.bits[kinds]) - (target >> self.bits[kinds])
        is_direct = np.where(kinds == PITCH, key == target, moves & (order == 0))
        is_direct = np.where(is_bar, (values == best) & (order <= 0), is_direct)
        is_direct |= is_end & (place[EVENT] == len(fixed.keys) - 2)
        is_late = (kinds == POSITION) & (
            place[POSITION] > (fixed.rooms - fixed.grids // EARLY)[bars]
        )
        passes = ~is_direct & (moves & (order > 0) | is_late | is_end)
        can_draw = self.drawable[bars, place[PROGRAM]] & (place[N_DRAWN] < MAX_DRAWN)
        is_inside = (kinds == VALUE) | (moves & (can_draw | is_bar) & ~passes & ~is_direct)
        return is_inside, is_direct, passes

    def apply(self, places: np.ndarray, *tables: np.ndarray) -> list[np.ndarray]:
        """Return tables of log probabilities, float32 [B, V] each, of allowed ids; others are -inf.

        Ids of which the last table says -inf are not allowed. `places` is int64 [7, B].
        """
        places, targets = places.copy(), self.fixed.keys[places[EVENT]]
        keys = sum(places[row] << BITS[row] for row in (BAR, PROGRAM, POSITION))
        places[POSITION] *= keys >> BITS[POSITION] == targets >> BITS[POSITION]  # else all the same
        places[N_DRAWN] *= places[N_DRAWN] >= MAX_DRAWN
        places[PITCH] = 0
        rows = [self.choices(*place) for place in places.T.tolist()]
        is_allowed, passes, groups = (np.stack(x) for x in zip(*rows, strict=True))
        is_allowed &= tables[-1] > -np.inf
        passes &= tables[-1] > -np.inf
        groups += self.n_nodes * np.arange(len(rows))[:, None]
        changed = []
        for table in tables:
            exact = table - table.max(axis=1, keepdims=True).astype(float)
            shares, size = np.exp(np.maximum(exact, FLOOR)), self.n_nodes * len(rows)
            kept, passed = (np.bincount(groups[x], shares[x], size) for x in (is_allowed, passes))
            more = np.log1p(np.divide(passed, kept, where=kept > 0, out=np.zeros(size)))
            changed.append(np.where(is_allowed, table + more[groups], -np.inf))
        return changed

    def _choices(self, *place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of all ids which are allowed, and which pass the next event, bool [V] each.

        Also return int [V] which is equal for ids that begin with the same parts before they leave.
        """
        size = len(self.nodes)
        is_allowed, leaves = np.ones(size, bool), np.zeros(size, bool)
        depths = np.full(size, self.nodes.shape[1] - 1)  # of the first part that leaves
        places = np.repeat(np.array([place]).T, size, axis=1)
        for depth, part in enumerate(self.walk(places, np.arange(size))):
            is_allowed[part.rows[~part.is_allowed]] = False
            first = part.rows[part.leaves & ~leaves[part.rows]]
            depths[first], leaves[first] = depth, True
        return is_allowed, leaves & ~is_allowed, self.nodes[np.arange(size), depths]


def _kind_and_value(name: str, programs: list[int]) -> tuple[int, int]:
    """Return the kind of a part of a token, and its value as in a place."""
    kind, text = parts(name)
    if kind == "TimeShift":
        return BAR, round(beats_of(text) * POSITIONS)
    if kind == "Program":
        return PROGRAM, programs.index(int(text)) + 1
    number = KINDS.get(kind, SETTING)
    return number, int(text) + 1 if number in (POSITION, PITCH) else 1
