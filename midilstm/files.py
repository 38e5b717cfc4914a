"""What all rooms share of files: a person's mistake, and the one atomic write. Knows no formats."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    A reader, a crash or a power cut sees the old file or the new one whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file through `atomic_path`; what is no Unicode is escaped as in JSON."""
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(path) as partial:
        partial.write_bytes(content)
