"""Workers that meet, each in a thread of its own, and those that do not."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from midilstm.fileio import InputError
from midilstm.training import rendezvous as meeting

SETTINGS: dict[str, Any] = {
    "network": {"vocabulary_size": 9, "units": 4},
    "training": {"seed": 0},
    "corpus": {"pieces": 6, "tokens": 360, "sha256": "ab", "held_out": ["x.mid"]},
}


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


def flags(workers: tuple[str, ...], worker: int, **others: Any) -> dict[str, Any]:
    plain = {"worker_timeout": 3.0, "epochs": 5, "patience": 0}
    return {**plain, "workers": workers, "worker": worker, **others}


def meet_all(
    workers: tuple[str, ...], *settings: Any, come: int = 3, **others: Any
) -> list[dict[str, Any] | str]:
    """Return what each of the first `come` workers hears, or what is wrong with it."""

    def meet(worker: int) -> dict[str, Any] | str:
        mine = settings[worker] if settings else SETTINGS
        state = {"done": 7} if worker == 0 else None
        try:
            return meeting.meet(flags(workers, worker, **others), mine, state)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(come) as pool:
        return [*pool.map(meet, range(come))]


def test_all_hear_the_state_of_the_first(addresses: tuple[str, ...]) -> None:
    assert meet_all(addresses, worker_timeout=30.0) == [{"done": 7}] * 3


def test_who_is_missing_is_named(addresses: tuple[str, ...]) -> None:
    threads = threading.active_count()
    for said in meet_all(addresses, come=2, worker_timeout=1.0):
        assert f"worker 2 at {addresses[2]} did not answer within 1 seconds" in said
        assert "worker 1" not in said
    assert threading.active_count() == threads
    assert meet_all(addresses, worker_timeout=30.0) == [{"done": 7}] * 3  # on the same ports


def test_what_differs_is_named_on_each(addresses: tuple[str, ...]) -> None:
    other = {**SETTINGS, "network": {"vocabulary_size": 9, "units": 5}}
    said = meet_all(addresses, SETTINGS, SETTINGS, other, worker_timeout=30.0)
    for number in (0, 1):
        assert f"the worker at {addresses[2]} has begun differently" in said[number]
        assert "units is 4 here and 5 there" in said[number]
        assert "vocabulary" not in said[number]
    assert "units is 5 here and 4 there" in said[2]


def test_another_version_of_keras_is_named(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = iter(["3.15.1", "3.16.0"])
    monkeypatch.setattr(meeting, "version", lambda x: next(versions) if x == "keras" else "1")
    for said in meet_all(addresses[:2], come=2, worker_timeout=30.0):
        assert "keras is 3.1" in said
        assert "tensorflow" not in said


def test_a_port_in_use_is_named(addresses: tuple[str, ...]) -> None:
    taken = socket.create_server(("", int(addresses[1].rpartition(":")[2])))
    with taken, pytest.raises(InputError, match=f"cannot listen on the port of {addresses[1]}"):
        meeting.meet(flags(addresses, 1), SETTINGS)


def test_a_worker_at_anothers_address_is_refused(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "uuid4", lambda: SimpleNamespace(hex="the other"))
    other = meeting._Desk(addresses[1], {"facts": {}, "state": {}, "nonce": "the real one"})
    free = meeting._Desk.__init__

    def elsewhere(desk: Any, address: str, said: Any) -> None:
        free(desk, addresses[2] if address == addresses[1] else address, said)

    monkeypatch.setattr(meeting._Desk, "__init__", elsewhere)
    with other, pytest.raises(InputError, match=f"{addresses[1]} is another process than this"):
        meeting.meet(flags((addresses[1],), 0), SETTINGS)


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
        (said,) = meet_all(addresses[:2], come=1)
        thread.join()
    assert f"what answers at {addresses[1]} is another program" in said
