"""Let all workers connect before they train; report who is missing or has other settings.

Each serves its facts, one line of JSON, on the port that TensorFlow will have after it, and reads
those of all. TensorFlow itself would wait for ever for one that never comes, deaf to Ctrl-C.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from midilstm.config import WorkerConfig
from midilstm.fileio import InputError, printable
from midilstm.model_dir import RunSettings

LARGEST = 2**20  # bytes of a line
PAUSE = 0.1  # seconds from one try to the next


def wait_for_workers(
    config: WorkerConfig, settings: RunSettings, state: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Wait for the workers of a run; return the state of the first, their chief.

    Raise InputError naming who is missing after --worker-timeout, or what differs.
    """
    workers, worker, seconds = config.workers, config.worker, config.worker_timeout
    said = {"facts": facts_of(config, settings), "state": state or {}, "nonce": uuid4().hex}
    end = time.monotonic() + seconds
    with _Desk(workers[worker], said) as desk:
        replies = [_ask(address, worker, end) for address in workers]
        missing = [f"worker {n} at {workers[n]}" for n, reply in enumerate(replies) if not reply]
        if missing:
            raise InputError(
                f"{', '.join(missing)} did not answer within {seconds:g} seconds "
                "(--worker-timeout): start the same command there with its own --worker, "
                "and see that its port can be reached"
            )
        facts = [_facts(*pair) for pair in zip(workers, replies, strict=True)]
        if replies[worker]["nonce"] != said["nonce"]:
            raise InputError(
                f"{workers[worker]} is another process than this one: give each machine the same "
                f"--workers, and the number of its own address there (here it is {worker})"
            )
        while late := {*range(len(workers))} - desk.callers:  # they would find nobody here
            if time.monotonic() > end:
                names = ", ".join(f"worker {number}" for number in sorted(late))
                raise InputError(f"{workers[worker]}, this worker, cannot be reached by {names}")
            time.sleep(PAUSE / 10)
    for address, theirs in zip(workers, facts, strict=True):
        _refuse_other(address, facts[worker], theirs)
    return dict(replies[0]["state"])


def facts_of(config: WorkerConfig, settings: RunSettings) -> Any:
    """Return by name what must be the same on all workers, as JSON has it."""
    values = settings.to_json()
    dataset = {name: values["dataset"][name] for name in ("pieces", "tokens", "sha256")}
    versions = {name: version(name) for name in ("tensorflow", "keras", "numpy")}
    run = {
        "workers": config.workers,
        "epochs": settings.train.epochs,
        "patience": settings.train.patience,
    }
    facts = {**values["model"], **values["data"], **values["train"], **dataset, **versions, **run}
    return json.loads(json.dumps(facts))


def _facts(address: str, reply: Any) -> dict[str, Any]:
    """Return the facts in a reply; raise InputError where it is not a worker's."""
    kinds = {"facts": dict, "state": dict, "nonce": str}
    if not isinstance(reply, dict) or {name: type(reply.get(name)) for name in kinds} != kinds:
        raise InputError(f"what answers at {address} is another program, or version of this one")
    return dict(reply["facts"])


def _refuse_other(address: str, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    if names:
        said = (f"{name} is {mine.get(name)} here and {theirs.get(name)} there" for name in names)
        raise InputError(
            f"the worker at {address} has begun differently: {printable('; '.join(said))}. "
            "All workers need the same"
        )


def split(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, where an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _ask(address: str, worker: int, end: float) -> Any:
    """Return what the worker at an address says, as soon as it is there; None if never."""
    while (left := end - time.monotonic()) > 0:
        with suppress(OSError), socket.create_connection(split(address), min(left, 5)) as line:
            line.sendall(b"%d\n" % worker)
            with line.makefile("rb") as file:
                if answer := file.readline(LARGEST):
                    return _read(answer)
        time.sleep(PAUSE)
    return None


def _read(answer: bytes) -> Any:
    try:
        return json.loads(answer) or "nothing"
    except (ValueError, RecursionError):
        return "no JSON"


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
