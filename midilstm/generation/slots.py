"""Where notes may be drawn between the fixed notes of a bar, and what each id would do there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from midilstm.generation.source_piece import FixedBar
from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.order import program_rank

INSIDE, EXCLUDED = -1, -2
Rank = tuple[int, ...]
BEFORE, AFTER = Rank((-1,)), Rank((2,))  # of all programs


class Slot(NamedTuple):
    """A place in a bar for drawn notes: the fixed tokens before it, and who may play in it.

    It ends where the program `next_fixed` begins, or with the bar where that is None.
    """

    forced: list[str]
    programs: frozenset[int]
    next_fixed: int | None


def slots_of(bar: FixedBar, programs: Iterable[int]) -> list[Slot]:
    """Return the places in a bar where these programs may play; the last one ends the bar."""
    slots, forced, last = list[Slot](), [*bar.header], BEFORE
    rank: Rank
    for program in [*sorted(bar.blocks, key=program_rank), None]:
        rank = AFTER if program is None else program_rank(program)
        between = frozenset(x for x in programs if last < program_rank(x) < rank)
        if between or program is None:
            slots.append(Slot(forced, between, program))
            forced = []
        if program is not None:
            forced, last = [*forced, *bar.blocks[program]], rank
    return slots


class Options(NamedTuple):
    """What each id would do in a slot.

    `groups` int [V] is INSIDE where the id stays in the slot, EXCLUDED where it is impossible, and
    otherwise the index in `kept` of the tokens that it begins with, after which it leaves the slot.
    """

    groups: np.ndarray
    kept: list[tuple[str, ...]]


def options_of(
    token_parts: Sequence[tuple[str, ...]],
    programs: frozenset[int],
    next_fixed: int | None,
    prefix: tuple[str, ...],
    *,
    is_fresh: bool,
) -> Options:
    """Return what each id does in a slot, after a prefix that it must begin with.

    `token_parts` has the parts of each id's token, none for END.
    """
    kept: dict[tuple[str, ...], int] = {(): 0}
    groups = [0]  # END leaves the slot
    for tokens in token_parts[1:]:
        group, new = EXCLUDED, tokens[len(prefix) :]
        if tokens[: len(prefix)] == prefix:
            n_inside = count_inside(new, programs, next_fixed, is_fresh=is_fresh)
            group = INSIDE if n_inside == len(new) else EXCLUDED
            if 0 <= n_inside < len(new):
                group = kept.setdefault(new[:n_inside], len(kept))
        groups.append(group)
    return Options(np.array(groups), [*kept])


def count_inside(
    tokens: Sequence[str], programs: frozenset[int], next_fixed: int | None, *, is_fresh: bool
) -> int:
    """Return how many of the parts of an id belong to a slot; -1 where they are impossible.

    Before anything else a slot must name a program, of those that may play in it.
    """
    end: Rank = AFTER if next_fixed is None else program_rank(next_fixed)
    for index, (kind, value) in enumerate(map(parts, tokens)):
        if kind == "Bar" or (kind == "Program" and program_rank(int(value)) >= end):
            return index
        if kind == "Program" and int(value) in programs:
            is_fresh = False
        elif kind == "Program" or is_fresh or kind in ("Tempo", "TimeSig"):
            return -1
    return len(tokens)
