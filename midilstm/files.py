"""What all rooms share of files: a person's mistake, and the one atomic write. Knows no formats."""

from __future__ import annotations

import os
from pathlib import Path


class InputError(ValueError):
    """Tell a person what is wrong with what they gave, in one sentence that names what helps."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, a crash or a power cut sees the old one or the new one whole.

    The bytes are flushed to disk under another name in the same folder, and then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
