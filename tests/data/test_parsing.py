"""Parsing in processes, from the cache, and of files that fail."""

import hashlib
import multiprocessing.spawn
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from midi_bytes import notes, smf

from midilstm import midi, tokenizers
from midilstm.data import parsing
from midilstm.data.cache import Cache, default_path
from midilstm.data.files import list_folder
from midilstm.data.parsing import ParsedFile, ParsedPiece, ParseError, Submit
from midilstm.fileio import InputError

parse_notes = partial(parsing.parse_bytes, encoding_name="notes")


@contextmanager
def in_process() -> Iterator[Submit]:
    yield lambda data: partial(parse_notes, data)


@contextmanager
def no_pool() -> Iterator[Submit]:
    pytest.fail("a file was parsed that is in the cache")
    yield


def processes(
    jobs: int = 1, max_seconds: float = 20, parse: parsing.Parse = parse_notes
) -> parsing.Pool:
    return partial(parsing.local_pool, parse, jobs, max_seconds)


def parse_folder(folder: Path, pool: parsing.Pool = in_process) -> list[ParsedFile]:
    cache = Cache(default_path())
    return list(parsing.parse_files(list_folder(folder), cache=cache, key_suffix="x", pool=pool))


def results(parsed: list[ParsedFile]) -> list[ParsedPiece | ParseError | Path]:
    return [file.result for file in parsed]


def reasons(parsed: list[ParsedFile]) -> list[str]:
    return [result.reason for result in results(parsed) if isinstance(result, ParseError)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_processes_give_the_results_of_one_in_order(music: Path, jobs: int) -> None:
    (music / "piece2x.mid").write_bytes(b"nonsense")
    parsed = parse_folder(music, processes(jobs))
    assert [file.path for file in parsed] == sorted(music.glob("*.mid"))
    default_path().unlink()
    assert parse_folder(music) == parsed


def test_the_second_run_parses_nothing(music: Path) -> None:
    (music / "broken.mid").write_bytes(b"nonsense")
    first, second = parse_folder(music), parse_folder(music, no_pool)
    assert results(first) == results(second)
    assert reasons(second) == ["not a MIDI file"]
    assert all(file.is_cached for file in second)
    assert sorted(music.iterdir()) == sorted(music.glob("*.mid"))


def test_changed_bytes_are_parsed_again(music: Path) -> None:
    parse_folder(music)
    tokenizers.write(["C4"] * 7, music / "piece0.mid")
    _, result, is_cached = parse_folder(music)[0]
    assert isinstance(result, ParsedPiece)
    assert result.tokens == ("C4",) * 7
    assert not is_cached


@pytest.mark.parametrize("change", [{"reason": "no notes"}, {"more": 1}, {}])
def test_an_entry_of_another_shape_is_parsed_again(music: Path, change: dict[str, object]) -> None:
    parsed = parse_folder(music)
    with Cache(default_path()) as cache:
        for path in music.glob("*.mid"):
            key = f"{hashlib.sha256(path.read_bytes()).hexdigest()} x"
            cache.put(key, {**(cache.get(key) or {}), **change} if change else {})
    again = parse_folder(music)
    assert results(again) == results(parsed)
    assert not any(file.is_cached for file in again)


def test_files_with_the_same_bytes_or_tokens_are_used_once(music: Path) -> None:
    tokens = tokenizers.read(music / "piece1.mid")
    (music / "x-copy.mid").write_bytes((music / "piece1.mid").read_bytes())
    tokenizers.write(tokens, music / "x-other-tempo.mid", bpm=90)
    for parsed in (parse_folder(music), parse_folder(music, no_pool)):
        assert results(parsed[-2:]) == [music / "piece1.mid"] * 2


def _misbehave(data: bytes) -> ParsedPiece | ParseError:
    if data.startswith(b"sleep"):
        time.sleep(60)
    if data.startswith(b"die"):
        os._exit(1)
    return parse_notes(data)


def test_a_file_that_hangs_or_ends_its_process_costs_only_itself(music: Path) -> None:
    (music / "a.mid").write_bytes(b"sleep")
    (music / "b.mid").write_bytes(b"die")
    parsed = parse_folder(music, processes(2, max_seconds=2, parse=_misbehave))
    assert reasons(parsed) == ["took too long", "crashed the reader"]
    assert [type(result) for result in results(parsed)] == [ParseError] * 2 + [ParsedPiece] * 6
    # Another machine or time limit may succeed.
    again = parse_folder(music)
    assert reasons(again) == ["not a MIDI file"] * 2
    assert [file.is_cached for file in again] == [False] * 2 + [True] * 6


def _allocate(_data: bytes, **_: object) -> midi.Score:
    bytearray(parsing.MEMORY_LIMIT)
    pytest.fail("the memory limit has no effect")


def _parse_with_much_memory(data: bytes) -> ParsedPiece | ParseError:
    midi.read = _allocate  # type: ignore[assignment]  # in another process
    return parse_notes(data)


def test_a_file_that_needs_too_much_memory_is_refused(music: Path) -> None:
    parsed = parse_folder(music, processes(parse=_parse_with_much_memory))
    assert set(reasons(parsed)) == {"out of memory"}


def test_a_huge_file_a_pipe_and_a_device_are_refused_unread(music: Path) -> None:
    with (music / "big.mid").open("wb") as file:
        file.truncate(midi.MAX_BYTES + 1)
    os.mkfifo(music / "a-pipe.mid")
    (music / "a-zero.mid").symlink_to("/dev/zero")
    (music / "a-zz.mid").symlink_to(music / "nowhere")
    assert reasons(parse_folder(music)) == ["cannot be read"] * 3 + ["too large"]


def test_notes_without_an_end_are_counted() -> None:
    result = parse_notes(smf(notes((0, 1, 60), (1, 2, 62), start=b"\x00\x90\x30\x40")))
    assert isinstance(result, ParsedPiece)
    assert (result.hanging_notes, result.notes) == (1, 2)


def test_the_pedal_changes_rhythm_but_neither_notes_nor_the_split() -> None:
    # An arpeggio within a sixteenth, whose notes have other ends where the pedal holds them.
    arpeggio = [(i / 24, 0.5 + i / 3, 60 + 4 * i) for i in range(3)]
    data = smf(notes(*arpeggio, (4, 5, 60), start=b"\x00\xb0\x40\x7f"))
    pieces = {
        (name, pedal): parsing.parse_bytes(data, encoding_name=name, pedal=pedal)
        for name in ("notes", "tsd", "remi")
        for pedal in (True, False)
    }
    hashes = {piece.music_hash for piece in pieces.values() if isinstance(piece, ParsedPiece)}
    assert len(hashes) == 1
    assert pieces["notes", True] == pieces["notes", False]
    assert pieces["tsd", True] != pieces["tsd", False]
    assert pieces["remi", True] != pieces["remi", False]


def test_interrupts_are_blocked_only_while_processes_start() -> None:
    with parsing.block_interrupts():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_an_error_names_processes_that_cannot_be_started(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", os.fsencode(music / "nowhere"))
    with pytest.raises(InputError, match="no process can be started that reads files"):
        parse_folder(music, processes())
