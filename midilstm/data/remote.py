"""Folders behind a URL, such as s3://bucket/music, through fsspec. Knows no MIDI.

`Path` writes such a URL as s3:/bucket/music, and so do reports; `url_of` gives it back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from midilstm.fileio import InputError


def url_of(path: Path) -> str | None:
    """Return the URL that a path stands for, None for one on this machine."""
    scheme, _, rest = path.as_posix().partition(":/")
    return f"{scheme}://{rest}" if rest and re.fullmatch("[a-z][a-z0-9+.-]+", scheme) else None


def listing(folder: Path) -> dict[Path, str]:
    """Return all files below a folder behind a URL, with what says which content each has."""
    url = url_of(folder) or ""
    try:
        system, root = _open(url)
        root = root.rstrip("/")
        found = system.find(root, detail=True)
    except ImportError as error:
        raise InputError(f"--data-dir={url} needs a driver: {error}") from error
    except Exception as error:  # each driver has errors of its own
        raise InputError(f"cannot list --data-dir={url} ({error})") from error
    names = {name: name.removeprefix(root).lstrip("/") for name in found}
    # Two files of one content have one ETag in S3; elsewhere a file is known by all that is said.
    return {
        folder / names[name]: str(info.get("ETag") or sorted(info.items()))
        for name, info in found.items()
    }


def read(path: Path, count: int) -> bytes:
    """Return the first `count` bytes of a file behind a URL; raise OSError where it cannot be."""
    try:
        system, name = _open(url_of(path) or "")
        return bytes(system.cat_file(name, end=count))
    except Exception as error:  # each driver has errors of its own
        raise OSError(str(error)) from error


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the name that it has there."""
    from fsspec.core import url_to_fs  # only those with such folders install it

    system, name = url_to_fs(url)
    return system, str(name)
