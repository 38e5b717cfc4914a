"""The door render.py: what it makes of which files, and what it says."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from midi_bytes import notes, smf

import render
from midilstm.rendering.timeline import TimedPiece

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


def test_the_page_leaves_out_what_is_no_regular_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_by_age(tmp_path, "x.mid", "y.mid")
    (tmp_path / "dangling.mid").symlink_to(tmp_path / "nowhere")
    (tmp_path / "endless.mid").symlink_to("/dev/zero")
    (tmp_path / "itself.mid").symlink_to("itself.mid")
    (tmp_path / "folder.mid").mkdir()
    for name in ("pipe.mid", "x.json", "x.wav"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "y.json").symlink_to("/dev/zero")
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    page, said = (tmp_path / "index.html").read_text(), capsys.readouterr().err.splitlines()
    assert '"x.mid"' in page
    assert '"y.mid"' in page
    for name in ("dangling.mid", "endless.mid", "itself.mid", "folder.mid", "pipe.mid"):
        assert f'"{name}"' not in page
        assert [name in line for line in said].count(True) == 1
    assert len(said) == 5


# The last of the line is a lone byte of Latin-1, as Python holds it.
NAMES = ("a" * 251, "\x1b[31mred\nline\x07", "<img src=x onerror=alert(1)>", "caf\udce9")


@pytest.mark.parametrize("flag", ["--piano-roll", "--form", "--audio", "--musicxml", "--page"])
@pytest.mark.parametrize("name", NAMES, ids=["long", "escapes", "html", "latin-1"])
def test_any_name_of_a_file_is_shown_as_plain_text(
    name: str, flag: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if flag == "--audio":
        pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    path = tmp_path / f"{name}.mid"
    path.write_bytes(A4)
    files = [] if flag == "--page" else [str(path)]
    # No file beside one whose name has 255 bytes can be written: the name in between is longer.
    expected = 2 if files and len(name) > 200 else 0
    assert render.main([*files, flag, "--output-dir", str(tmp_path)]) == expected
    printed = "".join(capfd.readouterr())
    # The page also says that it cannot look for settings of so long a name.
    assert printed.count("\n") == 1 + (not files and len(name) > 200)
    assert printed.replace("\n", "").isprintable()


def test_a_full_disk_leaves_the_old_picture_whole_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_by_age(tmp_path, "x.mid", "y.mid")
    command = ["--piano-roll", "--output-dir", str(tmp_path), str(tmp_path / "x.mid")]
    assert render.main(command) == 0
    before = (tmp_path / "x.png").read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
    try:
        assert render.main(command) == 2
        assert_one_sentence(capsys.readouterr().err, "cannot write ", "x.png (File too large)")
        assert render.main([*command, "--page"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert (tmp_path / "x.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mid", "x.png", "y.mid"]
    assert render.main(command) == 0


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_is_one_word_even_where_python_ignores_it(
    ignored: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def write_for_ever(piece: TimedPiece) -> bytes:
        if ignored:
            Dying()
        else:
            signal.raise_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.01)
        return piece.path.read_bytes()

    monkeypatch.setattr("midilstm.rendering.musicxml.write_score", write_for_ever)
    (tmp_path / "x.mid").write_bytes(A4)
    assert render.main(["--musicxml", str(tmp_path / "x.mid")]) == 130
    assert capsys.readouterr().err == "Stopped.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.mid"]


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
        ("--form", "x.form.png"),
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
    path.write_bytes(smf(notes((0, 12, 81))))
    assert render.main(command) == 0
    assert result.read_bytes() != first
    result.write_bytes(b"mine")
    capsys.readouterr()
    assert render.main(command) == 2
    assert result.read_bytes() == b"mine"
    assert_one_sentence(capsys.readouterr().err, name)
    result.unlink()
    os.mkfifo(result)
    assert render.main(command) == 2
    assert_one_sentence(capsys.readouterr().err, name)
