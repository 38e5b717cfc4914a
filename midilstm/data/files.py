"""List the MIDI files and other music in a folder or bucket, and read a file's bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from midilstm import fileio
from midilstm.fileio import InputError

MIDI = (".mid", ".midi", ".kar", ".rmi", ".smf")
UNREADABLE = "folder"
# kind of unsupported file → what it is called, what to do about it, its file name extensions
UNSUPPORTED = {
    UNREADABLE: ("folder", "that cannot be opened", ""),
    "archive": ("archive", "to unpack", "7z bz2 gz lha rar tar tgz xz zip"),
    "audio": ("audio file", "without notes", "aac aif aiff flac m4a mp3 oga ogg opus wav wma"),
    "notation": (
        "notation file",
        "to export as MIDI",
        "abc cap gp gp3 gp4 gp5 gpx krn ly mei mscx mscz mus musicxml musx mxl ptb sib xml",
    ),
}
_KINDS = {f".{end}": kind for kind, (*_, ends) in UNSUPPORTED.items() for end in ends.split()}


@dataclass(frozen=True)
class FolderListing:
    """The files of a folder, by path; `versions` are texts that change with a remote file."""

    midi_files: list[Path]
    unsupported: dict[str, list[Path]]  # by kind
    versions: Mapping[Path, str] = field(default_factory=dict)


def count_noun(count: int, noun: str) -> str:
    """Return a number and its noun in the singular or plural, such as `2 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_unsupported(kind: str, count: int) -> str:
    """Return what unsupported files there are and what to do about them, in a few words."""
    noun, hint, _ = UNSUPPORTED[kind]
    return f"{count_noun(count, noun)} {hint}"


def list_folder(folder: Path) -> FolderListing:
    """List the music below a folder, or a URL such as s3://bucket/music, except hidden files."""
    unsupported: dict[str, list[Path]] = {}
    versions = _list_remote(folder) if remote_url(folder) else {}
    paths = [path for path in versions if not any(x.startswith(".") for x in path.parts)]
    if not remote_url(folder):
        paths = _list_local(folder, unsupported)
    paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    for path in paths:
        if kind := _KINDS.get(path.suffix.lower()):
            unsupported.setdefault(kind, []).append(path)
    midi_files = [path for path in paths if path.suffix.lower() in MIDI]
    if not midi_files:
        kinds = [describe_unsupported(kind, len(x)) for kind, x in unsupported.items()]
        others = f", only {', '.join(kinds)}" if kinds else ""
        raise InputError(
            f"no MIDI files in {folder}{others}: put some .mid files there, name another folder "
            "with --data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    return FolderListing(midi_files, unsupported, versions)


def _list_local(folder: Path, unsupported: dict[str, list[Path]]) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of .mid files with --data-dir")
    paths: list[Path] = []
    visited: set[str] = set()

    def note_error(error: OSError) -> None:
        unsupported.setdefault(UNREADABLE, []).append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=note_error, followlinks=True):
        real_path = os.path.realpath(parent)
        if real_path in visited:  # through a link to a folder above
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(parent, name) for name in names if not name.startswith(".")]
    return paths


def remote_url(path: Path) -> str | None:
    """Return the URL that a path such as s3:/bucket/music stands for; None for a local path."""
    scheme, _, rest = path.as_posix().partition(":/")
    return f"{scheme}://{rest}" if rest and re.fullmatch("[a-z][a-z0-9+.-]+", scheme) else None


def _list_remote(folder: Path) -> dict[Path, str]:
    """Return all files below a folder behind a URL, each with its ETag or its other properties."""
    url = remote_url(folder)
    try:
        system, root = _open_remote(folder)
        root = root.rstrip("/")
        properties = system.find(root, detail=True)
    except ImportError as error:
        raise InputError(f"--data-dir={url} needs a driver: {error}") from error
    except Exception as error:  # each driver has errors of its own
        raise InputError(f"cannot list --data-dir={url} ({error})") from error
    return {
        folder / name.removeprefix(root).lstrip("/"): str(x.get("ETag") or sorted(x.items()))
        for name, x in properties.items()
    }


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a local or remote file; raise OSError, or ValueError where it is larger."""
    if not remote_url(path):
        return fileio.read_bytes(path, max_bytes)
    try:
        system, name = _open_remote(path)
        data = bytes(system.cat_file(name, end=max_bytes + 1))
    except Exception as error:  # each driver has errors of its own
        raise OSError(str(error)) from error
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes / 2**20:g} MiB")
    return data


def _open_remote(path: Path) -> tuple[Any, str]:
    """Return the file system of a URL and the file's name in it."""
    from fsspec.core import url_to_fs  # comes with requirements-dask.txt

    system, name = url_to_fs(remote_url(path))
    return system, str(name)
