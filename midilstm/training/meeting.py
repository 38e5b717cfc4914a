"""Workers meet before they train: who is missing, who is another, what differs. Knows no Keras.

Each serves its facts, one line of JSON, on the port that TensorFlow will have after it, and reads
those of all. TensorFlow itself would wait for ever for one that never comes, deaf to Ctrl-C.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from midilstm.files import InputError, printable

LARGEST = 2**20  # bytes of a line
PAUSE = 0.1  # seconds from one try to the next
FLAGS = ("workers", "epochs", "patience")  # of train.py, beside those of the settings


def meet(
    flags: Mapping[str, Any], settings: Mapping[str, Any], state: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Wait for the workers of train.py's flags; return the state of the first, their chief.

    Raise InputError naming who is missing after --worker-timeout, or what differs.
    """
    workers, worker, seconds = (flags[x] for x in ("workers", "worker", "worker_timeout"))
    said = {"facts": facts_of(flags, settings), "state": state, "nonce": uuid4().hex}
    end = time.monotonic() + seconds
    with _Desk(workers[worker], said) as desk:
        replies = [_ask(address, worker, end) for address in workers]
        missing = [n for n, reply in enumerate(replies) if reply is None]
        if missing:
            names = ", ".join(f"worker {n} at {workers[n]}" for n in missing)
            raise InputError(
                f"{names} did not answer within {seconds:g} seconds (--worker-timeout): start the "
                "same command there with its own --worker, and see that the port can be reached"
            )
        while len(desk.callers) < len(workers):  # or the slower ones would find nobody here
            if time.monotonic() > end:
                late = ", ".join(
                    f"worker {n}" for n in sorted({*range(len(workers))} - desk.callers)
                )
                raise InputError(f"{late} cannot reach {workers[worker]}, worker {worker}")
            time.sleep(PAUSE / 10)
    return _compared(replies, workers, worker, said["nonce"])


def facts_of(flags: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return by name what must be the same on all workers, as JSON has it."""
    corpus = {name: settings["corpus"][name] for name in ("pieces", "tokens", "sha256")}
    versions = {name: version(name) for name in ("tensorflow", "keras", "numpy")}
    parts = [settings["network"], settings["training"], corpus, versions]
    parts.append({name: flags[name] for name in FLAGS})
    return json.loads(json.dumps({name: value for part in parts for name, value in part.items()}))


def _compared(replies: Any, workers: Sequence[str], worker: int, nonce: str) -> dict[str, Any]:
    """Return the first worker's state, if all say the same as this one."""
    try:
        if replies[worker]["nonce"] != nonce:
            raise InputError(
                f"{workers[worker]} is another process than this one: give each machine the "
                f"same --workers, and the number of its own address there (here --worker={worker})"
            )
        mine = replies[worker]["facts"]
        for number, reply in enumerate(replies):
            theirs = reply["facts"]
            names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
            if names:
                said = (f"{x} is {mine.get(x)} here and {theirs.get(x)} there" for x in names)
                raise InputError(
                    f"worker {number} at {workers[number]} has begun differently: "
                    f"{printable('; '.join(said))}. All workers need the same"
                )
        return dict(replies[0]["state"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("what answers on the ports of --workers is another program") from error


def split(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, where an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _ask(address: str, worker: int, end: float) -> Any:
    """Return what the worker at an address says, as soon as it is there; None if never."""
    while (left := end - time.monotonic()) > 0:
        with suppress(OSError), socket.create_connection(split(address), min(left, 5)) as line:
            line.sendall(b"%d\n" % worker)
            with line.makefile("rb") as file, suppress(ValueError):
                return json.loads(file.readline(LARGEST))
        time.sleep(PAUSE)
    return None


class _Desk:
    """Say the same to whoever calls at a port, and note which workers did."""

    def __init__(self, address: str, said: Mapping[str, Any]) -> None:
        self.callers: set[int] = set()
        self._line = json.dumps(said).encode() + b"\n"
        try:
            # On all interfaces, as TensorFlow: behind a host name may lie another address.
            self._listener = socket.create_server(("", split(address)[1]))
        except OSError as error:
            raise InputError(
                f"cannot listen on the port of {address} ({error.strerror}): is this worker "
                "running already, or its number another's?"
            ) from error
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:  # closed
                return
            with suppress(OSError, ValueError), line:
                line.settimeout(5)
                with line.makefile("rb") as file:
                    caller = int(file.readline(16))
                line.sendall(self._line)
                self.callers.add(caller)

    def __enter__(self) -> _Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._listener.close()
        self._thread.join()
