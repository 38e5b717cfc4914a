"""The command line that the doors share: types of values, the music's flags, the exit status."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midilstm.files import InputError
from midilstm.tokens import ENCODINGS


def number_from(
    low: float, high: float, what: str, kind: type[float] = float, off: float | None = None
) -> Callable[[str], Any]:
    """Return a reader of numbers from low to high, or `off`, for the command line."""

    def read(text: str) -> float:
        number = kind(text)
        if not low <= number <= high and number != off:
            raise argparse.ArgumentTypeError(f"{text} is not {what}")
        return number

    read.__name__ = "number"  # argparse names it where the text is none
    return read


positive_int = number_from(1, math.inf, "a whole number above zero", int)
count = number_from(0, math.inf, "a whole number, zero or above", int)
share = number_from(0, math.nextafter(1, 0), "from 0 up to (not including) 1")
mass = number_from(sys.float_info.min, 1, "a share above 0, up to 1")
# Below it, float32 cannot divide by it.
temperature = number_from(0.01, 100, "0, nor from 0.01 to 100", off=0)


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read and how they are split and batched."""
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {what}" for name, (_, what) in ENCODINGS.items())
    add("--encoding", choices=ENCODINGS, default="notes", help=kinds)
    add("--bpe", type=count, default=0, help="byte-pair merges to learn, not in notes (0 = off)")
    on_or_off = argparse.BooleanOptionalAction
    add("--pedal", action=on_or_off, default=True, help="the sustain pedal lengthens notes")
    add_reading_arguments(parser)
    add = parser.add_argument_group("pieces").add_argument
    add("--validation", type=share, default=0.1, help="share of the pieces held out (0 = none)")
    add("--seed", type=int, default=0, help="fixes every random choice")
    add("--batch-size", type=positive_int, default=16, help="lanes side by side")
    add("--seq-length", type=positive_int, default=64, help="tokens a step")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read, and how."""
    add = parser.add_argument_group("music").add_argument
    add("--data-dir", type=Path, default=Path("data"), help="folder of MIDI files")
    add("--jobs", type=positive_int, default=os.cpu_count() or 1, help="processes that read MIDI")
    seconds = number_from(sys.float_info.min, sys.float_info.max, "a number of seconds above zero")
    add("--max-file-seconds", type=seconds, default=20.0, help="give up on a file after this long")
    add("--min-notes", type=count, default=0, help="skip pieces with fewer notes (0 = keep all)")
    workers = "read the files on the workers of this Dask scheduler (none = on this machine)"
    add("--scheduler", metavar="tcp://HOST:PORT", help=workers)


def corpus_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the flags that load_corpus takes beside the folder, under its names for them."""
    names: tuple[str, ...] = ("pedal", "validation", "seed", "bpe", "min_notes")
    names += ("jobs", "max_file_seconds", "scheduler")
    return {"name": arguments.encoding, **{name: getattr(arguments, name) for name in names}}


def run(work: Callable[[], None]) -> int:
    """Do a script's work: a person's mistake becomes one sentence and status 2, Ctrl-C 130."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        work()
    except (InputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0
