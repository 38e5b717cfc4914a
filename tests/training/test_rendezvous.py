"""Workers that meet, each in a thread of its own, and those that do not."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from midilstm.config import DataConfig, ModelConfig, TrainConfig, WorkerConfig
from midilstm.fileio import InputError
from midilstm.model_dir import DatasetSummary, RunSettings
from midilstm.training import rendezvous

SETTINGS = RunSettings(
    model=ModelConfig(units=4),
    data=DataConfig(),
    train=TrainConfig(epochs=5),
    dataset=DatasetSummary(pieces=6, tokens=360, sha256="ab", vocabulary_size=9),
)


@pytest.fixture
def addresses() -> tuple[str, ...]:
    """Return three that nobody listens at."""
    with (
        closing(socket.socket()) as a,
        closing(socket.socket()) as b,
        closing(socket.socket()) as c,
    ):
        for each in (a, b, c):
            each.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in (a, b, c))


def worker_config(workers: tuple[str, ...], worker: int, timeout: float = 3.0) -> WorkerConfig:
    return WorkerConfig(workers=workers, worker=worker, worker_timeout=timeout)


def meet_all(
    workers: tuple[str, ...], *settings: RunSettings, started: int = 3, timeout: float = 3.0
) -> list[Any]:
    """Return what each of the first `started` workers receives, or its error's text."""

    def meet(worker: int) -> dict[str, Any] | str:
        state = {"epoch": 7} if worker == 0 else None
        config = worker_config(workers, worker, timeout)
        try:
            return rendezvous.wait_for_workers(
                config, settings[worker] if settings else SETTINGS, state
            )
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(started) as pool:
        return [*pool.map(meet, range(started))]


def test_all_workers_receive_the_state_of_the_first(addresses: tuple[str, ...]) -> None:
    assert meet_all(addresses, timeout=30.0) == [{"epoch": 7}] * 3


def test_who_is_missing_is_named(addresses: tuple[str, ...]) -> None:
    threads = threading.active_count()
    for message in meet_all(addresses, started=2, timeout=1.0):
        assert f"worker 2 at {addresses[2]} did not answer within 1 seconds" in message
        assert "worker 1" not in message
    assert threading.active_count() == threads
    assert meet_all(addresses, timeout=30.0) == [{"epoch": 7}] * 3  # on the same ports


def test_what_differs_is_named_on_each(addresses: tuple[str, ...]) -> None:
    other = replace(SETTINGS, model=ModelConfig(units=5))
    messages = meet_all(addresses, SETTINGS, SETTINGS, other, timeout=30.0)
    for number in (0, 1):
        assert f"the worker at {addresses[2]} has begun differently" in messages[number]
        assert "units is 4 here and 5 there" in messages[number]
        assert "vocabulary" not in messages[number]
    assert "units is 5 here and 4 there" in messages[2]


def test_another_version_of_keras_is_named(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = iter(["3.15.1", "3.16.0"])
    monkeypatch.setattr(rendezvous, "version", lambda x: next(versions) if x == "keras" else "1")
    for message in meet_all(addresses[:2], started=2, timeout=30.0):
        assert "keras is 3.1" in message
        assert "tensorflow" not in message


def test_a_port_in_use_is_named(addresses: tuple[str, ...]) -> None:
    taken = socket.create_server(("", int(addresses[1].rpartition(":")[2])))
    with taken, pytest.raises(InputError, match=f"cannot listen on the port of {addresses[1]}"):
        rendezvous.wait_for_workers(worker_config(addresses, 1), SETTINGS)


def test_a_worker_at_anothers_address_is_refused(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "uuid4", lambda: SimpleNamespace(hex="the other"))
    other = rendezvous._Desk(addresses[1], {"facts": {}, "state": {}, "nonce": "the real one"})
    free = rendezvous._Desk.__init__

    def elsewhere(desk: Any, address: str, reply: Any) -> None:
        free(desk, addresses[2] if address == addresses[1] else address, reply)

    monkeypatch.setattr(rendezvous._Desk, "__init__", elsewhere)
    with other, pytest.raises(InputError, match=f"{addresses[1]} is another process than this"):
        rendezvous.wait_for_workers(worker_config((addresses[1],), 0), SETTINGS)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"[1]\n", b"{}\n"])
def test_another_program_on_a_port_is_no_worker(addresses: tuple[str, ...], answer: bytes) -> None:
    def serve(server: socket.socket) -> None:
        line, _ = server.accept()
        with line:
            line.recv(64)
            line.sendall(answer)

    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        (message,) = meet_all(addresses[:2], started=1)
        thread.join()
    assert f"what answers at {addresses[1]} is another program" in message
