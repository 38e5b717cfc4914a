"""Workers that find each other, each in a thread of its own, and workers that do not."""

import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import MappingProxyType

import pytest

from midilstm.config import DataConfig, ModelConfig, TrainConfig, WorkerConfig
from midilstm.fileio import InputError
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.training import rendezvous

SETTINGS = RunSettings(
    model=ModelConfig(units=4),
    data=DataConfig(),
    train=TrainConfig(epochs=5),
    dataset=DatasetSummary(pieces=6, tokens=360, sha256="ab", vocabulary_size=9),
)
Reply = tuple[int, dict[str, float]] | str


@pytest.fixture
def addresses() -> tuple[str, ...]:
    """Return three addresses on which nobody listens."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        return tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)


def meet(
    workers: tuple[str, ...],
    settings: Mapping[int, RunSettings] = MappingProxyType({}),
    *,
    started: tuple[int, ...] = (0, 1, 2),
    timeout: float = 30.0,
) -> list[Reply]:
    """Return what each started worker receives, or the text of its error."""

    def start(worker: int) -> Reply:
        config = WorkerConfig(workers=workers, worker=worker, worker_timeout=timeout)
        progress = (7, {"val_loss": 1.5}) if worker == 0 else (0, {})
        try:
            return rendezvous.wait_for_workers(
                config, (settings or {}).get(worker, SETTINGS), *progress
            )
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(len(started)) as pool:
        return [*pool.map(start, started)]


def test_all_workers_receive_the_progress_of_the_first(addresses: tuple[str, ...]) -> None:
    assert meet(addresses) == [(7, {"val_loss": 1.5})] * 3


@pytest.mark.parametrize(("started", "missing"), [((0, 1), "worker 2 at"), ((1, 2), "worker 0 at")])
def test_a_missing_worker_is_named_on_all_others_and_can_come_later(
    addresses: tuple[str, ...], started: tuple[int, ...], missing: str
) -> None:
    for message in meet(addresses, started=started, timeout=1.0):
        assert missing in str(message)
        assert "did not answer within 1 seconds" in str(message)
        assert "worker 1" not in str(message)
    assert meet(addresses) == [(7, {"val_loss": 1.5})] * 3


def test_settings_music_and_versions_that_differ_are_named_on_all_workers(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = replace(SETTINGS.dataset, sha256="cd")
    other = replace(SETTINGS, model=ModelConfig(units=5), dataset=dataset)
    for message in meet(addresses, {2: other}):
        assert "units is 4 on worker 0 and 5 on worker 2" in str(message)
        assert "sha256 is ab on worker 0 and cd on worker 2" in str(message)
        assert "worker 1" not in str(message)
    monkeypatch.setattr(rendezvous, "version", lambda name: f"{name}{threading.get_ident()}")
    for message in meet(addresses):
        assert "keras is keras" in str(message)
        assert "units" not in str(message)


@pytest.mark.parametrize("worker", [0, 1])
def test_a_port_in_use_is_named(addresses: tuple[str, ...], worker: int) -> None:
    with socket.create_server(("", int(addresses[worker].rpartition(":")[2]))):
        (message,) = meet(addresses, started=(worker,))
    assert f"cannot listen on the port of {addresses[worker]}" in str(message)


def test_a_worker_on_another_machine_than_its_address_is_missing(
    addresses: tuple[str, ...],
) -> None:
    config = WorkerConfig(workers=addresses[:2], worker=1, worker_timeout=1.0)
    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(meet, addresses[:2], started=(0,), timeout=1.0)
        with pytest.raises(InputError, match="worker 0 at"):  # it runs, but listens nowhere
            rendezvous._report(config, rendezvous.shared_facts(config, SETTINGS))
        assert f"worker 1 at {addresses[1]} did not answer" in str(chief.result())


def test_another_program_that_calls_the_first_is_ignored(addresses: tuple[str, ...]) -> None:
    with ThreadPoolExecutor(1) as pool:
        replies = pool.submit(meet, addresses)
        for content in (b"GET / HTTP/1.1\r\n", b'{"worker": 9}\n', b'{"worker": 1, "facts": 3}\n'):
            address = rendezvous.split_address(addresses[0])
            # It may not listen yet, or no longer.
            with suppress(OSError), socket.create_connection(address) as connection:
                connection.sendall(content)
        assert replies.result() == [(7, {"val_loss": 1.5})] * 3
