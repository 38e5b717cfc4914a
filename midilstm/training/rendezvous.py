"""Let all workers of a run connect and compare their settings before TensorFlow starts.

Each sends the first, the chief, one line of JSON and reads one back. TensorFlow itself would wait
for ever for a worker that never comes, and would ignore Ctrl-C meanwhile.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import version
from typing import Any

from midilstm.config import WorkerConfig
from midilstm.fileio import InputError, read_json
from midilstm.run_settings import RunSettings

MAX_LINE = 2**20  # bytes
RETRY_SECONDS = 0.1
MISSING = (
    "{} did not answer within {:g} seconds (--worker-timeout): start the same command there with "
    "its own --worker, and see that its port can be reached"
)


def wait_for_workers(
    config: WorkerConfig, settings: RunSettings, epoch: int, best: Mapping[str, float]
) -> tuple[int, dict[str, float]]:
    """Wait for all workers of a run; return the chief's epoch and its best checkpoint's metrics.

    Raise InputError naming who is missing after --worker-timeout, or which settings differ.
    """
    facts, address = shared_facts(config, settings), config.workers[config.worker]
    try:
        # On all interfaces, as TensorFlow: behind a host name may lie another address.
        listener = socket.create_server(("", split_address(address)[1]))
    except OSError as error:
        raise InputError(
            f"cannot listen on the port of {address} ({error.strerror}): is this worker "
            "running already, or its number that of another?"
        ) from error
    with listener:
        if config.worker:
            problem, epoch, best = _report(config, facts)
        else:
            problem = _collect(config, listener, facts, {"epoch": epoch, "best": {**best}})
    if problem:
        raise InputError(problem)
    return epoch, {**best}


def shared_facts(config: WorkerConfig, settings: RunSettings) -> dict[str, Any]:
    """Return by name what must be the same on all workers, as JSON values."""
    body, train = settings.to_json(), settings.train
    facts = {**body["model"], **body["data"], **body["train"]}
    facts |= {name: body["dataset"][name] for name in ("pieces", "tokens", "sha256")}
    facts |= {"workers": [*config.workers], "epochs": train.epochs, "patience": train.patience}
    return facts | {name: version(name) for name in ("tensorflow", "keras", "numpy")}


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, where an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _collect(
    config: WorkerConfig, listener: socket.socket, facts: dict[str, Any], reply: dict[str, Any]
) -> str:
    """Read the facts of the other workers; send all of them the reply and the error, if any."""
    end, facts_of = time.monotonic() + config.worker_timeout, {0: facts}
    with ExitStack() as stack:
        connections = []
        while len(facts_of) < len(config.workers) and (left := end - time.monotonic()) > 0:
            with suppress(OSError, ValueError, TypeError, LookupError):  # not from a worker
                listener.settimeout(left)
                connection = stack.enter_context(listener.accept()[0])
                message = read_json(_read_line(connection, min(left, 5)))
                # TensorFlow must be able to connect to this worker, too.
                address = split_address(config.workers[message["worker"]])
                socket.create_connection(address, min(left, 5)).close()
                facts_of[message["worker"]] = dict(message["facts"])
                connections.append(connection)
        error = _describe_error(config, facts_of)
        for connection in connections:
            with suppress(OSError):
                connection.sendall(json.dumps({**reply, "error": error}).encode() + b"\n")
    return error


def _report(config: WorkerConfig, facts: dict[str, Any]) -> tuple[str, int, dict[str, float]]:
    """Send this worker's facts to the chief as soon as it listens; return what it replies."""
    chief, end = config.workers[0], time.monotonic() + config.worker_timeout
    message = json.dumps({"worker": config.worker, "facts": facts}).encode() + b"\n"
    line = b""
    while not line and (left := end - time.monotonic()) > 0:
        time.sleep(RETRY_SECONDS)
        with suppress(OSError), socket.create_connection(split_address(chief), left) as connection:
            connection.sendall(message)
            line = _read_line(connection, config.worker_timeout)  # when the chief gives up, too
    if not line:
        raise InputError(MISSING.format(f"worker 0 at {chief}", config.worker_timeout))
    reply = read_json(line)
    return reply["error"], int(reply["epoch"]), dict(reply["best"])


def _read_line(connection: socket.socket, seconds: float) -> bytes:
    connection.settimeout(seconds)
    with connection.makefile("rb") as file:
        return file.readline(MAX_LINE)


def _describe_error(config: WorkerConfig, facts_of: Mapping[int, dict[str, Any]]) -> str:
    """Say which workers are missing, or differ from the chief; '' where all is well."""
    missing = {*range(len(config.workers))} - facts_of.keys()
    if missing:
        names = ", ".join(f"worker {index} at {config.workers[index]}" for index in sorted(missing))
        return MISSING.format(names, config.worker_timeout)
    chief = facts_of[0]
    differences = [
        f"{name} is {chief.get(name)} on worker 0 and {facts.get(name)} on worker {worker}"
        for worker, facts in facts_of.items()
        for name in {**chief, **facts}
        if chief.get(name) != facts.get(name)
    ]
    text = "; ".join(differences)
    return text and f"the workers have begun differently: {text}. All workers need the same"
