"""What was worked out before, by key, in one SQLite file. Knows no music; losing it costs time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

FLUSH = 100  # entries written at a time: one transaction, so that another run waits little
WAIT = 30.0  # seconds to wait for another run's transaction


class Cache:
    """Keep JSON objects by key; a damaged entry, or file, is as good as none and is made again.

    Several runs may use one file at once. Where it cannot be opened or written, nothing is kept.
    """

    def __init__(self, path: Path) -> None:
        """Use the file `path`, made with its folder when the cache is entered."""
        self.path = path
        self._new: dict[str, str] = {}
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Cache:
        with suppress(OSError, sqlite3.OperationalError):  # a read-only or full disk
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # damaged beyond its entries
                self._close()
                self.path.unlink()
                self._open()
        return self

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, timeout=WAIT)
        # A power cut may damage the file, and then it is made again: no need to wait for the disk.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, checksum TEXT, body TEXT)"
            " WITHOUT ROWID"
        )

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was kept under `key`; None where nothing is, or it is damaged."""
        if self._connection is None:
            return None
        query = "SELECT checksum, body FROM entry WHERE key = ?"
        try:
            checksum, body = self._connection.execute(query, (key,)).fetchone() or (None, None)
            return json.loads(body) if body and _hash(key + body) == checksum else None
        except (sqlite3.Error, ValueError, TypeError):
            return None

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a JSON object under `key`."""
        self._new[key] = json.dumps(value, ensure_ascii=False)
        if len(self._new) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        rows = [(key, _hash(key + body), body) for key, body in self._new.items()]
        self._new.clear()
        if self._connection is not None:
            with suppress(sqlite3.Error), self._connection as transaction:
                transaction.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", rows)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._flush()
        self._close()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
