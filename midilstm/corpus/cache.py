"""What was worked out before, by key, in one SQLite file. Knows no music; losing it costs time."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any
from zlib import crc32

TABLE = "CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, checksum TEXT, body TEXT)"


class Cache:
    """Keep JSON objects by key; a damaged entry, or file, is as good as none and is made again.

    Several runs may use one file, by turns. Where it cannot be opened or written, nothing is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Cache:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except (OSError, sqlite3.Error):  # a read-only folder
            return self
        # A power cut may damage the file, and then it is made again: no need to wait for the disk.
        self._execute("PRAGMA synchronous = OFF")
        self._execute(TABLE)
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
        self._execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", key, checksum, body)

    def _execute(self, statement: str, *values: str) -> tuple[Any, Any]:
        """Return the first row found; make a damaged file again, and leave one that is no use."""
        try:
            if self._connection is not None:
                return self._connection.execute(statement, values).fetchone() or (None, None)
        except sqlite3.Error as error:
            self.__exit__()
            if not isinstance(error, sqlite3.OperationalError):
                self.path.unlink(missing_ok=True)
                self.__enter__()
        return None, None

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
