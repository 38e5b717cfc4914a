"""The cache: what was kept comes back, from whole files and entries alone."""

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from midilstm.corpus.cache import Cache

KEPT = {str(number): {"tokens": ["C4", "Für"] * 50, "number": number} for number in range(40)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a cache that holds KEPT."""
    keep(tmp_path / "folder" / "x.sqlite")
    return tmp_path / "folder" / "x.sqlite"


def keep(path: Path) -> None:
    with Cache(path) as cache:
        for key, value in KEPT.items():
            cache.put(key, value)


def found(path: Path) -> dict[str, object]:
    with Cache(path) as cache:
        return {key: value for key in KEPT if (value := cache.get(key))}


def test_what_was_kept_comes_back(path: Path) -> None:
    assert found(path) == KEPT
    with Cache(path) as cache:
        assert cache.get("another") == {}


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
    with path.open("r+b") as opened:
        opened.truncate(size)
    keep(path)
    assert found(path) == KEPT


def test_a_file_of_another_kind_is_made_again(path: Path) -> None:
    path.write_text("a page of a book" * 1000)
    keep(path)
    assert found(path) == KEPT


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
