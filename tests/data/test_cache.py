"""The cache: what was kept comes back, from whole files and entries alone."""

import os
import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from midilstm.data import cache
from midilstm.data.cache import Cache

KEPT = {str(number): {"tokens": ["C4", "Für"] * 50, "number": number} for number in range(40)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a cache that holds KEPT."""
    keep(tmp_path / "folder" / "x.sqlite")
    return tmp_path / "folder" / "x.sqlite"


def keep(path: Path) -> None:
    with Cache(path) as open_checkpoint:
        for key, value in KEPT.items():
            open_checkpoint.put(key, value)


def found(path: Path) -> dict[str, object]:
    with Cache(path) as open_checkpoint:
        return {key: value for key in KEPT if (value := open_checkpoint.get(key))}


def test_what_was_kept_comes_back(path: Path) -> None:
    assert found(path) == KEPT
    with Cache(path) as open_checkpoint:
        assert open_checkpoint.get("another") == {}


@pytest.mark.parametrize(
    "damage",
    [
        "body = substr(body, 1, length(body) / 2)",
        "body = replace(body, 'C4', 'D4')",
        "body = NULL",
        "body = 'null'",
        "checksum = 'x'",
        "key = 'x' || key",
    ],
)
def test_a_damaged_entry_is_as_good_as_none(path: Path, damage: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE entry SET {damage}")
    assert found(path) == {}
    keep(path)
    assert found(path) == KEPT


@pytest.mark.parametrize("size", [0, 50, 3000, 9000])
def test_a_truncated_file_is_made_again(path: Path, size: int) -> None:
    with path.open("r+b") as open_checkpoint:
        open_checkpoint.truncate(size)
    keep(path)
    assert found(path) == KEPT


def test_a_file_of_another_kind_is_made_again(path: Path) -> None:
    path.write_text("a page of a book" * 1000)
    keep(path)
    assert found(path) == KEPT


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"


@pytest.mark.parametrize(
    "script",
    [
        f"DROP TABLE entry; CREATE VIEW entry AS SELECT x AS key, x AS checksum, x AS body "
        f"FROM ({ENDLESS} WHERE x < 0)",
        f"CREATE TRIGGER t AFTER INSERT ON entry BEGIN SELECT count(*) FROM ({ENDLESS}); END",
        "DROP TABLE entry; CREATE TABLE entry (key, checksum, body AS (hex(zeroblob(500000000))))",
    ],
    ids=["view", "trigger", "generated"],
)
def test_a_file_that_does_more_than_hold_entries_is_made_again(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
    keep(path)
    assert found(path) == KEPT


def test_a_huge_entry_is_as_good_as_none_and_is_not_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LARGEST", 2**16)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE entry SET body = zeroblob(100000) WHERE key = '3'")
    assert found(path) != KEPT
    keep(path)
    with Cache(path) as open_checkpoint:
        open_checkpoint.put("large", {"tokens": "x" * 2**16})
        assert open_checkpoint.get("large") == {}
    assert found(path) == KEPT


def test_a_locked_file_is_waited_for_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WAIT", 0.5)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert found(path) == {}
        assert time.monotonic() - began < 5  # and not once for each of 40 entries
    assert found(path) == KEPT


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_of_its_own_is_left_alone(path: Path, kind: str, tmp_path: Path) -> None:
    path.unlink()
    (tmp_path / "diary").write_text("mine")
    if kind == "link":
        path.symlink_to(tmp_path / "diary")
    else:
        os.mkfifo(path)
    keep(path)
    assert found(path) == {}
    assert (tmp_path / "diary").read_text() == "mine"


def test_runs_side_by_side_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(keep, [path, path]))
    assert found(path) == KEPT


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    keep(tmp_path / "file" / "x.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    keep(tmp_path / "folder.sqlite")
    assert found(tmp_path / "file" / "x.sqlite") == {}
