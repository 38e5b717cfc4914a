"""What was worked out before, by key, in one SQLite file. Knows no music; losing it costs time."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

WAIT = 5.0  # seconds, for another run's transaction
LARGEST = 2**26  # bytes of an entry
STEPS = 100_000  # of SQLite's machine; an entry takes a few dozen
TABLE = "entry (key TEXT PRIMARY KEY, checksum TEXT, body TEXT)"


class Cache:
    """Keep JSON objects by key; a damaged entry, or file, is as good as none and is made again.

    Several runs may use one file, by turns. Where it cannot be opened or written, nothing is kept.
    Whoever gave away the folder may have made the file: it can neither hang nor fill the memory,
    but what it says is to be checked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Cache:
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
        except (OSError, sqlite3.Error):  # a read-only folder
            return self
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        self._connection.set_progress_handler(lambda: 1, STEPS)
        # A power cut may damage the file, and then it is made again: no need to wait for the disk.
        self._execute("PRAGMA synchronous = OFF")
        self._execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
        # Neither a view nor a trigger, which would do other things at each look.
        if (
            self._execute("SELECT group_concat(sql) FROM sqlite_master")[0]
            != f"CREATE TABLE {TABLE}"
        ):
            self._make_again()
        return self

    def get(self, key: str) -> dict[str, Any]:
        """Return what was kept under `key`; nothing where that is missing or damaged."""
        checksum, body = self._execute("SELECT checksum, body FROM entry WHERE key = ?", key)
        try:
            value = json.loads(body) if checksum == str(crc32(f"{key}{body}".encode())) else {}
        except (ValueError, TypeError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a JSON object under `key`."""
        body = json.dumps(value)
        checksum = str(crc32(f"{key}{body}".encode()))
        if len(body) < LARGEST // 2:
            self._execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", key, checksum, body)

    def _execute(self, statement: str, *values: str) -> tuple[Any, ...]:
        """Return the first row found; make a damaged file again, and leave one that is no use."""
        try:
            if self._connection is not None:
                return self._connection.execute(statement, values).fetchone() or (None, None)
        except sqlite3.OperationalError:
            self.__exit__()
        except sqlite3.Error:
            self._make_again()
        return None, None

    def _make_again(self) -> None:
        """Replace the file, with what SQLite keeps beside it, where it can be replaced."""
        if self._connection is not None:
            self.__exit__()
            with suppress(OSError):
                for beside in ("-journal", "-wal", "-shm", ""):
                    self.path.with_name(self.path.name + beside).unlink(missing_ok=True)
                self.__enter__()

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
