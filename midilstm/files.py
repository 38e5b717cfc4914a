"""What all rooms share of files: a person's mistake, and the one atomic write. Knows no formats."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there two runs can share a folder
    fcntl = None  # type: ignore[assignment]


def printable(text: str) -> str:
    """Return a text, such as a file's name, with what would steer a terminal as visible escapes."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


class InputError(ValueError):
    """Tell a person what is wrong with what they gave, in one sentence that names what helps."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, of its suffix, to write to; then flush it to disk and rename it.

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
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            reason = error.strerror or error
            intact = "all files written before are intact"
            raise InputError(f"cannot write {path} ({reason}); {intact}") from error
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file through `atomic_path`; what is no Unicode is escaped as in JSON."""
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def locked(*folders: Path) -> Iterator[None]:
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
            for left in folder.glob(".partial-*"):
                left.unlink()
        yield
