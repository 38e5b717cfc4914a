"""The order of the tokens of `remi`: bar by bar and, inside a bar, instrument by instrument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import NamedTuple

from midilstm.midi import DRUMS
from midilstm.tokenizers.meter import beats_of, parts

BASS = range(32, 40)  # General MIDI programs
Rank = tuple[bool, bool, bool, int]


@cache
def program_rank(program: int) -> Rank:
    """Return the place of a program in a bar: drums, then bass, then ascending programs.

    Numbers that are no program come before all programs.
    """
    return program >= DRUMS, program != DRUMS, program not in BASS, program


def by_instrument(tokens: Iterable[str]) -> list[str]:
    """Return a piece's unmerged tokens in the order of `remi`, whatever order they have in a bar.

    `Bar`, `TimeSig`, (`Position`, `Tempo`)*, then per program `Program`, then per position
    `Position`, (`Pitch`, `Velocity`, `Duration`)*. Of the notes of one program, position and pitch
    the longest is kept; incomplete notes are left out.
    """
    ordered: list[str] = []
    tempos: dict[int, str] = {}  # those of the bar, by position
    notes: dict[tuple[Rank, int, int], list[str]] = {}  # those of the bar
    program, position, note = 0, 0, list[str]()
    for token in [*tokens, ""]:
        kind, value = parts(token)
        if kind in ("Bar", ""):
            ordered += _bar_tokens(tempos, notes)
            tempos, notes, position = {}, {}, 0
        if kind in ("Bar", "TimeSig"):
            ordered.append(token)
        elif kind == "Tempo":
            tempos[position] = token
        elif kind == "Program":
            program = int(value)
        elif kind == "Position":
            position = int(value)
        else:
            note = [token] if kind.startswith("Pitch") else [*note, token]
        if kind == "Duration" and len(note) == 3:
            key = program_rank(program), position, int(parts(note[0])[1])
            notes[key] = max(notes.get(key, note), note, key=_length)
    return ordered


def omit_programs(tokens: Iterable[str]) -> list[str]:
    """Return tokens in that order with each program's name only where another one played before."""
    program, kept = "", list[str]()
    for token in tokens:
        if token != program:
            kept.append(token)
        if parts(token)[0] == "Program":
            program = token
    return kept


def _length(note: list[str]) -> float:
    return beats_of(parts(note[2])[1])


def _bar_tokens(
    tempos: dict[int, str], notes: dict[tuple[Rank, int, int], list[str]]
) -> Iterator[str]:
    """Yield the tokens that follow a bar's time signature."""
    for position, tempo in sorted(tempos.items()):
        yield from (f"Position_{position}", tempo)
    for rank, of_program in groupby(sorted(notes), lambda key: key[0]):
        yield f"Program_{rank[-1]}"
        for position, keys in groupby(of_program, lambda key: key[1]):
            yield f"Position_{position}"
            for key in keys:
                yield from notes[key]


class Place(NamedTuple):
    """Where a token stands in its bar: the places of a bar's tokens are ascending."""

    rank: Rank = program_rank(DRUMS - 1)  # at first that of no program
    position: int = -1
    pitch: int = -1
    offset: int = 0  # among the tokens of this position and pitch


def next_place(place: Place, kind: str, value: str) -> Place:
    """Return the place of a token after the place of the one before it."""
    if kind == "Bar":
        return Place()
    if kind == "Program":
        return Place(program_rank(int(value)))
    if kind == "Position":
        return Place(place.rank, int(value))
    if kind.startswith("Pitch"):
        return Place(place.rank, place.position, int(value))
    return Place(place.rank, place.position, place.pitch, place.offset + 1)
