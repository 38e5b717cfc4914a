"""The cache returns what was stored; a damaged or locked database only costs time."""

import random
import sqlite3
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from midi_bytes import band

from midilstm.data import cache
from midilstm.data.cache import Cache
from midilstm.data.files import ParseError
from midilstm.data.parsing import ParseResult, parse_bytes

ENTRIES = {str(n): ParseError(f"Für {n}", "x" * 4000, is_cacheable=n % 2 > 0) for n in range(40)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the database of a cache with ENTRIES."""
    store(tmp_path / "folder" / "x.sqlite")
    return tmp_path / "folder" / "x.sqlite"


def store(path: Path | None) -> None:
    with Cache(path) as entries:
        for key, value in ENTRIES.items():
            entries.put(key, value)


def load(path: Path | None) -> dict[str, ParseResult]:
    with Cache(path) as entries:
        return {key: value for key in ENTRIES if (value := entries.get(key))}


def test_stored_entries_are_returned(path: Path) -> None:
    assert load(path) == ENTRIES
    piece = parse_bytes(band(1), "remi", True)
    with Cache(path) as entries:
        assert entries.get("a piece") is None
        entries.put("a piece", piece)
        assert entries.get("a piece") == piece


OTHERS = [f"x'{zlib.compress(value).hex()}'" for value in (b"[]", b'{"reason": ""}')]


@pytest.mark.parametrize("body", ["substr(body, 1, 20)", "NULL", "7", *OTHERS])
def test_a_damaged_entry_is_ignored_and_stored_again(path: Path, body: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE entry SET body = {body}")
    assert load(path) == {}
    store(path)
    assert load(path) == ENTRIES


@pytest.mark.parametrize("size", [0, 50, 3000, 9000, None])
def test_a_damaged_database_is_replaced(path: Path, size: int | None) -> None:
    path.write_bytes(b"not a database" * 1000 if size is None else path.read_bytes()[:size])
    store(path)  # deletes it where it is damaged
    store(path)
    assert load(path) == ENTRIES


def test_a_locked_database_is_waited_for_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LOCK_TIMEOUT", 0.5)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert load(path) == {}
        assert time.monotonic() - began < 5
    assert load(path) == ENTRIES


def test_two_processes_share_a_database(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(store, [path, path]))
    assert load(path) == ENTRIES


def test_where_no_database_can_be_written_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    without_home = Path("~/.cache/x.sqlite")  # as platformdirs returns it then
    for path in (None, tmp_path / "file" / "x.sqlite", tmp_path / "folder", without_home):
        store(path)
        assert load(path) == {}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_database_of_the_largest_size_loses_its_oldest_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 1_000_000)
    path = tmp_path / "x.sqlite"
    with Cache(path) as entries:
        for n in range(1000):
            entries.put(str(n), ParseError("random", random.randbytes(1000).hex()))
        is_stored = [entries.get(str(n)) is not None for n in range(1000)]
    assert path.stat().st_size < 1_100_000
    assert is_stored == sorted(is_stored)
    assert sum(is_stored) > 400
