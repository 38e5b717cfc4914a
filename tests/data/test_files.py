"""Which files of a folder are listed as MIDI, and which as unsupported."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from midilstm.data.files import list_folder
from midilstm.fileio import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_music_is_listed_in_order_by_format_without_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.mid", "a.MID", "z/c.Midi", "z/.d.mid", ".x/e.mid", "notes.txt", "f.mid.txt")
    touch(tmp_path, "k.kar", "r.RMI", "s.smf")
    touch(tmp_path, "x.ZIP", "z/y.tar.gz", "song.mp3", "score.musicxml", ".x.zip")
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    report = list_folder(tmp_path)
    paths = [path.relative_to(tmp_path).as_posix() for path in report.midi_files]
    assert paths == ["a.MID", "b.mid", "k.kar", "r.RMI", "s.smf", "z/c.Midi"]
    assert report.unsupported == {
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
    report = list_folder(tmp_path)
    assert report.midi_files == [tmp_path / "a.mid"]
    assert report.unsupported == {"folder": [tmp_path / "secret"]}


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Return a folder with links inside it, out of it, in a circle, and from a hidden folder."""
    folder, outside = tmp_path / "music", tmp_path / "outside"
    folder.mkdir()
    touch(tmp_path / "outside", "x.mid", "y.mid", "z.txt")
    touch(folder, "a.mid", "sub/b.mid")
    touch(folder / ".hidden", "link.mid")
    links = {
        "again": folder / "sub",
        "album": outside,
        "circle": folder,
        "itself.mid": folder / "itself.mid",
        "lost.mid": tmp_path / "nowhere",
        "song.mid": Path("..", "outside", "x.mid"),
        "text.txt": outside / "z.txt",
        ".hidden/album": outside,
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (outside / "back").symlink_to(folder)
    (tmp_path / "through a link").symlink_to(folder)
    return folder


@pytest.mark.parametrize("name", ["music", "through a link"])
def test_links_out_of_the_folder_are_named_or_followed(linked: Path, name: str) -> None:
    folder = linked.with_name(name)
    report = list_folder(folder)
    names = ["a.mid", "again/b.mid", "itself.mid"]
    assert report.midi_files == [folder / name for name in names]
    assert [path for path, _ in report.skipped] == [
        folder / name for name in ("album", "lost.mid", "song.mid")
    ]
    report = list_folder(folder, follow_links=True)
    names = ["a.mid", "again/b.mid", "album/x.mid", "album/y.mid", "itself.mid", "lost.mid"]
    assert report.midi_files == [folder / name for name in [*names, "song.mid"]]
    assert report.skipped == []


def test_a_folder_of_links_out_of_it_is_refused_with_a_hint(linked: Path) -> None:
    for path in (linked / "a.mid", linked / "itself.mid", linked / "sub" / "b.mid"):
        path.unlink()
    with pytest.raises(InputError, match="only 3 links out of it, see --follow-links: put some"):
        list_folder(linked)


def test_a_file_address_is_refused() -> None:
    with pytest.raises(InputError, match="takes a folder or an s3:// address: leave out file://"):
        list_folder(Path("file:///home/me/music"))
