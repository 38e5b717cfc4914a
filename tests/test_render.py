"""The script render.py: which files it reads and writes, and what it prints."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from midi_bytes import notes, smf

import render
from midilstm.rendering import MARK, write_marked

A4 = smf(notes((0, 8, 69)))
OUTPUTS = {
    "--piano-roll": "x.png",
    "--self-similarity": "x.self-similarity.png",
    "--audio": "x.wav",
    "--musicxml": "x.musicxml",
    "--page": "index.html",
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=OUTPUTS)
def flag(request: pytest.FixtureRequest) -> str:
    if request.param == "--audio":
        pytest.importorskip("midirenderer", reason="requirements-audio.txt is not installed")
    return str(request.param)


def assert_one_sentence(text: str, *expected: str) -> None:
    assert text.count("\n") == 1
    assert all(word in text for word in expected)


def write_by_age(folder: Path, *names: str) -> None:
    """Write pieces, newest first."""
    for age, name in enumerate(names):
        (folder / name).write_bytes(A4)
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))


def test_without_files_the_newest_readable_piece_is_rendered(
    tmp_path: Path, capsys: Capture
) -> None:
    write_by_age(tmp_path, ".hidden.mid", "b.mid", "c.mid", "a.mid")
    (tmp_path / "broken.mid").write_bytes(b"not music")
    assert render.main(["--piano-roll", "--output-dir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["b.png"]
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'b.png'}\n"
    assert_one_sentence(printed.err, "broken.mid")


def test_the_page_lists_readable_pieces_newest_first_and_warns_of_all_others(
    tmp_path: Path, capsys: Capture
) -> None:
    write_by_age(tmp_path, "new.mid", ".hidden.mid", "middle.MID", "old.midi")
    (tmp_path / "bad.mid").write_bytes(b"not music")
    (tmp_path / ".partial-bad.mid").write_bytes(b"MThd")
    (tmp_path / "dangling.mid").symlink_to(tmp_path / "nowhere")
    (tmp_path / "endless.mid").symlink_to("/dev/zero")
    (tmp_path / "itself.mid").symlink_to("itself.mid")
    (tmp_path / "folder.mid").mkdir()
    for name in ("pipe.mid", "new.json", "new.wav"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "old.json").symlink_to("/dev/zero")
    assert render.main(["--page", "--output-dir", str(tmp_path)]) == 0
    page, lines = (tmp_path / "index.html").read_text(), capsys.readouterr().err.splitlines()
    offsets = [page.find(f'"{name}"') for name in ("new.mid", "middle.MID", "old.midi")]
    assert -1 < offsets[0] < offsets[1] < offsets[2]
    assert page.count('.mid"') == 1
    skipped = [f"{name}.mid" for name in ("bad", "dangling", "endless", "itself", "folder", "pipe")]
    for name in skipped:
        assert [name in line for line in lines].count(True) == 1
    assert len(lines) == len(skipped)


# The last name ends with a byte of Latin-1, as Python decodes it.
NAMES = ("a" * 251, "\x1b[31mred\nline\x07", "<img src=x onerror=alert(1)>", "caf\udce9")


@pytest.mark.parametrize("name", NAMES, ids=["long", "escapes", "html", "latin-1"])
def test_any_file_name_is_printed_as_plain_text(
    name: str, flag: str, tmp_path: Path, capfd: Capture
) -> None:
    path = tmp_path / f"{name}.mid"
    path.write_bytes(A4)
    files = [] if flag == "--page" else [str(path)]
    expected = 2 if files and len(name + OUTPUTS[flag].removeprefix("x")) > 255 else 0
    assert render.main([*files, flag, "--output-dir", str(tmp_path)]) == expected
    printed = "".join(capfd.readouterr())
    assert printed.count("\n") == 1
    assert printed.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("content", "flags", "expected"),
    [
        (None, ["x.mid", "--piano-roll"], "x.mid (No such file or directory)"),
        (b"", ["x.mid", "--piano-roll"], "x.mid cannot be read"),
        (smf(notes()), ["x.mid", "--piano-roll"], "no notes"),
        (smf(notes((0, 2 * 3601, 60))), ["x.mid", "--page"], "3,601 seconds"),
        (None, [], "--musicxml or --page"),
        (None, ["--piano-roll"], "sample.py"),
        (None, ["--page"], "sample.py"),
    ],
)
def test_what_cannot_be_rendered_is_reported_in_one_sentence(
    content: bytes | None,
    flags: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("x.mid").write_bytes(content)
    assert render.main(flags) == 2
    assert_one_sentence(capsys.readouterr().err, expected)


def test_an_earlier_output_is_replaced_and_a_users_file_is_kept(
    flag: str, tmp_path: Path, capsys: Capture
) -> None:
    path, result = tmp_path / "x.mid", tmp_path / OUTPUTS[flag]
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
    assert_one_sentence(capsys.readouterr().err, result.name)
    result.unlink()
    os.mkfifo(result)
    assert render.main(command) == 2
    assert_one_sentence(capsys.readouterr().err, result.name)


def test_writers_of_one_file_at_the_same_time_all_succeed_and_the_last_wins(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    outputs = [MARK.encode() + bytes([index]) * 10**6 for index in range(16)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(write_marked, outputs, [path] * 16)) == {str(path)}
    assert path.read_bytes() in outputs
    write_marked(outputs[0], path)
    assert path.read_bytes() == outputs[0]
    assert [*tmp_path.iterdir()] == [path]
