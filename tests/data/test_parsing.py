"""Parsing in processes, with limits per file."""

import multiprocessing.spawn
import os
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from midi_bytes import notes, smf

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import parsing
from midilstm.data.files import ParseError
from midilstm.data.parsing import ParsedPiece, ParseResult, Source, parse_bytes
from midilstm.fileio import InputError

Parse = Callable[[bytes, str, bool], ParseResult]


def parse_in_pool(sources: list[Source], parse: Parse, seconds: float = 20) -> list[ParseResult]:
    config = DataConfig(max_file_seconds=seconds)
    with parsing.process_pool(2) as pool:
        return list(parsing.parse_in(pool, sources, config, parse))


def test_processes_give_the_results_of_this_one_in_order(music: Path) -> None:
    (music / "piece2x.mid").write_bytes(b"nonsense")
    sources = [path.read_bytes() for path in sorted(music.iterdir())]
    expected = [parse_bytes(source, "notes", True) for source in sources]
    assert list(parsing.parse(sources, DataConfig(jobs=2))) == expected


@pytest.mark.parametrize("name", tokenizers.ENCODINGS)
def test_empty_bars_before_the_first_note_are_left_out_and_counted(name: str) -> None:
    plain, late = (
        parse_bytes(smf(notes((at, at + 1, 60), (at + 1, at + 2, 62))), name, True) for at in (1, 9)
    )
    assert isinstance(plain, ParsedPiece)
    assert late == replace(plain, leading_bars=2)


def _misbehave(data: bytes, *settings: object) -> ParseResult:
    if data == b"sleep":
        time.sleep(60)
    if data == b"die":
        os._exit(1)
    return ParseError("parsed", str(settings))


def test_a_file_that_hangs_or_ends_its_process_costs_only_itself() -> None:
    results = parse_in_pool([b"sleep", b"die", b"", b"", b""], _misbehave, seconds=2)
    errors = [result for result in results if isinstance(result, ParseError)]
    reasons = ["took too long", "crashed the reader", *["parsed"] * 3]
    assert [error.reason for error in errors] == reasons
    # Another machine or time limit may succeed.
    assert [error.is_cacheable for error in errors] == [False] * 2 + [True] * 3


def _allocate(_data: bytes, **_: object) -> midi.Score:
    bytearray(parsing.MEMORY_LIMIT)
    pytest.fail("the memory limit has no effect")


def _parse_with_much_memory(data: bytes, encoding_name: str, pedal: bool) -> ParseResult:
    midi.read = _allocate  # type: ignore[assignment]  # in another process
    return parse_bytes(data, encoding_name, pedal)


def test_a_file_that_needs_too_much_memory_is_refused() -> None:
    (result,) = parse_in_pool([b"MThd"], _parse_with_much_memory)
    assert isinstance(result, ParseError)
    assert (result.reason, result.is_cacheable) == ("out of memory", False)


def test_the_pedal_changes_rhythm_but_neither_notes_nor_the_split() -> None:
    # An arpeggio within a sixteenth, whose notes have other ends where the pedal holds them.
    arpeggio = [(i / 24, 0.5 + i / 3, 60 + 4 * i) for i in range(3)]
    data = smf(notes(*arpeggio, (4, 5, 60), start=b"\x00\xb0\x40\x7f"))
    hashes = set()
    for name in ("notes", "tsd", "remi"):
        pieces = [parse_bytes(data, name, pedal) for pedal in (True, False)]
        assert (pieces[0] == pieces[1]) == (name == "notes")
        hashes |= {piece.music_hash for piece in pieces if isinstance(piece, ParsedPiece)}
    assert len(hashes) == 1


def test_an_error_names_processes_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    resource_tracker.ensure_running()  # it is a process, too
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/nowhere")
    with pytest.raises(InputError, match="no process can be started that reads files"):
        parse_in_pool([b""], _misbehave)
