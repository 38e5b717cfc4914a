"""Music for all tests, made of random tokens."""

import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from midilstm import tokenizers
from midilstm.config import DataConfig
from midilstm.data import parsing
from midilstm.data.parsing import ParseResult, parse_bytes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; tests interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOKENS = ("C4", "D4", "E-4", "F#4", "G4", "0.4.7", "2.5.9", "7.11.2")


@pytest.fixture(scope="session")
def make_piece() -> Callable[..., list[str]]:
    """Return a function that writes a piece of random tokens and returns them."""

    def make(path: Path, *, length: int = 60, seed: int = 0) -> list[str]:
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = np.random.default_rng(seed).choice(TOKENS, length).tolist()
        tokenizers.write(tokens, path)
        return tokenizers.read(path)

    return make


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the cache folder of the user; they share one, and read music once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture
def user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder for this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def music(tmp_path: Path, make_piece: Callable[..., list[str]]) -> Path:
    """Return a folder of six short pieces."""
    for seed in range(6):
        make_piece(tmp_path / "data" / f"piece{seed}.mid", seed=seed)
    return tmp_path / "data"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Parse in this process; return a list of the files that were parsed."""
    sources: list[bytes] = []

    def parse(new: Iterable[bytes], config: DataConfig) -> Iterator[ParseResult]:
        for source in new:
            sources.append(source)
            yield parse_bytes(source, config.encoding, config.pedal)

    monkeypatch.setattr(parsing, "parse", parse)
    return sources


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no training.png, which takes longer than an epoch of a tiny network."""
    monkeypatch.setattr("midilstm.training.log.TrainingLog.draw", lambda _: None)
