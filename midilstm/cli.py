"""What the scripts share: parser, flags of workers, NumPy's threads, exit status and signals."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import NoReturn

from midilstm.config import WorkerConfig
from midilstm.fileio import InputError, printable


class Parser(argparse.ArgumentParser):
    """Show the defaults of all flags in --help, and usage errors in one line."""

    def __init__(self, description: str | None) -> None:
        """Describe what the script does."""
        formatter = argparse.ArgumentDefaultsHelpFormatter
        super().__init__(description=description, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, without all flags, and exit with status 2."""
        self.exit(2, f"{self.prog}: {printable(message)} (--help shows all flags)\n")


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of train.py that make it one of several workers."""
    addresses, index = _parse_tf_config(os.environ.get("TF_CONFIG") or "{}")
    group = parser.add_argument_group("several machines")
    group.add_argument(
        "--workers",
        type=_parse_addresses,
        default=addresses,
        metavar="HOST:PORT,...",
        help="addresses of all workers, the same on each (none = train on this machine alone)",
    )
    group.add_argument(
        "--worker", type=int, default=index, metavar="N", help="index of this worker, from 0"
    )


def check_workers(parser: argparse.ArgumentParser, config: WorkerConfig, batch_size: int) -> None:
    """End with a usage error for a worker that is not there, or a batch that cannot be shared."""
    count = max(1, len(config.workers))
    if config.worker >= count:
        parser.error(f"--worker={config.worker} needs more --workers than {count}")
    if batch_size % count:
        parser.error(f"--batch-size={batch_size} cannot be divided among {count} workers")


def _parse_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of HOST:PORT,HOST:PORT; a single one is no group of workers."""
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise argparse.ArgumentTypeError(f"{address} is not HOST:PORT")
    if len(set(addresses)) < len(addresses):
        raise argparse.ArgumentTypeError(f"{text} names one worker twice")
    return addresses if len(addresses) > 1 else ()


def _parse_tf_config(text: str) -> tuple[str, int]:
    """Return the workers' addresses and this one's index from TF_CONFIG, TensorFlow's variable."""
    try:
        body = json.loads(text)
        chiefs, workers = (body.get("cluster", {}).get(job, []) for job in ("chief", "worker"))
        task = {"type": "worker", "index": 0, **body.get("task", {})}
        first = {"chief": 0, "worker": len(chiefs)}[task["type"]]
        if type(task["index"]) is not int or task["index"] < 0:
            raise ValueError("not an index")
        return ",".join([*chiefs, *workers]), first + task["index"]
    except (ValueError, AttributeError, TypeError, KeyError):
        return "the value of TF_CONFIG", 0  # which argparse refuses as it does --workers


def use_one_thread() -> None:
    """Let NumPy's libraries use one thread per product; call it before NumPy is imported.

    Two threads wait for each other on matrices of this size, and the last bits of a sum must not
    depend on how many cores a machine has.
    """
    for name in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def run_cli(work: Callable[[], None], *, quiet: bool = False) -> int:
    """Do a script's work; return its exit status.

    A user's mistake is printed as one sentence and gives status 2, Ctrl-C 130, and output that
    nobody reads any more (as in `| head`) 141. With `quiet` only errors and warnings are shown.
    """
    for name in ("stdin", "stdout", "stderr"):  # in this order, or a file would get its number
        if getattr(sys, name) is None:  # closed by the shell, as with 2>&-
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115 - never closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler and current_thread() is main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    try:
        with Path(os.devnull).open("w") as null, redirect_stdout(null if quiet else sys.stdout):
            work()
            sys.stdout.flush()
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        return 141
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except InputError as error:
        message = str(error)
    except OSError as error:
        reason = f"cannot use {error.filename} ({error.strerror})"
        message = reason if error.filename else str(error)
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, handler)
    print(printable(f"{Path(sys.argv[0]).name}: {message}"), file=sys.stderr)
    return 2


def exit_with(status: int) -> NoReturn:
    """End a script, which an interrupt cannot do any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or end at once during an import, which could ignore it."""
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None:
        raise KeyboardInterrupt
    os.write(2, b"Stopped.\n")
    os._exit(128 + signal_number)
