"""Errors of the user, bounded reading of files, atomic writing, and locks of folders."""

import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"  # beginning of the name of a file that is still being written


def printable(text: str) -> str:
    """Return a text with control characters, which can steer a terminal, as visible escapes."""
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)


class InputError(ValueError):
    """Report in one sentence what is wrong with the user's input, and what helps."""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; raise OSError for a folder, a pipe or a device."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer

    file = open(path, "rb", opener=opener)  # noqa: SIM115 - Path.open has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is not a regular file")
    return file


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file; raise ValueError where it has more than `max_bytes` bytes."""
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes / 2**20:g} MiB")
    return data


def read_json(source: Path | bytes, max_bytes: int = 2**24) -> Any:
    """Read JSON of at most `max_bytes` bytes, from a file or from its bytes.

    Raise OSError, or ValueError for what is not JSON, for NaN, for numbers beyond 64 bits, and for
    more than one entry per 32 bytes of the bound, which would take many times its memory.
    """
    data = read_bytes(source, max_bytes) if isinstance(source, Path) else source
    if sum(map(data.count, b",[{")) > max_bytes // 32:
        raise ValueError(f"it has more than {max_bytes // 32:,} entries")
    try:
        return json.loads(
            data.decode(), parse_int=_integer, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _integer(text: str) -> int:
    if abs(value := int(text)) >= 2**64:
        raise ValueError(f"{text[:30]} is too large")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:30]} is not a finite number")
    return value


def warn(message: str) -> None:
    """Print a warning to standard error."""
    print(printable(f"warning: {message}"), file=sys.stderr)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the path of an empty file to write to; flush it to disk, and rename it to `path`.

    It is in the folder of `path` and has its suffix. A reader, a crash or a power cut sees the old
    file or the new one whole. Raise InputError where the file cannot be written.
    """
    partial = path.with_name(f"{PARTIAL}{os.urandom(8).hex()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch(exist_ok=False)  # which follows no link that somebody put there
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
    """Flush a folder to disk, where the system can, so that a rename outlives a power cut."""
    with suppress(OSError):  # Windows does not open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file through `atomic_path`; write what is not Unicode as JSON escapes it."""
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def exclusive_lock(*folders: Path, timeout: float = 0) -> Iterator[None]:
    """Make the folders, lock each for this process, and remove unfinished files of dead ones.

    Raise InputError where another process still holds one after `timeout` seconds. The system
    releases the locks of a process that dies.
    """
    from filelock import FileLock, Timeout  # slow to import, and --help has no locks

    with ExitStack() as locks:
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(FileLock(folder / ".lock", timeout=timeout))
            except Timeout:
                raise InputError(
                    f"another process is writing to {folder}: wait until it ends, or give this one "
                    "another folder"
                ) from None
            except OSError:  # some network file systems have no locks
                pass
            for leftover in folder.glob(f"{PARTIAL}*"):
                with suppress(OSError):
                    leftover.unlink()
        yield
