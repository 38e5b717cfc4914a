"""The command line that the scripts share: types of values, the music's flags, the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from midilstm.files import InputError
from midilstm.tokens import ENCODINGS


def positive_int(text: str) -> int:
    """Read a whole number above zero from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above zero")
    return number


def count(text: str) -> int:
    """Read a whole number, zero or above, from the command line."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return number


def seconds(text: str) -> float:
    """Read a length of time above zero from the command line."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero")
    return number


def share(text: str) -> float:
    """Read a share from 0 up to, not including, 1 from the command line."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 up to (not including) 1")
    return number


def number_from(low: float, high: float, what: str) -> Callable[[str], float]:
    """Return a reader of numbers from low to high, both allowed, for the command line."""

    def read(text: str) -> float:
        number = float(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text} is not {what}")
        return number

    read.__name__ = "number"  # argparse names it where the text is none
    return read


def mass(text: str) -> float:
    """Read a share of all probability, above 0, from the command line."""
    return number_from(sys.float_info.min, 1, "a share above 0, up to 1")(text)


def temperature(text: str) -> float:
    """Read a temperature from the command line: 0, or one that float32 can divide by."""
    number = float(text)
    if number and not 0.01 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not 0, nor from 0.01 to 100")
    return number


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read and how they are split and batched."""
    add_reading_arguments(parser)
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="notes",
        help="notes: pitches alone; tsd: rhythm, too; remi: bars, tempo and the whole band, too",
    )
    parser.add_argument(
        "--bpe", type=count, default=0, help="byte-pair merges to learn, not in notes (0 = off)"
    )
    group = parser.add_argument_group("pieces")
    group.add_argument(
        "--validation", type=share, default=0.1, help="share of the pieces held out (0 = none)"
    )
    group.add_argument("--seed", type=int, default=0, help="fixes every random choice")
    group.add_argument("--batch-size", type=positive_int, default=16, help="lanes side by side")
    group.add_argument("--seq-length", type=positive_int, default=64, help="tokens a step")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read, and how."""
    group = parser.add_argument_group("music")
    group.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of MIDI files")
    group.add_argument(
        "--jobs", type=positive_int, default=os.cpu_count() or 1, help="processes that read MIDI"
    )
    group.add_argument(
        "--max-file-seconds", type=seconds, default=20.0, help="give up on a file after this long"
    )
    group.add_argument(
        "--min-notes", type=count, default=0, help="skip pieces with fewer notes (0 = keep all)"
    )
    group.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="read the files on the workers of this Dask scheduler (none = on this machine)",
    )


def run(work: Callable[[], None]) -> int:
    """Do a script's work: a person's mistake becomes one sentence and status 2, Ctrl-C 130."""
    try:
        work()
    except (InputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0
