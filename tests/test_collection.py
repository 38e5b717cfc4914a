"""Finding, parsing, caching and guarding files."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from midilstm.corpus import reading
from midilstm.corpus.reading import Duplicate, Outcome, Parsed, Skipped, Submit
from midilstm.tokens import encoding


def parse(folder: Path, *, jobs: int = 1, seconds: float = 20) -> list[Outcome]:
    return list(
        reading.parse_files(
            reading.find_files(folder),
            cache=reading.cache_for(folder, "notes"),
            pool=lambda: reading.local_pool("notes", jobs, seconds),
        )
    )


@contextmanager
def no_pool() -> Iterator[Submit]:
    pytest.fail("a file was parsed that the cache should hold")
    yield


def parse_cached(folder: Path) -> list[Outcome]:
    cache = reading.cache_for(folder, "notes")
    return list(reading.parse_files(reading.find_files(folder), cache=cache, pool=no_pool))


def test_files_are_found_in_any_case_in_order_and_not_in_hidden_folders(tmp_path: Path) -> None:
    for name in (
        "b.mid",
        "a.MID",
        "z/c.Midi",
        "z/.d.mid",
        ".cache/e.mid",
        "notes.txt",
        "f.mid.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in reading.find_files(tmp_path)]
    assert found == ["a.MID", "b.mid", "z/c.Midi"]


def test_outcomes_come_in_order_whatever_the_number_of_processes(music: Path) -> None:
    (music / "piece2x.mid").write_bytes(b"nonsense")
    one = parse(music, jobs=1)
    assert [outcome.path.name for outcome in one] == sorted(
        path.name for path in music.glob("*.mid")
    )
    shutil.rmtree(music / ".cache")
    assert parse(music, jobs=2) == one


def test_the_second_run_parses_nothing(music: Path) -> None:
    (music / "broken.mid").write_bytes(b"nonsense")
    first, second = parse(music), parse_cached(music)
    assert [getattr(outcome, "piece", None) for outcome in first] == [
        getattr(outcome, "piece", None) for outcome in second
    ]
    assert isinstance(second[0], Skipped)
    assert all(outcome.cached for outcome in second if isinstance(outcome, Parsed))


def test_changed_bytes_are_parsed_again(music: Path) -> None:
    parse(music)
    encoding.write(["C4"] * 7, music / "piece0.mid")
    outcome = parse(music)[0]
    assert isinstance(outcome, Parsed)
    assert not outcome.cached
    assert outcome.piece.tokens == ("C4",) * 7


def test_another_encoding_or_parser_version_has_its_own_cache(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reading.cache_for(music, "notes").path
    assert reading.cache_for(music, "remi").path != before
    monkeypatch.setattr(encoding, "VERSION", encoding.VERSION + 1)
    assert reading.cache_for(music, "notes").path != before


def entries(folder: Path) -> list[tuple[str, str, str]]:
    """Read the cache without our code."""
    (file,) = folder.rglob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT * FROM entry").fetchall()


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
def test_a_damaged_cache_entry_is_made_again(music: Path, damage: str) -> None:
    whole = parse(music)
    (file,) = (music / ".cache").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE entry SET {damage}")
    again = parse(music)
    assert [o.piece for o in again if isinstance(o, Parsed)] == [
        o.piece for o in whole if isinstance(o, Parsed)
    ]
    assert not any(o.cached for o in again if isinstance(o, Parsed))
    assert len(parse_cached(music)) == 6


def test_an_entry_of_another_shape_is_made_again(music: Path) -> None:
    parse(music)
    keys = [key for key, _, _ in entries(music)]
    with reading.cache_for(music, "notes") as cache:
        for key in keys:
            cache.put(key, {"tokens": 7})
    assert not any(o.cached for o in parse(music) if isinstance(o, Parsed))


@pytest.mark.parametrize("size", [0, 50, 3000])
def test_a_truncated_cache_file_is_made_again(music: Path, size: int) -> None:
    whole = parse(music)
    (file,) = (music / ".cache").glob("*.sqlite")
    with file.open("r+b") as opened:
        opened.truncate(size)
    assert [o.path for o in parse(music)] == [o.path for o in whole]
    assert len(parse_cached(music)) == 6


def _run(folder: Path) -> list[Outcome]:
    return parse(folder, jobs=1)


def test_two_runs_side_by_side_agree(music: Path, make_piece: Callable[..., list[str]]) -> None:
    for number in range(120):  # more than one flush
        make_piece(music / f"more{number}.mid", seed=100 + number, length=20)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, two = pool.map(_run, [music, music])
    assert [getattr(o, "piece", o) for o in one] == [getattr(o, "piece", o) for o in two]
    assert len(entries(music)) == 126
    assert len(parse_cached(music)) == 126


def test_a_read_only_folder_is_cached_elsewhere(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    music.chmod(0o555)
    parse(music)
    music.chmod(0o755)
    assert not (music / ".cache").exists()
    assert len(entries(tmp_path / "home")) == 6


def test_a_cache_that_cannot_be_written_stops_nothing(music: Path) -> None:
    (music / ".cache").write_text("a file where the folder should be")
    assert len(parse(music)) == 6


def test_copies_and_twins_are_used_once(music: Path) -> None:
    tokens = encoding.read(music / "piece1.mid")
    (music / "x-copy.mid").write_bytes((music / "piece1.mid").read_bytes())
    encoding.write(tokens, music / "x-twin.mid", bpm=90)  # other bytes, same tokens
    *_, copy, twin = parse(music)
    assert copy == Duplicate(music / "x-copy.mid", music / "piece1.mid")
    assert twin == Duplicate(music / "x-twin.mid", music / "piece1.mid")


def _sleep(data: bytes, name: str) -> object:
    if data.startswith(b"sleep"):
        time.sleep(60)
    if data.startswith(b"die"):
        os._exit(1)
    return encoding.read_piece(data, name)


def test_a_file_that_hangs_or_kills_its_process_costs_only_itself(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (music / "a.mid").write_bytes(b"sleep")
    (music / "b.mid").write_bytes(b"die")
    monkeypatch.setattr(reading, "parse_bytes", _sleep)
    outcomes = parse(music, jobs=2, seconds=2)
    assert [type(outcome) for outcome in outcomes] == [Skipped] * 2 + [Parsed] * 6
    assert [outcome.reason for outcome in outcomes[:2] if isinstance(outcome, Skipped)] == [
        "took too long",
        "crashed the reader",
    ]
    # Neither is remembered: another machine, or another limit, may do better.
    assert len(entries(music)) == 6


parse_bytes = reading.parse_bytes


def _eat(_data: bytes, _name: str) -> encoding.Piece:
    bytearray(reading.MEMORY_LIMIT)
    pytest.fail("the memory limit let this through")


def _parse_greedily(data: bytes, name: str) -> object:
    encoding.read_piece = _eat  # type: ignore[assignment]  # in the worker, a process of its own
    return parse_bytes(data, name)


def test_a_file_that_eats_memory_is_refused(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "parse_bytes", _parse_greedily)
    assert {o.reason for o in parse(music) if isinstance(o, Skipped)} == {"out of memory"}


def test_a_huge_file_is_not_even_read(music: Path) -> None:
    with (music / "big.mid").open("wb") as file:
        file.truncate(encoding.MAX_BYTES + 1)
    first = parse(music)[0]
    assert isinstance(first, Skipped)
    assert first.reason == "too large"
