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
