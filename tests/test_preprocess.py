"""The report of preprocess.py, on the terminal and as JSON, and its refusals."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import preprocess
from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.data import batches
from midilstm.data import dataset as corpus
from midilstm.data.dataset import Dataset, load_dataset
from midilstm.data.report import require_batch, summary
from midilstm.fileio import InputError


def test_an_empty_folder_says_what_to_put_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preprocess.main(["--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert "train.py --demo" in error
    assert error.count("\n") == 1


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preprocess.main(["--data-dir", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_only_broken_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.mid").write_text("<!DOCTYPE html>")
    assert preprocess.main(["--data-dir", str(tmp_path)]) == 2
    assert "page.mid: not a MIDI file" in capsys.readouterr().err


def test_report_counts_and_names(
    music: Path, make_piece: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "broken.mid").write_bytes(b"MThd")
    (music / "copy.MIDI").write_bytes((music / "piece3.mid").read_bytes())
    make_piece(music / "sub" / "more.mid", seed=9, length=5)
    assert (
        preprocess.main(["--data-dir", str(music), "--batch-size", "2", "--seq-length", "8"]) == 0
    )
    printed = capsys.readouterr().out.splitlines()
    lines = dict(line.split(maxsplit=1) for line in printed if line[0] != " ")
    assert lines["found"].startswith("9 files")
    assert lines["parsed"].startswith("7 ")
    assert lines["skipped"] == "1"
    assert "  truncated: 1" in printed
    assert lines["duplicates"] == "1, used once"
    assert lines["pieces"] == "6 for training, 1 held out"
    assert lines["instruments"] == "Acoustic Grand Piano 7"
    assert lines["tokens"].startswith("372 ")  # 6 of 60, one of 5, and 7 ends
    assert lines["vocabulary"] == "9"


def test_the_report_as_json(music: Path, tmp_path: Path) -> None:
    (music / "broken.mid").write_bytes(b"MThd")
    file = tmp_path / "reports" / "r.json"
    flags = ["--batch-size=2", "--seq-length=8", "--validation=0", "--min-notes=40"]
    encodings.write(["C4", "D4"], music / "short.mid")
    assert preprocess.main([f"--data-dir={music}", *flags, f"--report={file}"]) == 0
    report = json.loads(file.read_text())
    assert report["found"] == 8
    assert report["parsed"] == 6
    assert list(report["skipped"]) == ["truncated", "too few notes"]
    (short,) = report["skipped"]["too few notes"]
    assert short["path"] == str(music / "short.mid")
    assert "2, and --min-notes asks for 40" in short["detail"]
    assert report["tokens"] == {"all": 366, "training": 366}
    assert report["batches_per_epoch"] == 22
    assert report["quarters"] == 6 * 30
    assert preprocess.main([f"--data-dir={music}", *flags, f"--report={file}"]) == 0
    assert json.loads(file.read_text())["from_cache"] == 6


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_named(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="needs requirements-dask.txt")
    assert preprocess.main([f"--data-dir={music}", "--scheduler=tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_the_smallest_stream_with_a_batch() -> None:
    require_batch(16 * 64 + 16, 16, 64)
    assert batches.batch_count(16 * 64 + 16, 16, 64) == 1
    assert batches.batch_count(16 * 64 + 15, 16, 64) == 0
    with pytest.raises(InputError, match=r"1,039 tokens .* needs 1,040.*--batch-size or --seq-len"):
        require_batch(16 * 64 + 15, 16, 64)


def test_music_that_is_no_midi_is_named_with_what_to_do(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "more.zip").touch()
    (music / "song.mp3").touch()
    file = tmp_path / "r.json"
    assert preprocess.main([f"--data-dir={music}", f"--report={file}"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "not read      2 beside them" in printed
    assert "  archives (unpack them): 1" in printed
    assert f"    {music / 'more.zip'}" in printed
    assert json.loads(file.read_text())["unsupported"] == {
        "archives (unpack them)": [str(music / "more.zip")],
        "audio (no notes are in it)": [str(music / "song.mp3")],
    }
    for path in music.glob("*.mid"):
        path.unlink()
    assert preprocess.main([f"--data-dir={music}"]) == 2
    assert "but 1 archives (unpack them)" in capsys.readouterr().err


def test_what_was_heard_in_part_is_counted(
    music: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: object, **options: Any) -> Dataset:
        corpus = load_dataset(music, **options)
        name, piece = corpus.pieces.popitem()
        corpus.pieces[name] = replace(
            piece, hanging_notes=3, inexact_meta=2, warnings=("cut short",)
        )
        return corpus

    monkeypatch.setattr(corpus, "load_dataset", load)
    file = tmp_path / "r.json"
    assert preprocess.main([f"--data-dir={music}", f"--report={file}"]) == 0
    report = json.loads(file.read_text())
    assert (report["hanging_notes"], report["inexact_meta"]) == (3, 2)
    assert report["truncated"] == {"piece5.mid": ["cut short"]}
    printed = capsys.readouterr().out
    assert "hanging notes 3 notes" in printed
    assert "inexact meta  2 tempos and time signatures" in printed
    assert "incomplete    1, read as far as they go\n  piece5.mid: cut short\n" in printed


def test_strange_names_are_read_reported_as_plain_text_and_saved(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9\x1b[31m\n.mid")
    (music / f"broken {name}").write_bytes(b"MThd")
    (music / f"sound {name}").write_bytes((music / "piece0.mid").read_bytes())
    file = tmp_path / "r.json"
    flags = [f"--data-dir={music}", f"--report={file}"]
    assert preprocess.main(flags) == 0
    printed = capsys.readouterr().out
    assert r"broken caf\udce9\x1b[31m\n.mid" in printed
    assert r"sound caf\udce9\x1b[31m\n.mid" in printed
    assert "\x1b" not in printed
    report = json.loads(file.read_text())
    assert report["skipped"]["truncated"][0]["path"] == str(music / f"broken {name}")
    assert report["duplicates"][0]["path"] == str(music / f"sound {name}")
    for path in music.glob("piece*"):
        path.unlink()
    held_out = load_dataset(music, validation=0)
    assert list(held_out.training) == [f"sound {name}"]
    assert "\x1b" not in summary(held_out)
    (music / f"sound {name}").unlink()
    assert preprocess.main(flags) == 2
    error = capsys.readouterr().err
    assert r"the first, broken caf\udce9\x1b[31m\n.mid" in error
    assert error.count("\n") == 1


def test_versions_are_counted_and_named(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = midi.read(music / "piece3.mid")
    higher = [note._replace(pitch=note.pitch + 2) for note in song.notes]
    (music / "higher.mid").write_bytes(midi.to_bytes(replace(song, notes=tuple(higher))))
    file = tmp_path / "r.json"
    flags = [f"--data-dir={music}", f"--report={file}"]
    assert preprocess.main(flags) == 0
    wanted = "versions      1 tune in 2 versions, each tune on one side\n  higher.mid, piece3.mid\n"
    assert wanted in capsys.readouterr().out
    assert json.loads(file.read_text())["duplicate_groups"] == [["higher.mid", "piece3.mid"]]
    assert "; 1 tune in 2 versions" in summary(load_dataset(music))
    assert preprocess.main([*flags, "--no-group-versions"]) == 0
    assert "versions" not in capsys.readouterr().out
