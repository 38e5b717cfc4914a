"""A folder of MIDI files → its pieces: parsed on all cores, cached, guarded. Knows no ids."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import encoding
from encoding import MidiError, Piece

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space for each parsing process


class InputError(ValueError):
    """Tell a person what is wrong with what they gave, in one sentence that names what helps."""


@dataclass(frozen=True)
class Parsed:
    """A file that became a piece."""

    path: Path
    piece: Piece
    cached: bool


@dataclass(frozen=True)
class Skipped:
    """A file left out: `reason` is the category it is counted under, `detail` the sentence."""

    path: Path
    reason: str
    detail: str


@dataclass(frozen=True)
class Duplicate:
    """A file with the same bytes, or the same tokens, as an earlier one."""

    path: Path
    original: Path


Outcome = Parsed | Skipped | Duplicate
Refusal = tuple[str, str]  # reason and detail of a MidiError
Submit = Callable[[bytes, str], "Future"]


class Future(Protocol):
    """A result on its way, as concurrent.futures and Dask both have it."""

    def result(self) -> Piece | Refusal:
        """Wait for the result."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, sees the old one or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_files(folder: Path) -> list[Path]:
    """List the .mid and .midi files, in any case, below `folder`, sorted; hidden ones left out."""
    found, visited = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(parent)
        if here in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in names
            if name.lower().endswith((".mid", ".midi")) and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def parse_bytes(data: bytes, name: str) -> Piece | Refusal:
    """Parse one file's bytes in the encoding `name`; a refusal comes back as (reason, detail)."""
    try:
        return encoding.read_piece(data, name)
    except MidiError as error:
        return error.reason, str(error)
    except MemoryError:
        return "out of memory", f"needs more than {MEMORY_LIMIT // 1024**2} MB"


@dataclass(frozen=True)
class Cache:
    """Parsed files on disk, one JSON a file, keyed by content hash, encoding and parser version."""

    folder: Path

    def _entry(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest[2:]}.json"

    def get(self, digest: str) -> Piece | Refusal | None:
        """Return what was stored, or None where nothing is or the entry is damaged."""
        try:
            checksum, _, body = self._entry(digest).read_text(encoding="utf-8").partition("\n")
            if _hash(body.encode()) != checksum:
                return None
            stored = json.loads(body)
            if "reason" in stored:
                return stored["reason"], stored["detail"]
            return Piece(
                tokens=tuple(stored["tokens"]),
                instruments=tuple(stored["instruments"]),
                notes=stored["notes"],
                quarters=stored["quarters"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, digest: str, result: Piece | Refusal) -> None:
        """Store a result in one atomic step; a full or read-only disk only means no cache."""
        if isinstance(result, Piece):
            stored = asdict(result)
        else:
            stored = {"reason": result[0], "detail": result[1]}
        body = json.dumps(stored, ensure_ascii=False)
        entry = self._entry(digest)
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("wb", dir=entry.parent, delete=False) as file:
                file.write(f"{_hash(body.encode())}\n{body}".encode())
            Path(file.name).replace(entry)
        except OSError:
            return


def cache_for(folder: Path, name: str) -> Cache:
    """Return the cache of `folder`: inside it, or in the user's cache folder if it is read-only."""
    home = folder / ".cache"
    # The permission bits too: an administrator may write anywhere, and should not.
    if not (os.access(folder, os.W_OK) and folder.stat().st_mode & stat.S_IWUSR):
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = Path(base) / "midi-lstm"
    return Cache(home / f"{name}-{encoding.VERSION}")


def _limit_memory() -> None:
    """Let a file that eats memory fail alone, where the system can limit a process."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


@contextmanager
def local_pool(jobs: int, max_file_seconds: float) -> Iterator[Submit]:
    """Parse in `jobs` processes; one that takes too long or dies costs its file and is replaced."""
    # Imported here so that --help and fully cached runs do not pay for them.
    import multiprocessing

    from pebble import ProcessPool

    # Spawned, never forked: a fork of a process that holds TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=jobs, context=context, initializer=_limit_memory)

    def submit(data: bytes, name: str) -> Future:
        return pool.schedule(parse_bytes, args=[data, name], timeout=max_file_seconds)

    try:
        yield submit
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


def _result(path: Path, future: Future, max_file_seconds: float) -> Piece | Skipped | Refusal:
    """Wait for a file's result; a time-out or a crash is a Skipped, which is never cached."""
    from pebble import ProcessExpired

    try:
        return future.result()
    except TimeoutError:
        return Skipped(path, "took too long", f"takes longer than {max_file_seconds:g} seconds")
    except ProcessExpired as error:
        return Skipped(path, "crashed the reader", f"ended the reading process ({error})")


def _bytes(path: Path) -> bytes | Skipped:
    """Return a file's bytes, or why it was not read."""
    try:
        if path.stat().st_size > encoding.MAX_BYTES:
            limit = encoding.MAX_BYTES // 1024**2
            return Skipped(path, "too large", f"larger than {limit} MiB")
        return path.read_bytes()
    except OSError as error:
        return Skipped(path, "cannot be read", f"cannot be read ({error.strerror})")


def parse_files(
    paths: Iterable[Path],
    *,
    name: str,
    cache: Cache,
    pool: Callable[[], AbstractContextManager[Submit]],
    max_file_seconds: float,
    window: int = 64,
) -> Iterator[Outcome]:
    """Yield each file's outcome in the order of `paths`, with at most `window` files in memory.

    `pool` opens the workers; it is called at the first file that the cache does not hold.
    """
    first_with: dict[
        str, Path
    ] = {}  # hash of a file's bytes or of its tokens → the first such file
    submit: Submit | None = None
    pending: deque[Callable[[], Outcome]] = deque()

    def settle(path: Path, result: Piece | Refusal, cached: bool) -> Outcome:
        if not isinstance(result, Piece):
            return Skipped(path, *result)
        tokens = _hash("\n".join(result.tokens).encode())
        original = first_with.setdefault(f"tokens {tokens}", path)
        return Parsed(path, result, cached) if original == path else Duplicate(path, original)

    def finish(path: Path, digest: str, future: Future) -> Outcome:
        result = _result(path, future, max_file_seconds)
        if isinstance(result, Skipped):
            return result
        cache.put(digest, result)
        return settle(path, result, cached=False)

    with ExitStack() as stack:
        for path in paths:
            data = _bytes(path)
            if isinstance(data, Skipped):
                pending.append(partial(Skipped, path, data.reason, data.detail))
            elif (original := first_with.setdefault(digest := _hash(data), path)) != path:
                pending.append(partial(Duplicate, path, original))
            elif known := cache.get(digest):
                pending.append(partial(settle, path, known, cached=True))
            else:
                submit = submit or stack.enter_context(pool())
                pending.append(partial(finish, path, digest, submit(data, name)))
            if len(pending) >= window:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
