"""Which files of a folder are listed as MIDI, and which as unsupported."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from midilstm.data.files import list_folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_midi_files_are_listed_in_order_without_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "b.mid", "a.MID", "z/c.Midi", "z/.d.mid", ".x/e.mid", "notes.txt", "f.mid.txt")
    touch(tmp_path, "k.kar", "r.RMI", "s.smf")
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    paths = [path.relative_to(tmp_path).as_posix() for path in list_folder(tmp_path).midi_files]
    assert paths == ["a.MID", "b.mid", "k.kar", "r.RMI", "s.smf", "z/c.Midi"]


def test_music_in_other_formats_is_listed_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.mid", "x.ZIP", "z/y.tar.gz", "song.mp3", "score.musicxml", ".x.zip", "a.txt")
    assert list_folder(tmp_path).unsupported == {
        "archive": [tmp_path / "x.ZIP", tmp_path / "z" / "y.tar.gz"],
        "audio": [tmp_path / "song.mp3"],
        "notation": [tmp_path / "score.musicxml"],
    }


def test_a_folder_that_cannot_be_opened_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.mid", "secret/b.mid")
    scan = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # root may open any folder
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_folder(tmp_path)
    assert listing.midi_files == [tmp_path / "a.mid"]
    assert listing.unsupported == {"folder": [tmp_path / "secret"]}
