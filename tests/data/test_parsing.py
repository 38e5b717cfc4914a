"""Parsing on all cores, caching and guarding files."""

import hashlib
import multiprocessing.spawn
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.data import parsing as reading
from midilstm.data.parsing import ParsedFile, ParsedPiece, ParseError, Submit
from midilstm.fileio import InputError

parse_notes = partial(reading.parse_bytes, name="notes")


def parse(folder: Path, pool: reading.Pool | None = None) -> list[ParsedFile]:
    """Return what becomes of a folder's files; without a pool they are parsed in this process."""
    cache, paths = reading.cache_for(folder, "notes"), sorted(folder.glob("*.mid"))
    return list(reading.parse_files(paths, name="notes", cache=cache, pool=pool or here))


@contextmanager
def here() -> Iterator[Submit]:
    yield lambda _path, _key, data: partial(parse_notes, data or b"")


def processes(jobs: int = 1, seconds: float = 20, how: reading.Parse = parse_notes) -> reading.Pool:
    return partial(reading.local_pool, how, jobs, seconds)


@contextmanager
def no_pool() -> Iterator[Submit]:
    pytest.fail("a file was parsed that the cache should hold")
    yield


def results(outcomes: list[ParsedFile]) -> list[ParsedPiece | ParseError | Path]:
    return [result for _, result, _ in outcomes]


def cached(outcomes: list[ParsedFile]) -> list[bool]:
    return [is_cached for _, _, is_cached in outcomes]


def reasons(outcomes: list[ParsedFile]) -> list[str]:
    return [result.reason for result in results(outcomes) if isinstance(result, ParseError)]


def test_outcomes_come_in_order_whatever_the_number_of_processes(music: Path) -> None:
    (music / "piece2x.mid").write_bytes(b"nonsense")
    one = parse(music)
    assert [path for path, _, _ in one] == sorted(music.glob("*.mid"))
    for jobs in (1, 2):
        shutil.rmtree(music / ".cache")
        assert parse(music, processes(jobs)) == one


def test_the_second_run_parses_nothing(music: Path) -> None:
    (music / "broken.mid").write_bytes(b"nonsense")
    first, second = parse(music), parse(music, no_pool)
    assert results(first) == results(second)
    assert reasons(second) == ["not a MIDI file"]
    assert all(cached(second))


def test_changed_bytes_are_parsed_again(music: Path) -> None:
    parse(music)
    encodings.write(["C4"] * 7, music / "piece0.mid")
    _, first, is_cached = parse(music)[0]
    assert isinstance(first, ParsedPiece)
    assert first.tokens == ("C4",) * 7
    assert not is_cached


def test_what_shapes_a_piece_has_a_cache_of_its_own(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reading.cache_for(music, "remi").path
    assert reading.cache_for(music, "tsd").path != before
    assert reading.cache_for(music, "remi", pedal=False).path != before
    monkeypatch.setattr(midi, "VERSION", midi.VERSION + 1)
    assert reading.cache_for(music, "remi").path != before
    assert encodings.get("remi").version in before.name


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 7},
        {"tokens": "C4"},
        {"notes": "60"},
        {"quarters": None},
        {"warnings": {}},
        {"tokens": ["C4", "\x1b[31m"]},
        {"tokens": ["C4", "\ud800"]},
        {"notes": -1},
        {"notes": 10**30},
        {"quarters": float("nan")},
        {"music": "\ud800"},
        {"melody_hashes": "♯"},
        {"more": 1},
        {"reason": "no notes"},
    ],
)
def test_an_entry_of_another_shape_is_made_again(music: Path, change: dict[str, object]) -> None:
    whole = parse(music)
    with reading.cache_for(music, "notes") as cache:
        for path in music.glob("*.mid"):
            key = hashlib.sha256(path.read_bytes()).hexdigest()
            cache.put(key, {**cache.get(key), **change})
    repeated_mask = parse(music)
    assert results(repeated_mask) == results(whole)
    assert not any(cached(repeated_mask))


def test_a_read_only_folder_is_cached_elsewhere(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    music.chmod(0o555)
    parse(music)
    repeated_mask = parse(music, no_pool)
    music.chmod(0o755)
    assert len(repeated_mask) == 6
    assert not (music / ".cache").exists()
    assert list((tmp_path / "home").rglob("*.sqlite"))


def test_without_a_home_nothing_is_kept(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    music.chmod(0o555)
    assert len(parse(music)) == 6
    assert not any(cached(parse(music)))
    music.chmod(0o755)
    assert not (music / ".cache").exists()


def test_copies_and_twins_are_used_once(music: Path) -> None:
    tokens = encodings.read(music / "piece1.mid")
    (music / "x-copy.mid").write_bytes((music / "piece1.mid").read_bytes())
    encodings.write(tokens, music / "x-twin.mid", bpm=90)  # other bytes, same tokens
    for outcomes in (parse(music), parse(music, no_pool)):
        assert results(outcomes[-2:]) == [music / "piece1.mid"] * 2


def _misbehave(data: bytes) -> ParsedPiece | ParseError:
    if data.startswith(b"sleep"):
        time.sleep(60)
    if data.startswith(b"die"):
        os._exit(1)
    return parse_notes(data)


def test_a_file_that_hangs_or_kills_its_process_costs_only_itself(music: Path) -> None:
    (music / "a.mid").write_bytes(b"sleep")
    (music / "b.mid").write_bytes(b"die")
    outcomes = parse(music, processes(2, seconds=2, how=_misbehave))
    assert reasons(outcomes) == ["took too long", "crashed the reader"]
    assert [type(result) for result in results(outcomes)] == [ParseError] * 2 + [ParsedPiece] * 6
    # Neither is remembered: another machine, or another limit, may do better.
    repeated_mask = parse(music)
    assert reasons(repeated_mask) == ["not a MIDI file"] * 2
    assert cached(repeated_mask) == [False] * 2 + [True] * 6


def _eat(_data: bytes, **_: object) -> midi.Score:
    bytearray(reading.MEMORY_LIMIT)
    pytest.fail("the memory limit let this through")


def _parse_greedily(data: bytes) -> ParsedPiece | ParseError:
    midi.read = _eat  # type: ignore[assignment]  # in the worker, a process of its own
    return parse_notes(data)


def test_a_file_that_eats_memory_is_refused(music: Path) -> None:
    assert set(reasons(parse(music, processes(how=_parse_greedily)))) == {"out of memory"}


def test_a_huge_file_and_a_pipe_are_not_even_read(music: Path) -> None:
    with (music / "big.mid").open("wb") as file:
        file.truncate(midi.MAX_BYTES + 1)
    os.mkfifo(music / "a-pipe.mid")
    (music / "a-zero.mid").symlink_to("/dev/zero")
    (music / "a-zz.mid").symlink_to(music / "nowhere")
    assert reasons(parse(music)) == ["cannot be read"] * 3 + ["too large"]


def test_a_piece_says_what_was_not_heard() -> None:
    hanging = b"\x00\x90\x30\x40"
    result = parse_notes(smf(notes((0, 1, 60), (1, 2, 62), start=hanging)))
    assert isinstance(result, ParsedPiece)
    assert result.hanging_notes == 1
    assert result.notes == 2


def test_the_pedal_shapes_rhythm_and_neither_notes_nor_the_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_: bytes, *, pedal: bool = True) -> midi.Score:
        # An arpeggio within a sixteenth, whose ends the pedal joins.
        struck = (midi.Note(n * 20, 400 + 200 * n, 60 + 4 * n) for n in range(3))
        ends = [note._replace(length=1920 - note.start) if pedal else note for note in struck]
        return midi.Score(480, tuple(ends), has_sustain_pedal=True)

    monkeypatch.setattr(midi, "read", read)
    pieces = {
        (name, pedal): reading.parse_bytes(b"", name=name, pedal=pedal)
        for name in ("notes", "tsd", "remi")
        for pedal in (True, False)
    }
    assert all(isinstance(piece, ParsedPiece) for piece in pieces.values())
    assert len({getattr(piece, "music", "") for piece in pieces.values()}) == 1
    assert pieces["notes", True] == pieces["notes", False]
    for name in ("tsd", "remi"):
        assert pieces[name, True] != pieces[name, False]


def test_an_interrupt_waits_until_a_process_has_started() -> None:
    begin, sent = Event(), Event()

    def interrupt() -> None:
        begin.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # as a library's thread hears it
        sent.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread, reached = Thread(target=interrupt), False
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt), reading.without_interrupts():
            begin.set()
            sent.wait()
            time.sleep(0.01)
            reached = True
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert reached


def test_processes_that_cannot_be_started_are_a_sentence(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", os.fsencode(music / "nowhere"))
    pool = partial(reading.local_pool, parse_notes, 1, 5.0)
    with pytest.raises(InputError, match="no process can be started that reads files"):
        parse(music, pool)
