"""A folder of MIDI files → its pieces: parsed on all cores, cached, guarded. Knows no ids."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from midilstm import midi
from midilstm import tokens as encodings
from midilstm.corpus.cache import Cache
from midilstm.files import InputError
from midilstm.tokens.notes import onset_tokens

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space for each parsing process


@dataclass(frozen=True)
class Piece:
    """Hold one piece's tokens and what a report says about it; `quarters` is its length.

    `music` is a hash of its pitches and onsets, the same in every encoding.
    """

    tokens: tuple[str, ...]
    instruments: tuple[str, ...]
    notes: int
    quarters: float
    music: str


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


@dataclass(frozen=True)
class Refusal:
    """Why bytes gave no piece; not `lasting` where another machine or limit may do better."""

    reason: str
    detail: str
    lasting: bool = True


Outcome = Parsed | Skipped | Duplicate
# Sends bytes to a worker and returns a function that waits for the result.
Submit = Callable[[bytes], Callable[[], Piece | Refusal]]


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


def piece_of(song: midi.Song, name: str) -> Piece:
    """Return a song as a piece in the encoding `name`; raise MidiError where it gives none."""
    found = tuple(encodings.get(name).tokens_of(song))
    # Percussion alone has no fingerprint but its tokens.
    music = _hash("\n".join(onset_tokens(song) or found).encode())
    return Piece(found, song.instruments, len(song.notes), song.quarters, music)


def parse_bytes(data: bytes, name: str) -> Piece | Refusal:
    """Parse one file's bytes in the encoding `name`; a refusal comes back as (reason, detail)."""
    try:
        return piece_of(midi.read(data), name)
    # Not a name of its own: a Dask worker that loads midi.py again has a new MidiError.
    except midi.MidiError as error:
        return Refusal(error.reason, str(error))
    except MemoryError:
        limit = f"needs more than {MEMORY_LIMIT // 1024**2} MB"
        return Refusal("out of memory", limit, lasting=False)


def cache_for(folder: Path, name: str) -> Cache:
    """Return the cache of `folder`: inside it, or in the user's cache folder if it is read-only."""
    home = folder / ".cache"
    # The permission bits too: an administrator may write anywhere, and should not.
    if not (os.access(folder, os.W_OK) and folder.stat().st_mode & stat.S_IWUSR):
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = Path(base) / "midi-lstm"
    return Cache(home / f"{name}-{midi.VERSION}-{encodings.get(name).version}.sqlite")


def _remembered(entry: dict[str, Any] | None) -> Piece | Refusal | None:
    """Return what a cache entry says; None where there is none or it says something else."""
    try:
        if entry is None:
            return None
        if "reason" in entry:
            return Refusal(**entry)
        tokens, instruments = tuple(entry.pop("tokens")), tuple(entry.pop("instruments"))
        return Piece(tokens=tokens, instruments=instruments, **entry)
    except (KeyError, TypeError):
        return None


def _limit_memory() -> None:
    """Let a file that eats memory fail alone, where the system can limit a process."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


@contextmanager
def local_pool(name: str, jobs: int, max_file_seconds: float) -> Iterator[Submit]:
    """Parse in `jobs` processes; one that takes too long or dies costs its file and is replaced."""
    # Imported here so that --help and fully cached runs do not pay for them.
    import multiprocessing

    from pebble import ProcessExpired, ProcessPool

    # Spawned, never forked: a fork of a process that holds TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=jobs, context=context, initializer=_limit_memory)

    def submit(data: bytes) -> Callable[[], Piece | Refusal]:
        future = pool.schedule(parse_bytes, args=[data, name], timeout=max_file_seconds)

        def wait() -> Piece | Refusal:
            try:
                return future.result()
            except TimeoutError:
                reason, detail = "took too long", f"takes longer than {max_file_seconds:g} seconds"
            except ProcessExpired as error:
                reason, detail = "crashed the reader", f"ended the reading process ({error})"
            return Refusal(reason, detail, lasting=False)

        return wait

    try:
        yield submit
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


@contextmanager
def dask_cluster(name: str, address: str) -> Iterator[Submit]:
    """Parse on the workers of the Dask scheduler at `address`; a lost worker's files are redone.

    Raise InputError where Dask is missing or nothing answers there.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise InputError("--scheduler needs Dask: pip install -r requirements-dask.txt") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address}: start one with 'dask scheduler' and "
            "workers with 'dask worker', and give the address that it prints"
        ) from error

    def submit(data: bytes) -> Callable[[], Piece | Refusal]:
        future = client.submit(parse_bytes, data, name, pure=False)

        def wait() -> Piece | Refusal:
            try:
                return future.result()
            except KilledWorker as error:
                return Refusal(
                    "crashed the reader", f"ended {error.allowed_failures + 1} workers", False
                )

        return wait

    with client:
        # In the order in which they are imported; for workers that come later, too.
        for room in ("rules", "band", "encoding", "cache", "collection"):
            client.upload_file(str(Path(__file__).with_name(f"{room}.py")))
        yield submit


def _bytes(path: Path) -> bytes | Skipped:
    """Return a file's bytes, or why it was not read."""
    try:
        if path.stat().st_size > midi.MAX_BYTES:
            limit = midi.MAX_BYTES // 1024**2
            return Skipped(path, "too large", f"larger than {limit} MiB")
        return path.read_bytes()
    except OSError as error:
        return Skipped(path, "cannot be read", f"cannot be read ({error.strerror})")


def parse_files(
    paths: Iterable[Path],
    *,
    cache: Cache,
    pool: Callable[[], AbstractContextManager[Submit]],
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
            return Skipped(path, result.reason, result.detail)
        tokens = _hash("\n".join(result.tokens).encode())
        original = first_with.setdefault(f"tokens {tokens}", path)
        return Parsed(path, result, cached) if original == path else Duplicate(path, original)

    def finish(path: Path, digest: str, wait: Callable[[], Piece | Refusal]) -> Outcome:
        result = wait()
        if isinstance(result, Piece) or result.lasting:
            cache.put(digest, vars(result))
        return settle(path, result, cached=False)

    with ExitStack() as stack:
        stack.enter_context(cache)
        for path in paths:
            data = _bytes(path)
            if isinstance(data, Skipped):
                pending.append(partial(Skipped, path, data.reason, data.detail))
            elif (original := first_with.setdefault(digest := _hash(data), path)) != path:
                pending.append(partial(Duplicate, path, original))
            elif known := _remembered(cache.get(digest)):
                pending.append(partial(settle, path, known, cached=True))
            else:
                submit = submit or stack.enter_context(pool())
                pending.append(partial(finish, path, digest, submit(data)))
            if len(pending) >= window:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
