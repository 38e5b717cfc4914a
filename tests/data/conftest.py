"""A pool that is none, for tests of what is done with its results."""

from collections.abc import Iterable, Iterator

import pytest

from midilstm.config import DataConfig
from midilstm.data import parsing
from midilstm.data.parsing import ParseResult, parse_bytes


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
