"""What all rooms share of files: a person's mistake, the one atomic write, bounded reading."""

import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has none: there two runs can share a folder
    fcntl = None  # type: ignore[assignment]

LEVELS = 100  # of a JSON file; ours have five
NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))


def printable(text: str) -> str:
    """Return a text, such as a file's name, with what would steer a terminal as visible escapes."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


class InputError(ValueError):
    """Tell a person what is wrong with what they gave, in one sentence that names what helps."""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file to read; raise OSError for a folder, pipe or device, which may have no end."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # of a pipe, wait for no writer

    file = open(path, "rb", opener=opener)  # noqa: SIM115 - Path.open has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is not a regular file")
    return file


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file; raise ValueError where it has more than `most` bytes."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most / 2**20:g} MiB")
    return data


def read_json(source: Path | bytes, most: int = 2**24) -> Any:
    """Read JSON of at most `most` bytes, and entries 1 / 32 of that, in some times its memory.

    Raise OSError, or ValueError for what no file of ours has: NaN, a name twice in an object,
    numbers of thousands of digits, hundreds of levels, millions of entries.
    """
    data = read_bytes(source, most) if isinstance(source, Path) else source
    if max(sum(map(data.count, b",[{")), data.count(b'"') // 4) > most // 32:
        raise ValueError(f"it has more than {most // 32:,} entries")
    outside = b"".join(data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    marks = outside.translate(None, NO_BRACKETS)
    if max(accumulate(1 if mark in b"[{" else -1 for mark in marks), default=0) > LEVELS:
        raise ValueError(f"it is nested more than {LEVELS} deep")
    return json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_refuse)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def warn(message: str) -> None:
    """Print a warning to standard error."""
    print(printable(f"warning: {message}"), file=sys.stderr)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, of its suffix, to write to; flush it to disk, then rename it.

    A reader, a crash or a power cut sees the old file or the new one whole. Raise InputError where
    the disk is full or will not be written to.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            reason = error.strerror or error
            intact = "all files written before are intact"
            raise InputError(f"cannot write {path} ({reason}); {intact}") from error
        raise


def _flush(folder: Path) -> None:
    """Let a folder's new name for a file outlive a power cut, where the system can promise that."""
    with suppress(OSError):  # Windows opens no folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file through `atomic_path`; what is no Unicode is escaped as in JSON."""
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def exclusive_lock(*folders: Path) -> Iterator[None]:
    """Make the folders, hold each for one process, and clear away what an earlier one left half.

    Raise InputError where another process holds one. The system lets go when a process dies.
    """
    with ExitStack() as held:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            folder.mkdir(parents=True, exist_ok=True)
            if fcntl:
                handle = os.open(folder, os.O_RDONLY)
                held.callback(os.close, handle)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    other = "wait until it ends, or give this one other folders"
                    raise InputError(f"another training is writing to {folder}: {other}") from None
                except OSError:  # some network file systems have no locks
                    pass
            for left in folder.glob(".partial-*"):
                left.unlink()
        yield
