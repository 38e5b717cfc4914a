"""The command line that the doors share: types of values, the music's flags, the exit status."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from midilstm.fileio import InputError, printable
from midilstm.tokenizers import ENCODINGS


def bounded_number(
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


MANY = 2**31 - 1  # more than anything here can be done with
positive_int = bounded_number(1, MANY, "a whole number above zero, below 2^31", int)
count = bounded_number(0, MANY, "a whole number, zero or above, below 2^31", int)
pieces = bounded_number(0, 100_000, "a whole number from 0 to 100000", int)
length = bounded_number(0, 1_000_000, "a whole number from 0 to 1000000", int)
seed = bounded_number(0, 2**63 - 1, "a whole number from 0 to 2^63 - 1", int)
share = bounded_number(0, math.nextafter(1, 0), "from 0 up to (not including) 1")
mass = bounded_number(sys.float_info.min, 1, "a share above 0, up to 1")
# Below it, float32 cannot divide by it.
temperature = bounded_number(0.01, 100, "0, nor from 0.01 to 100", off=0)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read and how they are split and batched."""
    add = parser.add_argument
    kinds = "; ".join(f"{name}: {what}" for name, (_, what) in ENCODINGS.items())
    add("--encoding", choices=ENCODINGS, default="notes", help=kinds)
    merges = bounded_number(0, 100_000, "a whole number from 0 to 100000", int)
    add("--bpe", type=merges, default=0, help="byte-pair merges to learn, not in notes (0 = off)")
    on_or_off = argparse.BooleanOptionalAction
    add("--pedal", action=on_or_off, default=True, help="the sustain pedal lengthens notes")
    add_reading_arguments(parser)
    add = parser.add_argument_group("pieces").add_argument
    add("--validation", type=share, default=0.1, help="share of the pieces held out (0 = none)")
    tunes = "hold out all versions of a tune or none: other keys, arrangements, beginnings"
    add("--group-versions", action=on_or_off, default=True, help=tunes)
    add("--seed", type=seed, default=0, help="fixes every random choice")
    add("--batch-size", type=positive_int, default=16, help="lanes side by side")
    add("--seq-length", type=positive_int, default=64, help="tokens a step")


def add_learning_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of train.py that shape the network and how it learns."""
    switch = argparse.BooleanOptionalAction
    add = parser.add_argument_group("network").add_argument
    size = bounded_number(1, 65_536, "a whole number from 1 to 65536", int)
    layers = bounded_number(1, 64, "a whole number from 1 to 64", int)
    add("--embedding-size", type=size, default=512, help="numbers that stand for a token")
    add("--units", type=size, default=256, help="units an LSTM layer")
    add("--layers", type=layers, default=2, help="stacked LSTM layers")
    add("--dropout", type=share, default=0.3, help="share dropped after a layer (0 = off)")
    add("--input-dropout", type=share, default=0.3, help="share dropped of the embedding (0 = off)")
    add = parser.add_argument_group("learning").add_argument
    rate = bounded_number(1e-9, 10, "a learning rate above 0, up to 10")
    add("--learning-rate", type=rate, default=3e-3, help="of Adam")
    add("--ema", type=share, default=0.98, help="score and save averaged weights (0 = off)")
    add("--transpose", action=switch, default=True, help="every piece in a random key each epoch")
    add("--shuffle", action=switch, default=True, help="pieces in a random order each epoch")
    add("--jit", action=switch, default=False, help="compile the whole step with XLA: measure it")
    add("--patience", type=count, default=0, help="stop after epochs with no better (0 = off)")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which files are read, and how."""
    add = parser.add_argument_group("music").add_argument
    add("--data-dir", type=Path, default=Path("data"), help="folder of MIDI files")
    jobs = bounded_number(1, 1024, "a number of processes from 1 to 1024", int)
    add("--jobs", type=jobs, default=os.cpu_count() or 1, help="processes that read MIDI")
    seconds = bounded_number(0.001, 86_400, "a number of seconds from 0.001 to 86400")
    add("--max-file-seconds", type=seconds, default=20.0, help="give up on a file after this long")
    add("--min-notes", type=count, default=0, help="skip pieces with fewer notes (0 = keep all)")
    workers = "read the files on the workers of this Dask scheduler (none = on this machine)"
    add("--scheduler", metavar="tcp://HOST:PORT", help=workers)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of train.py that say how long it trains, from where, and where it saves."""
    add = parser.add_argument
    add("--epochs", type=positive_int, default=100, help="passes over the music")
    add("--freq", type=positive_int, default=10, help="epochs between checkpoints")
    add(
        "--keep-checkpoints", type=count, default=0, help="numbered checkpoints that stay (0 = all)"
    )
    music = "train on music21's Bach chorales, kept in demo/, or on all its scores, in demo-all/"
    add("--demo", nargs="?", const="chorales", choices=("chorales", "all"), help=music)
    add("--start-from", metavar="FOLDER", help="begin with the weights of the model in there")
    add("--fresh", action="store_true", help="move the model folder's run aside, begin again")
    add("--force", action="store_true", help="try it with less memory than it is thought to take")
    add("--classic", action="store_true", help="learn by heart: three layers, one key, one order")
    add("--model-dir", type=Path, default=Path("model"), help="checkpoints")
    add("--log-dir", type=Path, default=Path("logs"), help="training.csv and .png")
    on_or_off = argparse.BooleanOptionalAction
    add("--memory", action=on_or_off, default=True, help="fit how much comes back in new pieces")


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of train.py that make it one of several workers."""
    add = parser.add_argument_group("several machines").add_argument
    addresses, number = _workers_of(os.environ.get("TF_CONFIG") or "{}")
    every = "all workers, which share the lanes of a batch; the same on each (none = this alone)"
    add("--workers", type=_addresses, default=addresses, metavar="HOST:PORT,...", help=every)
    add("--worker", type=count, default=number, metavar="N", help="which of them this is, from 0")
    seconds = bounded_number(1, 86_400, "a number of seconds from 1 to 86400")
    add("--worker-timeout", type=seconds, default=30.0, help="seconds to wait for another worker")


def lanes_of_a_worker(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Return a worker's share of a batch; refuse one without, and a number that no worker has."""
    team = max(1, len(arguments.workers))
    if arguments.worker >= team:
        what = f"{team} --workers, 0 to {team - 1}" if team > 1 else "one without --workers"
        parser.error(f"there is no --worker={arguments.worker} of {what}")
    if arguments.batch_size % team:
        lanes = f"--batch-size={arguments.batch_size} is the whole batch's"
        parser.error(f"{lanes}, and cannot be divided among {team} workers")
    return int(arguments.batch_size // team)


def _addresses(text: str) -> tuple[str, ...]:
    """Read HOST:PORT,HOST:PORT; one alone is no team."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for address in found:
        host, _, port = address.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise argparse.ArgumentTypeError(f"{address} is not HOST:PORT")
    if len({*found}) < len(found):
        raise argparse.ArgumentTypeError(f"{text} names one worker twice")
    return found if len(found) > 1 else ()


def _workers_of(config: str) -> tuple[str, int]:
    """Return what TF_CONFIG, TensorFlow's own convention, says: all addresses, and which it is."""
    try:
        said = json.loads(config)
        chief, others = (said.get("cluster", {}).get(job, []) for job in ("chief", "worker"))
        task = {"type": "worker", "index": 0, **said.get("task", {})}
        first = {"chief": 0, "worker": len(chief)}[task["type"]]
        return ",".join([*chief, *others]), first + int(task["index"])
    except (ValueError, AttributeError, TypeError, KeyError):
        return f"TF_CONFIG={config}", 0  # which is refused as --workers would be


def data_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the flags that load_corpus takes beside the folder, under its names for them."""
    names: tuple[str, ...] = ("pedal", "validation", "seed", "group_versions", "bpe", "min_notes")
    names += ("jobs", "max_file_seconds", "scheduler")
    return {"name": arguments.encoding, **{name: getattr(arguments, name) for name in names}}


def run(work: Callable[[], None], *, silent: bool = False) -> int:
    """Do a script's work: a person's mistake becomes one sentence and status 2, Ctrl-C 130.

    Where whoever read the output has gone (| head), that is status 141, without a word. If
    `silent`, only such sentences and warnings are shown.
    """
    _open_streams()
    if silent:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - never closed
        sys.stderr = _NoTerminal(sys.stderr.buffer, line_buffering=True, errors="backslashreplace")
    status, sentence = _outcome(work)
    if work.__module__ == "__main__":  # the process ends now: there is nothing left to interrupt
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sentence:
        with suppress(OSError):  # nobody may be there to read it
            print(sentence, file=sys.stderr)
    return status


def _outcome(work: Callable[[], None]) -> tuple[int, str]:
    """Do the work; return the exit status and what is to be said of it."""
    script = Path(sys.argv[0]).name
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        return 141, ""
    except InputError as error:
        return 2, printable(f"{script}: {error}")
    except OSError as error:
        what = f"cannot use {error.filename} ({error.strerror})" if error.filename else str(error)
        return 2, printable(f"{script}: {what}")
    except KeyboardInterrupt:
        return 130, "Stopped."
    return 0, ""


class _NoTerminal(io.TextIOWrapper):
    """Standard error, on which no progress bar will draw."""

    def isatty(self) -> bool:
        return False


def _open_streams() -> None:
    """Give a script that was started without output (2>&-) one that nobody sees."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # in this order, or a file would get its number
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115 - never closed
    if isinstance(sys.stdout, io.TextIOWrapper):  # what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
