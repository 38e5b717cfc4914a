"""MIDI files → pieces: parsed on all cores or a cluster, cached, guarded. Knows no ids."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from threading import current_thread, main_thread
from types import MappingProxyType
from typing import Any, cast, get_origin, get_type_hints

from pebble import ProcessExpired, ProcessPool

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.data import duplicates, remote
from midilstm.data.cache import Cache
from midilstm.fileio import InputError
from midilstm.tokenizers.notes import onset_tokens

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space for each parsing process


@dataclass(frozen=True)
class ParsedPiece:
    """Hold one piece's tokens and what a report says about it; `quarters` is its length."""

    tokens: tuple[str, ...]
    instruments: tuple[str, ...]
    notes: int
    quarters: float
    music: str  # a hash of its pitches and onsets, the same in every encoding
    melody_hashes: str  # of its lines, by which versions are known, the same in every encoding
    hanging_notes: int  # notes that begin and never end, left out
    inexact_meta: int  # tempos and time signatures that the encoding says only nearly
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ParseError:
    """Why a file gave no piece: `reason` is what it is counted under, `detail` the sentence."""

    reason: str
    detail: str
    lasting: bool = True  # not where another machine or limit may do better


ParseResult = ParsedPiece | ParseError
TOO_LARGE = ParseError("too large", f"larger than {midi.MAX_BYTES // 1024**2} MiB")
# A file, what became of it (a Path is the earlier file with the same music), and from the cache?
ParsedFile = tuple[Path, ParseResult | Path, bool]
Parse = Callable[[bytes], ParseResult]
Wait = Callable[[], ParseResult]
Submit = Callable[[Path, str, bytes | None], Wait]  # sends a file, its key and bytes to a worker
Pool = Callable[[], AbstractContextManager[Submit]]


def parse_bytes(data: bytes, *, name: str, pedal: bool = True) -> ParseResult:
    """Parse one file's bytes in the encoding `name`."""
    encoding = encodings.get(name)
    try:
        # Without rhythm a pedal has nothing to lengthen; nor may it move a piece in the split.
        struck = midi.read(data, pedal=False)
        heard = pedal and struck.has_sustain_pedal and encoding.keeps_rhythm
        song = midi.read(data) if heard else struck
        found = tuple(encoding.encode(song))
        # Percussion alone has no fingerprint but its tokens.
        music = _hash("\n".join(onset_tokens(struck) or found).encode())
        return ParsedPiece(
            tokens=found,
            instruments=song.instruments,
            notes=len(song.notes),
            quarters=song.quarters,
            music=music,
            melody_hashes=duplicates.melody_hashes(struck),
            hanging_notes=song.hanging_notes,
            inexact_meta=encoding.count_inexact(song),
            warnings=song.warnings,
        )
    except midi.MidiError as error:
        return ParseError(error.reason, str(error))
    except MemoryError:
        return ParseError("out of memory", f"needs more than {MEMORY_LIMIT // 1024**2} MB", False)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cache_for(folder: Path, name: str, *, pedal: bool = True) -> Cache:
    """Return the cache of `folder`: inside it, or in the user's cache folder if it is read-only."""
    home = folder / ".cache"
    # The permission bits too: an administrator may write anywhere, and should not.
    if not (os.access(folder, os.W_OK) and folder.stat().st_mode & stat.S_IWUSR):
        try:
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "midi-lstm")
        except RuntimeError:  # the user has no home
            return Cache(Path(":memory:"))
    # All that shapes a piece beside the file's bytes.
    shaping = f"{midi.VERSION}-{encodings.get(name).version}-{duplicates.VERSION}"
    return Cache(home / f"{name}-{shaping}{'' if pedal else '-no-pedal'}.sqlite")


def _remembered(entry: dict[str, Any], is_token: Callable[[str], bool]) -> ParseResult | None:
    """Return what a cache entry says; None where it says nothing that reading can have said."""
    values = {name: tuple(map(str, x)) if type(x) is list else x for name, x in entry.items()}
    types = {name: type(value) for name, value in values.items()}
    kinds: tuple[Any, ...] = (ParsedPiece, ParseError)
    for kind in kinds:
        hints = get_type_hints(kind).items()
        if types == {name: get_origin(hint) or hint for name, hint in hints}:
            result: ParseResult = kind(**values)
            return result if isinstance(result, ParseError) or _is_sound(result, is_token) else None
    return None


def _is_sound(piece: ParsedPiece, is_token: Callable[[str], bool]) -> bool:
    """Tell whether nothing later can stumble over a piece that somebody else may have made up."""
    counts = piece.notes, piece.hanging_notes, piece.inexact_meta
    try:
        duplicates.unpack_hashes(piece.melody_hashes)
        bytes.fromhex(piece.music)
    except ValueError:
        return False
    ranges = 0 <= min(counts) <= max(counts) <= midi.MAX_BYTES
    return ranges and 0 <= piece.quarters <= midi.MAX_QUARTERS and all(map(is_token, piece.tokens))


def _limit_memory() -> None:
    """Let a file that eats memory fail alone, where the system can limit a process."""
    with suppress(ImportError):  # on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def _wait(future: Any, seconds: float) -> ParseResult:
    """Return a worker's result; too much time, or the worker's death, costs the file."""
    try:
        return cast(ParseResult, future.result())
    except TimeoutError:
        return ParseError("took too long", f"takes longer than {seconds:g} seconds", lasting=False)
    except ProcessExpired as error:
        return ParseError("crashed the reader", f"ended the process that read it ({error})", False)


@contextmanager
def local_pool(parse: Parse, jobs: int, seconds: float) -> Iterator[Submit]:
    """Parse in `jobs` processes, for at most `seconds` a file; one that dies is replaced."""
    # Spawned, never forked: a fork of a process that holds TensorFlow's threads may hang.
    pool = ProcessPool(jobs, initializer=_limit_memory, context=get_context("spawn"))

    def submit(path: Path, _key: str, data: bytes | None = None) -> Wait:
        read = read_bytes(path) if data is None else data
        if isinstance(read, ParseError):
            return partial(ParseError, read.reason, read.detail)
        try:
            with without_interrupts():  # the processes that this starts inherit it
                future = pool.submit(parse, seconds, read)
        except RuntimeError as error:  # as where the system allows no more of them
            raise InputError(f"no process can be started that reads files ({error})") from error
        return partial(_wait, future, seconds)

    try:
        yield submit
    finally:
        pool.stop()
        pool.join()


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back, where the system can, so that it stops one process and not all at once."""
    if not hasattr(signal, "pthread_sigmask") or current_thread() is not main_thread():
        yield  # on Windows, or where it never comes
        return
    resource_tracker.ensure_running()  # which would let it through again
    # The mask is for the processes started here; a thread of a library may hear it for this one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


def read_bytes(path: Path) -> bytes | ParseError:
    """Return a file's bytes, or why it was not read."""
    try:
        if remote.url_of(path):
            data = remote.read(path, midi.MAX_BYTES + 1)
            return data if len(data) <= midi.MAX_BYTES else TOO_LARGE
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe may never end
            return ParseError("cannot be read", "cannot be read (not a regular file)")
        with path.open("rb") as file:
            data = file.read(midi.MAX_BYTES + 1)
        if len(data) > midi.MAX_BYTES:
            return TOO_LARGE
        return data
    except OSError as error:
        return ParseError("cannot be read", f"cannot be read ({error.strerror or error})")


def parse_files(
    paths: Iterable[Path],
    *,
    name: str,
    cache: Cache,
    pool: Pool,
    window: int = 64,
    far: Mapping[Path, str] = MappingProxyType({}),
) -> Iterator[ParsedFile]:
    """Yield each file's outcome in the order of `paths`, with at most `window` files in memory.

    `far` are files behind a URL, and what says which content each has.
    """
    is_token = lru_cache(maxsize=2**16)(encodings.get(name).is_token)
    firsts: dict[str, Path] = {}  # hash of a file's bytes or of its tokens → the first such file
    pending: deque[tuple[Path, str, ParseResult | Path | Wait]] = deque()

    def settle(path: Path, key: str, result: ParseResult | Path | Wait) -> ParsedFile:
        cached = not callable(result)
        if callable(result):
            result = result()
            if isinstance(result, ParsedPiece) or result.lasting:
                cache.put(key, vars(result))
        if isinstance(result, ParsedPiece):
            first = firsts.setdefault(f"tokens {_hash(' '.join(result.tokens).encode())}", path)
            result = result if first == path else first
        return path, result, cached

    with cache, ExitStack() as stack:
        submit: Submit | None = None
        for path in paths:
            # What lies far away is not read where it may be known already.
            data = far[path].encode() if path in far else read_bytes(path)
            if isinstance(data, ParseError):
                pending.append((path, "", data))
            elif (first := firsts.setdefault(key := _hash(data), path)) != path:
                pending.append((path, key, first))
            elif known := _remembered(cache.get(key), is_token):
                pending.append((path, key, known))
            else:
                submit = submit or stack.enter_context(pool())
                pending.append((path, key, submit(path, key, None if path in far else data)))
            if len(pending) >= window:
                yield settle(*pending.popleft())
        while pending:
            yield settle(*pending.popleft())
