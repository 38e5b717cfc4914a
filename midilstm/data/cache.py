"""Keep parsed files between runs, in one SQLite file in the cache folder of the user."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from midilstm.data.files import ParseError
from midilstm.data.parsing import ParsedPiece, ParseResult

MAX_BYTES = 2**30  # of the database file; the oldest entries are deleted first
LOCK_TIMEOUT = 5.0  # seconds to wait for the transaction of another run
SIZE = (
    "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
DELETE_OLDEST = (
    "DELETE FROM entry WHERE rowid IN (SELECT rowid FROM entry ORDER BY rowid LIMIT 100)"
)


def default_path() -> Path:
    """Return the path of the database that all music folders of a user share."""
    return platformdirs.user_cache_path("midi-lstm", appauthor=False) / "parsed-1.sqlite"


class Cache:
    """Store results by key, as a context manager; several runs may share the database.

    Without a path, or where the database cannot be opened, is locked or damaged, nothing is stored
    and nothing is found. A damaged database is deleted.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path or Path()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Cache:
        if self._path.is_absolute():  # relative where the user has no home
            with suppress(OSError, sqlite3.OperationalError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(
                    self._path, timeout=LOCK_TIMEOUT, isolation_level=None
                )
            self._execute("PRAGMA synchronous = OFF")  # a power cut costs at most the database
            self._execute("CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, body BLOB)")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def get(self, key: str) -> ParseResult | None:
        """Return the result stored under `key`, or None."""
        row = self._execute("SELECT body FROM entry WHERE key = ?", key)
        try:
            values = json.loads(zlib.decompress(row[0])) if row else {}
            values = {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}
            return ParseError(**values) if "reason" in values else ParsedPiece(**values)
        except (ValueError, TypeError, AttributeError, zlib.error):  # no result, or another's
            return None

    def put(self, key: str, result: ParseResult) -> None:
        """Store a result under `key`; delete old entries from a database that is too large."""
        body = zlib.compress(json.dumps(vars(result)).encode(), 1)
        self._execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", key, body)
        row = self._execute(SIZE)
        if row and row[0] > MAX_BYTES:
            self._execute(DELETE_OLDEST)

    def _execute(self, statement: str, *values: str | bytes) -> tuple[Any, ...] | None:
        """Return the first row of the result, if any; stop using a database that fails."""
        try:
            if self._connection:
                row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
                return row
        except sqlite3.OperationalError:  # such as a locked or read-only one
            self.__exit__()
        except sqlite3.DatabaseError:
            self.__exit__()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        return None
