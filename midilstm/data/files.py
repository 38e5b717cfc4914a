"""List the MIDI files and other music in a folder or bucket, and read a file's bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from midilstm import midi
from midilstm.fileio import InputError, open_regular

MIDI = (".mid", ".midi", ".kar", ".rmi", ".smf")
# kind of unsupported file → what it is called, what to do about it, its file name extensions
UNSUPPORTED = {
    "folder": ("folder", "that cannot be opened", ""),
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
class ParseError:
    """Why a file gave no piece; `reason` groups such files in a report."""

    reason: str
    detail: str
    is_cacheable: bool = True  # False where another machine or time limit may succeed


OUTSIDE_LINK = ParseError(
    "link out of the folder",
    "a link that leads out of the folder; add --follow-links to read it",
)


@dataclass(kw_only=True)
class ReadReport:
    """The MIDI files of a folder and what became of them; `list_folder` and `read_files` fill it.

    `versions` are texts that change with a remote file.
    """

    midi_files: list[Path] = field(default_factory=list)
    versions: dict[Path, str] = field(default_factory=dict)
    unsupported: dict[str, list[Path]] = field(default_factory=dict)  # other formats, by kind
    skipped: list[tuple[Path, ParseError]] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)  # and the file that is used
    from_cache: int = 0
    n_found: int = 0
    seconds: float = 0.0

    def skip(self, names: Container[str], folder: Path) -> None:
        """Leave out the files of these names, which a training run skipped when it began."""
        before = ParseError("skipped before", "was skipped when the run began")
        paths = [path for path in self.midi_files if name_of(path, folder) in names]
        self.midi_files = [path for path in self.midi_files if path not in paths]
        self.skipped += [(path, before) for path in paths]


def count_noun(count: int, noun: str) -> str:
    """Return a number and its noun in the singular or plural, such as `2 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_unsupported(kind: str, count: int) -> str:
    """Return what unsupported files there are and what to do about them, in a few words."""
    noun, hint, _ = UNSUPPORTED[kind]
    return f"{count_noun(count, noun)} {hint}"


def list_folder(folder: Path, *, follow_links: bool = False) -> ReadReport:
    """List the music below a folder, or a URL such as s3://bucket/music, except hidden files.

    Links that lead out of the folder are read with `follow_links` only. Raise InputError where
    there are no MIDI files.
    """
    report = ReadReport()
    if remote_url(folder):
        report.versions = _list_remote(folder)
        paths = [x for x in report.versions if not any(y.startswith(".") for y in x.parts)]
    else:
        paths = _list_local(folder, report, follow_links=follow_links)
    paths.sort(key=lambda path: name_of(path, folder))
    for path in paths:
        if kind := _KINDS.get(path.suffix.lower()):
            report.unsupported.setdefault(kind, []).append(path)
        elif path.suffix.lower() in MIDI:
            report.midi_files.append(path)
    if not report.midi_files:
        others = [describe_unsupported(kind, len(x)) for kind, x in report.unsupported.items()]
        if report.skipped:
            links = count_noun(len(report.skipped), "link")
            others.append(f"{links} out of it, see --follow-links")
        only = f", only {', '.join(others)}" if others else ""
        raise InputError(
            f"no MIDI files in {folder}{only}: put some .mid files there, name another folder "
            "with --data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    report.n_found = len(report.midi_files) + len(report.skipped)
    return report


def _list_local(folder: Path, report: ReadReport, *, follow_links: bool) -> list[Path]:
    """Return all files below a folder, and add what cannot be opened or followed to a report."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of .mid files with --data-dir")
    root, visited = Path(os.path.realpath(folder)), set()
    paths: list[Path] = []

    def note_unreadable(error: OSError) -> None:
        report.unsupported.setdefault("folder", []).append(Path(error.filename))

    def is_inside(path: Path) -> bool:
        if follow_links or not path.is_symlink():
            return True
        return Path(os.path.realpath(path)).is_relative_to(root)

    for parent, folders, names in os.walk(folder, onerror=note_unreadable, followlinks=True):
        real_path = os.path.realpath(parent)
        is_new = real_path not in visited  # else it is a link to a folder above
        visited.add(real_path)
        visible = [name for name in [*folders, *names] if is_new and not name.startswith(".")]
        inside = {name for name in visible if is_inside(Path(parent, name))}
        paths += [Path(parent, name) for name in names if name in inside]
        for name in set(visible) - inside:
            path = Path(parent, name)
            if name in folders or path.suffix.lower() in MIDI:
                report.skipped.append((path, OUTSIDE_LINK))
        folders[:] = sorted(inside.intersection(folders))
    report.skipped.sort(key=itemgetter(0))
    return paths


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a file in reports and settings: its path from `folder`, with slashes."""
    return path.relative_to(folder).as_posix()


def remote_url(path: Path) -> str | None:
    """Return the URL that a path such as s3:/bucket/music stands for; None for a local path."""
    scheme, _, rest = path.as_posix().partition(":/")
    return f"{scheme}://{rest}" if rest and re.fullmatch("[a-z][a-z0-9+.-]+", scheme) else None


def _list_remote(folder: Path) -> dict[Path, str]:
    """Return the files below a URL, each with its ETag or its other properties."""
    url = remote_url(folder)
    if url and url.startswith("file:"):
        raise InputError("--data-dir takes a folder or an s3:// address: leave out file://")
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


def read_file(path: Path) -> bytes | ParseError:
    """Return the bytes of a local or remote file, or why it cannot be read."""
    try:
        if remote_url(path):
            system, name = _open_remote(path)
            data = bytes(system.cat_file(name, end=midi.MAX_BYTES + 1))
        else:
            with open_regular(path) as file:
                data = file.read(midi.MAX_BYTES + 1)
    except Exception as error:  # each driver has errors of its own
        reason = (isinstance(error, OSError) and error.strerror) or error
        return ParseError("cannot be read", f"cannot be read ({reason})")
    if len(data) > midi.MAX_BYTES:
        return ParseError("too large", f"larger than {midi.MAX_BYTES // 1024**2} MiB")
    return data


def _open_remote(path: Path) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # comes with requirements-dask.txt

    system, name = url_to_fs(remote_url(path))
    return system, str(name)
