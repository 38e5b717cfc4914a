"""The door render.py: what it makes of which files, and what it says."""

import os
from pathlib import Path

import pytest
from midi_bytes import notes, smf

import render

A4 = smf(notes((0, 8, 69)))


def assert_one_sentence(text: str, *expected: str) -> None:
    assert text.count("\n") == 1
    assert all(word in text for word in expected)


def write_by_age(folder: Path, *names: str) -> None:
    """Write pieces, the newest first."""
    for age, name in enumerate(names):
        (folder / name).write_bytes(A4)
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))


def test_without_files_the_newest_piece_that_can_be_read_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_by_age(tmp_path, "b.mid", "c.mid", "a.mid")
    (tmp_path / "broken.mid").write_bytes(b"not music")
    assert render.main(["--piano-roll", "--output-dir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["b.png"]
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'b.png'}\n"
    assert "broken.mid" in printed.err


def test_the_page_holds_each_piece_the_newest_first_and_names_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_by_age(tmp_path, "new.mid", "middle.MID", "old.midi")
    (tmp_path / "bad.mid").write_bytes(b"not music")
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text()
    places = [page.find(f'"{name}"') for name in ("new.mid", "middle.MID", "old.midi")]
    assert -1 < places[0] < places[1] < places[2]
    assert '"bad.mid"' not in page
    assert "bad.mid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "not a file"),
        (b"", "cannot be read"),
        (b"<html>no music</html>", "cannot be read"),
        (smf(notes()), "no notes"),
        (smf(notes((0, 2 * 3601, 60))), "3,601 seconds"),
    ],
    ids=["missing", "empty", "html", "no-notes", "too-long"],
)
def test_a_file_that_is_not_music_is_one_sentence(
    content: bytes | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "x.mid").write_bytes(content)
    assert render.main([str(tmp_path / "x.mid"), "--piano-roll"]) == 2
    assert_one_sentence(capsys.readouterr().err, "x.mid", expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], "--musicxml or --page"), (["--piano-roll"], "sample.py"), (["--page"], "sample.py")],
)
def test_nothing_to_make_is_one_sentence(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render.main([*flags, "--output-dir", str(tmp_path / "nowhere")]) == 2
    assert_one_sentence(capsys.readouterr().err, expected)


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--piano-roll", "x.png"),
        ("--audio", "x.wav"),
        ("--musicxml", "x.musicxml"),
        ("--page", "index.html"),
    ],
)
def test_own_work_is_replaced_and_a_persons_work_stays(
    flag: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if flag == "--audio":
        pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    path, result = tmp_path / "x.mid", tmp_path / name
    command = [str(path), flag, "--output-dir", str(tmp_path)]
    path.write_bytes(A4)
    assert render.main(command) == 0
    first = result.read_bytes()
    path.write_bytes(smf(notes((0, 8, 81))))
    assert render.main(command) == 0
    assert result.read_bytes() != first
    result.write_bytes(b"mine")
    capsys.readouterr()
    assert render.main(command) == 2
    assert result.read_bytes() == b"mine"
    assert_one_sentence(capsys.readouterr().err, name)
