"""What the scripts share: flags of several workers, NumPy's threads, exit status and signals."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType

from midilstm.config import WorkerConfig
from midilstm.fileio import InputError, printable


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
        return ",".join([*chiefs, *workers]), first + int(task["index"])
    except (ValueError, AttributeError, TypeError, KeyError, OverflowError):
        return f"TF_CONFIG={text}", 0  # which argparse refuses as it does --workers


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
    _prepare_streams(quiet=quiet)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler and current_thread() is main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    status, message = _outcome(work)
    if work.__module__ == "__main__":  # the process ends now: there is nothing left to interrupt
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, before)
    if message:
        with suppress(OSError):  # nobody may be there to read it
            print(message, file=sys.stderr)
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or end at once during an import, which could ignore it."""
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None:
        raise KeyboardInterrupt
    os.write(2, b"Stopped.\n")
    os._exit(128 + number)


def _outcome(work: Callable[[], None]) -> tuple[int, str]:
    """Do the work; return the exit status and the message to print, if any."""
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
        reason = f"cannot use {error.filename} ({error.strerror})" if error.filename else str(error)
        return 2, printable(f"{script}: {reason}")
    except KeyboardInterrupt:
        return 130, "Stopped."
    return 0, ""


class _NoTerminal(io.TextIOWrapper):
    """Standard error without progress bars."""

    def isatty(self) -> bool:
        return False


def _prepare_streams(*, quiet: bool) -> None:
    """Replace closed streams (`2>&-`), and make every file name printable."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # in this order, or a file would get its number
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115 - never closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if quiet:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - never closed
        sys.stderr = _NoTerminal(sys.stderr.buffer, line_buffering=True, errors="backslashreplace")
