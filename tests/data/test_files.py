"""Which files of a folder are music, and which of those are read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from midilstm.data.files import find_files


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_files_are_found_in_any_case_in_order_and_not_in_hidden_folders(tmp_path: Path) -> None:
    fill(
        tmp_path, "b.mid", "a.MID", "z/c.Midi", "z/.d.mid", ".cache/e.mid", "notes.txt", "f.mid.txt"
    )
    fill(tmp_path, "k.kar", "r.RMI", "s.smf")
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)[0]]
    assert found == ["a.MID", "b.mid", "k.kar", "r.RMI", "s.smf", "z/c.Midi"]


def test_music_in_other_forms_is_named_by_what_it_is(tmp_path: Path) -> None:
    fill(tmp_path, "a.mid", "x.ZIP", "z/y.tar.gz", "song.mp3", "score.musicxml", ".x.zip", "a.txt")
    _, unread = find_files(tmp_path)
    assert unread == {
        "archives (unpack them)": [tmp_path / "x.ZIP", tmp_path / "z" / "y.tar.gz"],
        "audio (no notes are in it)": [tmp_path / "song.mp3"],
        "notation (export it as MIDI)": [tmp_path / "score.musicxml"],
    }


def test_a_folder_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a.mid", "secret/b.mid")
    scan = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # as to anyone but an administrator
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    paths, unread = find_files(tmp_path)
    assert paths == [tmp_path / "a.mid"]
    assert unread == {"folders (cannot be opened: Permission denied)": [tmp_path / "secret"]}
