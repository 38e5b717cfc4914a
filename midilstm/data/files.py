"""What a folder holds: its MIDI files, and music in other forms. Opens no file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MIDI = (".mid", ".midi", ".kar", ".rmi", ".smf")
# what music beside them is, and what to do about it → the ends of such files' names
UNREAD = {
    "archives (unpack them)": "7z bz2 gz lha rar tar tgz xz zip",
    "audio (no notes are in it)": ("aac aif aiff flac m4a mp3 oga ogg opus wav wma"),
    "notation (export it as MIDI)": (
        "abc cap gp gp3 gp4 gp5 gpx krn ly mei mscx mscz mus musicxml musx mxl ptb sib xml"
    ),
}
_KINDS = {f".{ending}": kind for kind, endings in UNREAD.items() for ending in endings.split()}


def find_files(folder: Path, far: Iterable[Path] = ()) -> tuple[list[Path], dict[str, list[Path]]]:
    """List the MIDI files below `folder`, and by kind the music that is none, hidden ones never.

    `far` are the files below a folder behind a URL.
    """
    found = [path for path in far if not any(part.startswith(".") for part in path.parts)]
    visited: set[str] = set()
    unread: dict[str, list[Path]] = {}

    def closed(error: OSError) -> None:
        kind = f"folders (cannot be opened: {error.strerror})"
        unread.setdefault(kind, []).append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        here = os.path.realpath(parent)
        if here in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    for path in found:
        if kind := _KINDS.get(path.suffix.lower()):
            unread.setdefault(kind, []).append(path)
    return [path for path in found if path.suffix.lower() in MIDI], unread
