"""A server in a folder with two models of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model_files import write_band_model, write_model
from sample_runs import TOKENS
from web_server import Server

from midilstm.tokenizers.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the models `notes` and `band`."""
    folder = tmp_path_factory.mktemp("served")
    write_model(folder / "notes", Vocabulary(TOKENS))
    write_band_model(folder / "band")
    return folder


@pytest.fixture(scope="module")
def start(models: Path) -> Iterator[Callable[[], Server]]:
    """Return a function that starts a server; all end after the tests of the module."""
    servers: list[Server] = []

    def start_server() -> Server:
        servers.append(Server(models))
        return servers[-1]

    yield start_server
    for server in servers:
        if server.process.poll() is None:
            assert server.end() in (0, 130)


@pytest.fixture(scope="module")
def server(start: Callable[[], Server]) -> Server:
    """Return a server that all tests of a module share."""
    return start()
