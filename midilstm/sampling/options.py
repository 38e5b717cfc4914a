"""The command line of sample.py; knows no model, no files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from midilstm import arguments as shared
from midilstm.arguments import count, positive_int
from midilstm.midi import INSTRUMENTS

# How the length of a piece is given, and with how many tokens for one of it a piece is given up.
LENGTHS = {"chars": 1, "bars": 2000, "seconds": 1000}
DEFAULT_CHARS = 100


def program(text: str) -> int:
    """Read a General MIDI program, a number or the beginning of one name, from the command line."""
    if text.isdecimal():
        if int(text) > 127:
            raise argparse.ArgumentTypeError(f"{text} is not a General MIDI program from 0 to 127")
        return int(text)
    names = [name.lower() for name in INSTRUMENTS]
    wanted = text.strip().lower()
    if wanted in names:
        return names.index(wanted)
    found = [number for number, name in enumerate(names) if name.startswith(wanted) and wanted]
    if len(found) == 1:
        return found[0]
    named = ", ".join(INSTRUMENTS[number] for number in found[:8])
    hint = f"it could be {named}" if found else "try violin, church organ or flute"
    raise argparse.ArgumentTypeError(f"{text!r} is not one General MIDI instrument: {hint}")


def add_lengths(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where a piece ends."""
    group = parser.add_argument_group("length, one of these")
    only = group.add_mutually_exclusive_group()
    only.add_argument(
        "--chars",
        type=positive_int,
        default=argparse.SUPPRESS,  # so that a given 100 can be told from none
        help="tokens to make: in notes each is a note or chord, in the other encodings several "
        f"make a note (default: {DEFAULT_CHARS})",
    )
    only.add_argument("--bars", type=positive_int, help="bars to make (none = see --chars)")
    only.add_argument(
        "--seconds",
        type=shared.number_from(0.001, 86_400, "a number of seconds from 0.001 to 86400"),
        help="seconds of music to make, at --bpm (none = see --chars)",
    )
    group.add_argument(
        "--until-end",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="stop where the model ends the piece; the length given is then the maximum",
    )


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """Add the flags that shape the music, and what it goes on from."""
    group = parser.add_argument_group("steering")
    group.add_argument(
        "--strict-grammar",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="never draw what the encoding's rules forbid, such as a length without a pitch",
    )
    group.add_argument(
        "--temperature",
        type=shared.temperature,
        default=1.0,
        help="below 1 safer, above 1 wilder (0 = always the likeliest)",
    )
    group.add_argument(
        "--top-k", type=count, default=0, help="draw from so many likeliest tokens (0 = off)"
    )
    group.add_argument(
        "--top-p",
        type=shared.mass,
        default=1.0,
        help="draw from the likeliest tokens that together have this probability (1.0 = off)",
    )
    group.add_argument(
        "--repetition-penalty",
        type=shared.number_from(1, 100, "a number from 1 to 100"),
        default=1.0,
        help="raise the probability of each of the last 64 tokens to this power (1.0 = off)",
    )
    group.add_argument("--primer", type=Path, metavar="FILE.mid", help="music to go on from")
    group.add_argument(
        "--include-primer",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="put the primer before the new music in the output",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how many pieces are made, from what, and where they go."""
    parser.add_argument(
        "--seed", type=count, help="makes the piece repeatable (none = drawn, printed)"
    )
    parser.add_argument(
        "--count", type=positive_int, default=1, help="pieces, with seeds --seed, --seed + 1, ..."
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="FILE.json",
        help="make the piece of this file again; flags given as well change it",
    )
    parser.add_argument(
        "--checkpoint",
        help="latest, best, or the number of an epoch (none = best where there is one, or latest)",
    )
    parser.add_argument(
        "--bpm",
        type=shared.number_from(4, 1000, "a tempo from 4 to 1000"),
        help="quarter notes a minute (none = what the model wrote, or 120)",
    )
    parser.add_argument(
        "--instrument",
        type=program,
        help="General MIDI name, or as much of it as is unique, or program 0 to 127 "
        "(none = what the model wrote, or piano)",
    )
    parser.add_argument(
        "--model-dir", type=Path, default=Path("model"), help="where the checkpoints are"
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("output"), help="where the music goes"
    )


def parse_args(argv: Sequence[str] | None = None, before: Sequence[str] = ()) -> argparse.Namespace:
    """Read the command line, after flags `before` that it overrides."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        description="Make new music with the model that train.py trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_lengths(parser)
    add_knobs(parser)
    add_output(parser)
    own = vars(parser.parse_args(argv))
    if any(own.get(name) is not None for name in LENGTHS):  # a length overrides any other
        before = [flag for flag in before if flag[2:].split("=")[0] not in LENGTHS]
    arguments = parser.parse_args([*before, *argv])
    arguments.argv = list(argv)
    arguments.chars = getattr(arguments, "chars", None)
    if arguments.chars is arguments.bars is arguments.seconds is None:
        arguments.chars = DEFAULT_CHARS
    if arguments.include_primer and not (arguments.primer or arguments.like):
        parser.error("--include-primer needs the music to include: --primer FILE.mid")
    if arguments.temperature == 0 and arguments.count > 1:
        parser.error("--temperature=0 makes every piece the same: leave out --count")
    return arguments
