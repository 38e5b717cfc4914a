"""The report of preprocess.py, as text and as JSON, and its errors."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import preprocess
import train
from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import batches, report
from midilstm.data.dataset import load_dataset
from midilstm.fileio import InputError

pytestmark = pytest.mark.usefixtures("parsed")
BROKEN = b"MThd"


def write_report(folder: Path, *flags: str) -> dict[str, Any]:
    """Run preprocess.py; return its JSON report."""
    file = folder.parent / "reports" / "report.json"
    assert preprocess.main([f"--data-dir={folder}", *flags, f"--report={file}"]) == 0
    result: dict[str, Any] = json.loads(file.read_text())
    return result


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no MIDI files in {}: put some .mid files there, name another folder with --data-dir"),
        (
            {"a.mp3": "", "b.zip": "", "c.zip": "", "d.abc": ""},
            "{}, only 1 audio file without notes, 2 archives to unpack, 1 notation file to export "
            "as MIDI: put",
        ),
        (
            {"page.mid": "<!DOCTYPE html>"},
            "none of the 1 MIDI files in {} could be used; the first, page.mid: not a MIDI file",
        ),
        (None, "{} is not a folder; give a folder of .mid files with --data-dir"),
    ],
)
def test_a_folder_without_music_is_refused_in_a_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str] | None,
    message: str,
) -> None:
    folder = tmp_path if files is not None else tmp_path / "nowhere"
    for name, text in (files or {}).items():
        (tmp_path / name).write_text(text)
    assert preprocess.main([f"--data-dir={folder}"]) == 2
    error = capsys.readouterr().err
    assert message.format(folder) in error
    assert error.count("\n") == 1


def test_the_report_counts_and_names_files(
    music: Path, make_piece: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "broken.mid").write_bytes(BROKEN)
    (music / "copy.MIDI").write_bytes((music / "piece3.mid").read_bytes())
    (music / "more.zip").touch()
    make_piece(music / "sub" / "more.mid", seed=9, length=5)
    flags = ["--batch-size=2", "--seq-length=8", "--no-transpose"]
    assert preprocess.main([f"--data-dir={music}", *flags]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines() if line[0] != " ")
    assert lines["found"].startswith("9 MIDI files (")
    assert lines["parsed"].startswith("7 ")
    assert "skipped         1 file (truncated)\n" in printed
    assert f"unsupported     1 archive to unpack\n  {music / 'more.zip'}\n" in printed
    assert lines["duplicates"] == "1, each piece of music is used once"
    assert lines["pieces"] == "6 for training, 1 held out"
    assert lines["instruments"] == "Acoustic Grand Piano 7"
    assert lines["tokens"].startswith("372 ")  # 6 of 60, one of 5, and 7 ends
    assert lines["vocabulary"] == "9"


@pytest.mark.parametrize(
    ("flag", "vocabulary"),
    [("--transpose", "44 (9 occur in the files)"), ("--no-transpose", "9")],
)
def test_the_report_and_training_state_the_same_vocabulary(
    music: Path, flag: str, vocabulary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--data-dir={music}", flag]
    assert preprocess.main([*flags, "--batch-size=2", "--seq-length=8"]) == 0
    assert f"\nvocabulary      {vocabulary}\n" in capsys.readouterr().out
    dataset = load_dataset(train.parse_args(flags).data)
    assert report.summarize(dataset).endswith(f"vocabulary {vocabulary}")


@pytest.mark.usefixtures("user_cache")
def test_the_report_as_json(music: Path) -> None:
    (music / "broken.mid").write_bytes(BROKEN)
    (music / "song.mp3").touch()
    tokenizers.write(["C4", "D4"], music / "short.mid")
    flags = ["--batch-size=2", "--seq-length=8", "--validation=0", "--min-notes=40"]
    result = write_report(music, *flags)
    assert (result["found"], result["parsed"], result["from_cache"]) == (8, 6, 0)
    assert list(result["skipped"]) == ["truncated", "too few notes"]
    (short,) = result["skipped"]["too few notes"]
    assert short["path"] == str(music / "short.mid")
    assert "2, less than --min-notes=40" in short["detail"]
    assert result["unsupported"] == {"audio": [str(music / "song.mp3")]}
    assert result["tokens"] == {"all": 366, "training": 366}
    assert result["batches_per_epoch"] == 22
    assert result["quarters"] == 6 * 30
    assert write_report(music, *flags)["from_cache"] == 6
    assert write_report(music, *flags, "--no-cache")["from_cache"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("user_cache")
def test_a_scheduler_that_does_not_answer_is_an_error(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="needs requirements-dask.txt")
    assert preprocess.main([f"--data-dir={music}", "--scheduler=tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_a_stream_shorter_than_one_batch_is_an_error() -> None:
    report.require_batch(16 * 64 + 16, 16, 64)
    assert batches.batch_count(16 * 64 + 16, 16, 64) == 1
    assert batches.batch_count(16 * 64 + 15, 16, 64) == 0
    with pytest.raises(InputError, match=r"1,039 tokens .* needs 1,040.*--batch-size or --seq-len"):
        report.require_batch(16 * 64 + 15, 16, 64)


def test_files_that_were_read_in_part_are_reported(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset(DataConfig(data_dir=music))
    piece = dataset.pieces["piece5.mid"]
    dataset.pieces["piece5.mid"] = replace(
        piece, hanging_notes=3, leading_bars=4, inexact_meta=2, warnings=("cut short",)
    )
    as_json = report.report_to_json(dataset, 2, 8)
    counts = [as_json[key] for key in ("hanging_notes", "leading_bars", "inexact_meta")]
    assert counts == [3, 4, 2]
    assert as_json["truncated"] == {"piece5.mid": ("cut short",)}
    report.print_report(dataset, 2, 8)
    printed = capsys.readouterr().out
    assert "hanging notes   3, which never end" in printed
    assert "leading bars    4 empty at the start of 1 file, left out\n" in printed
    assert "inexact meta    2 tempos and time signatures" in printed
    assert "truncated       1 file, read as far as possible\n  piece5.mid: cut short\n" in printed


def test_file_names_of_any_bytes_are_printed_as_plain_text_and_saved(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m\n.mid")
    (music / f"broken {name}").write_bytes(BROKEN)
    (music / f"sound {name}").write_bytes((music / "piece0.mid").read_bytes())
    result = write_report(music)
    printed = capsys.readouterr().out
    assert r"broken caf\udce9\x1b[31m\n.mid" in printed
    assert r"sound caf\udce9\x1b[31m\n.mid" in printed
    assert "\x1b" not in printed
    assert result["skipped"]["truncated"][0]["path"] == str(music / f"broken {name}")
    assert result["duplicates"][0]["path"] == str(music / f"sound {name}")
    for path in music.glob("piece*"):
        path.unlink()
    dataset = load_dataset(DataConfig(data_dir=music, validation=0))
    assert list(dataset.training) == [f"sound {name}"]
    assert "\x1b" not in report.summarize(dataset)
    (music / f"sound {name}").unlink()
    assert preprocess.main([f"--data-dir={music}"]) == 2
    error = capsys.readouterr().err
    assert r"the first, broken caf\udce9\x1b[31m\n.mid" in error
    assert error.count("\n") == 1


def test_versions_of_a_tune_are_counted_and_named(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = midi.read(music / "piece3.mid")
    higher = [note._replace(pitch=note.pitch + 2) for note in score.notes]
    (music / "higher.mid").write_bytes(midi.to_bytes(replace(score, notes=tuple(higher))))
    assert write_report(music)["duplicate_groups"] == [["higher.mid", "piece3.mid"]]
    text = "1 tune in 2 versions, each tune on one side of the split"
    assert f"{text}\n  higher.mid, piece3.mid\n" in capsys.readouterr().out
    assert f"; {text}" in report.summarize(load_dataset(DataConfig(data_dir=music)))
    assert write_report(music, "--no-group-versions")["duplicate_groups"] == []
    assert "versions" not in capsys.readouterr().out
