"""The names of General MIDI programs, and what musicians call them."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import NamedTuple

from midilstm.fileio import InputError
from midilstm.midi.score import DRUMS, instrument_name

PITCHED_CHANNELS = 15
FAMILIES = (  # of General MIDI, eight programs each
    *("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive"),
    "sound effects",
)
# The programs that an everyday name stands for, the usual one first.
EVERYDAY: dict[str, tuple[int, ...]] = {
    "piano": tuple(range(8)),
    "grand piano": (0, 1, 2),
    "electric piano": (4, 5, 2),
    "rhodes": (4,),
    "vibes": (11,),
    "organ": tuple(range(16, 21)),
    "hammond": (16, 17, 18),
    "pipe organ": (19,),
    "guitar": tuple(range(24, 32)),
    "acoustic guitar": (24, 25),
    "classical guitar": (24,),
    "electric guitar": (27, 26, 28, 29, 30),
    "bass": (33, 32, *range(34, 40)),
    "upright bass": (32,),
    "double bass": (32, 43),
    "electric bass": (33, 34, 35, 36, 37),
    "strings": (48, 49, *range(40, 46), 50, 51),
    "harp": (46,),
    "choir": (52, 53, 54),
    "voice": (53, 52, 54),
    "trumpet": (56, 59),
    "horn": (60,),
    "brass": (61, *range(56, 61), 62, 63),
    "sax": (65, 66, 64, 67),
    "flute": (73,),
    "synth": tuple(range(80, 96)),
    "bells": (14, 9),
    "drums": (DRUMS,),
    "drum kit": (DRUMS,),
    "percussion": (DRUMS,),
}
# The lowest and highest MIDI pitch of winds, which play one note at once, as they sound.
WINDS = {
    **{56: (52, 84), 57: (40, 74), 58: (28, 60), 59: (52, 84), 60: (36, 77)},  # brass
    **{64: (56, 88), 65: (49, 81), 66: (44, 76), 67: (36, 69)},  # saxophones
    **{68: (58, 91), 69: (52, 81), 70: (34, 75), 71: (50, 91)},  # other reeds
    **{72: (74, 108), 73: (60, 96), 74: (60, 98)},  # piccolo, flute, recorder
}
COUNTED = re.compile(r"(\d{1,3}) +(\D.*)")
FIRST_EFFECT = 120  # effects such as Guitar Fret Noise are found by their whole names only


class Choice(NamedTuple):
    """How many programs a name of --instruments asks for, and those known, the usual one first."""

    number: int
    programs: tuple[int, ...]


def find_programs(text: str) -> tuple[list[int], bool]:
    """Return the programs that a name or number may mean, and whether the first is the usual one.

    A name is an everyday name, one of General MIDI or of its families, or a part of such names,
    best their beginning.
    """
    name = " ".join(text.lower().replace("saxophone", "sax").split())
    names = {instrument_name(program).lower(): program for program in range(128)}
    if name.isdecimal():
        return [int(name)] if int(name) < len(names) else [], True
    if name in EVERYDAY:
        return list(EVERYDAY[name]), True
    if name in names:
        return [names[name]], True
    if name in FAMILIES:
        first = 8 * FAMILIES.index(name)
        return list(range(first, first + 8)), False
    parts = {x: program for x, program in names.items() if program < FIRST_EFFECT and name in x}
    beginnings = [program for x, program in parts.items() if x.startswith(name)]
    others = [program for program in parts.values() if program not in beginnings]
    return beginnings + others if name else [], len(beginnings or others) == 1


def program_of(text: str) -> int:
    """Return the program of a number or name; raise InputError for none, drums, or several."""
    programs, is_clear = find_programs(text)
    if is_clear and programs and programs[0] != DRUMS:
        return programs[0]
    if text.isdecimal():
        raise InputError(f"{text} is not a General MIDI program from 0 to 127")
    hint = "try piano, guitar, bass, sax, strings, church organ or flute"
    if programs and not is_clear:
        hint = f"it could be {', '.join(map(instrument_name, programs))}"
    raise InputError(f"{text!r} is not the name of one General MIDI instrument: {hint}")


def parse_instruments(text: str, known: set[int]) -> dict[str, Choice]:
    """Return by name the programs, of those known, that names such as "piano, 2 sax" stand for.

    Raise InputError for a name that fits none, or for too few programs.
    """
    choices = {}
    for name in (word.strip().lower() for word in text.split(",")):
        match = COUNTED.fullmatch(name)
        digits, kind = match.groups() if match else ("1", name)
        programs = tuple(x for x in find_programs(kind)[0] if x in known)
        choices[name] = Choice(int(digits), programs)
        if not programs:
            names = ", ".join(map(instrument_name, sorted(known))) or "no instruments"
            raise InputError(f"the model knows no instrument {kind!r}: it knows {names}")
        if not 1 <= choices[name].number <= len(programs):
            names = ", ".join(map(instrument_name, programs))
            raise InputError(f"{name!r} is not possible: of {kind} the model knows {names}")
    return choices


def choose_programs(
    choices: Mapping[str, Choice], preferred: Container[int] = ()
) -> dict[int, str]:
    """Return the programs that play, and the name that each stands for.

    Of the programs of a name those that are `preferred` come first, and no program is chosen twice
    where others are left.
    """
    chosen: dict[int, str] = {}
    for name, (number, programs) in choices.items():
        ordered = sorted(programs, key=lambda x: (x in chosen, x not in preferred))
        chosen |= {program: chosen.get(program, name) for program in ordered[:number]}
    return chosen


def programs_of_channels(counts: Mapping[int, int]) -> dict[int, int]:
    """Return the program that plays the notes of each program, given notes per program.

    MIDI has fifteen channels for pitched instruments. If there are more programs, the notes of
    the rarest are played by the most similar program that remains.
    """
    kept = sorted((p for p in counts if p != DRUMS), key=lambda p: -counts[p])[:PITCHED_CHANNELS]
    return {
        p: p if p in (DRUMS, *kept) else min(kept, key=lambda other: program_distance(other, p))
        for p in counts
    }


def program_distance(program: int, other: int) -> tuple[bool, int]:
    """Return whether programs differ in General MIDI family, and how far apart they are."""
    return program // 8 != other // 8, abs(program - other)
