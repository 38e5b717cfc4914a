"""Files of a folder are parsed once, and taken from the cache when nothing has changed."""

import os
from pathlib import Path

import pytest

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import parsing, reading
from midilstm.data.files import ParseError, list_folder
from midilstm.data.parsing import ParsedPiece, ParseResult

pytestmark = pytest.mark.usefixtures("parsed", "user_cache")


def parse_folder(folder: Path) -> dict[Path, ParseResult | Path]:
    config = DataConfig(data_dir=folder)
    return reading.parse_files(list_folder(folder), config)[0]


def reasons(folder: Path, *, follow_links: bool = False) -> list[str]:
    report = list_folder(folder, follow_links=follow_links)
    results, _ = reading.parse_files(report, DataConfig(data_dir=folder))
    results = {path: results[path] for path in report.midi_files}
    return [result.reason for result in results.values() if isinstance(result, ParseError)]


def test_the_second_run_parses_only_what_has_changed(music: Path, parsed: list[bytes]) -> None:
    (music / "broken.mid").write_bytes(b"nonsense")
    results = parse_folder(music)
    assert len(parsed) == len(results) == 7
    assert parse_folder(music) == results
    assert reasons(music) == ["not a MIDI file"]
    assert len(parsed) == 7
    assert sorted(music.iterdir()) == sorted(music.glob("*.mid"))
    tokenizers.write(["C4"] * 7, music / "piece0.mid")
    result = parse_folder(music)[music / "piece0.mid"]
    assert isinstance(result, ParsedPiece)
    assert (result.tokens, len(parsed)) == (("C4",) * 7, 8)


def test_results_that_another_machine_may_improve_are_not_stored(
    music: Path, monkeypatch: pytest.MonkeyPatch, parsed: list[bytes]
) -> None:
    error = ParseError("took too long", "", is_cacheable=False)
    with monkeypatch.context() as patch:
        patch.setattr(parsing, "parse", lambda sources, _: (error for _ in sources))
        assert reasons(music) == ["took too long"] * 6
    assert reasons(music) == []
    assert len(parsed) == 6


def test_files_with_the_same_bytes_or_tokens_are_used_once(music: Path) -> None:
    tokens = tokenizers.read(music / "piece1.mid")
    (music / "x-copy.mid").write_bytes((music / "piece1.mid").read_bytes())
    tokenizers.write(tokens, music / "x-other-tempo.mid", bpm=90)
    for _ in range(2):
        report = list_folder(music)
        reading.read_files(report, DataConfig(data_dir=music))
        names = ("x-copy.mid", "x-other-tempo.mid")
        assert report.duplicates == [(music / name, music / "piece1.mid") for name in names]


def test_a_huge_file_a_pipe_and_a_device_are_refused_unread(music: Path) -> None:
    with (music / "big.mid").open("wb") as file:
        file.truncate(midi.MAX_BYTES + 1)
    os.mkfifo(music / "a-pipe.mid")
    (music / "a-zero.mid").symlink_to("/dev/zero")
    (music / "a-zz.mid").symlink_to(music / "nowhere")
    assert reasons(music, follow_links=True) == ["cannot be read"] * 3 + ["too large"]
    report = list_folder(music)
    reading.read_files(report, DataConfig(data_dir=music))
    path, error = report.skipped[0]
    assert path == music / "a-zero.mid"
    assert error.detail == "a link that leads out of the folder; add --follow-links to read it"
    assert (len(report.skipped), report.n_found) == (4, 10)
