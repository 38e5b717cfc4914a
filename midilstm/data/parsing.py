"""Parse MIDI files in several processes with a time limit per file, and cache the results."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, NamedTuple, cast

from pebble import ProcessExpired, ProcessPool

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import duplicates, files
from midilstm.data.cache import Cache
from midilstm.fileio import InputError
from midilstm.tokenizers.notes import onset_tokens

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space for each parsing process


@dataclass(frozen=True)
class ParsedPiece:
    """The tokens of a MIDI file and what a report says about it."""

    tokens: tuple[str, ...]
    instruments: tuple[str, ...]
    notes: int
    quarters: float  # length
    music_hash: str  # of its pitches and onsets, the same in each encoding
    melody_hashes: str  # for `duplicate_groups`, the same in each encoding
    hanging_notes: int  # notes without an end, which are left out
    inexact_meta: int  # tempos and time signatures that the encoding can only approximate
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ParseError:
    """Why a file gave no piece; `reason` groups such files in a report."""

    reason: str
    detail: str
    is_cacheable: bool = True  # False where another machine or time limit may succeed


ParseResult = ParsedPiece | ParseError
Parse = Callable[[bytes], ParseResult]
PendingResult = Callable[[], ParseResult]  # waits for the result
Submit = Callable[[bytes | Path], PendingResult]  # starts to parse bytes or a remote file
Pool = Callable[[], AbstractContextManager[Submit]]


class ParsedFile(NamedTuple):
    """A file with its result, which is a path where that earlier file holds the same music."""

    path: Path
    result: ParseResult | Path
    is_cached: bool


def parse_bytes(data: bytes, *, encoding_name: str, pedal: bool = True) -> ParseResult:
    """Parse a MIDI file's bytes into the tokens of an encoding."""
    encoding = tokenizers.get(encoding_name)
    try:
        # The split must not depend on the pedal.
        unpedalled = midi.read(data, pedal=False)
        is_pedalled = pedal and unpedalled.has_sustain_pedal and encoding.keeps_rhythm
        score = midi.apply_sustain(unpedalled) if is_pedalled else unpedalled
        tokens = tuple(encoding.encode(score))
        # Percussion alone has no other hash than that of its tokens.
        onsets = onset_tokens(unpedalled) or tokens
        return ParsedPiece(
            tokens=tokens,
            instruments=score.instruments,
            notes=len(score.notes),
            quarters=score.quarters,
            music_hash=sha256("\n".join(onsets).encode()),
            melody_hashes=duplicates.melody_hashes(unpedalled),
            hanging_notes=score.hanging_notes,
            inexact_meta=encoding.count_inexact(score),
            warnings=score.warnings,
        )
    except midi.MidiError as error:
        return ParseError(error.reason, str(error))
    except MemoryError:
        return ParseError("out of memory", f"needs more than {MEMORY_LIMIT // 1024**2} MB", False)


def parser(config: DataConfig) -> Parse:
    """Return a function that parses bytes as the config says, for other processes."""
    return partial(parse_bytes, encoding_name=config.encoding, pedal=config.pedal)


def sha256(data: bytes) -> str:
    """Return the SHA-256 hash of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path) -> bytes | ParseError:
    """Return a file's bytes, or why it cannot be read."""
    try:
        return files.read_bytes(path, midi.MAX_BYTES)
    except OSError as error:
        return ParseError("cannot be read", f"cannot be read ({error.strerror or error})")
    except ValueError:
        return ParseError("too large", f"larger than {midi.MAX_BYTES // 1024**2} MiB")


@contextmanager
def local_pool(parse: Parse, jobs: int, max_seconds: float) -> Iterator[Submit]:
    """Parse in `jobs` processes, for at most `max_seconds` per file; a dead one is replaced."""
    # A fork of a process that holds TensorFlow's threads may hang.
    pool = ProcessPool(jobs, initializer=_limit_memory, context=get_context("spawn"))

    def submit(source: bytes | Path) -> PendingResult:
        data = read_file(source) if isinstance(source, Path) else source
        if isinstance(data, ParseError):
            return partial(replace, data)
        try:
            with block_interrupts():
                future = pool.submit(parse, max_seconds, data)
        except RuntimeError as error:  # such as a limit on the number of processes
            raise InputError(f"no process can be started that reads files ({error})") from error
        return partial(_wait, future, max_seconds)

    try:
        yield submit
    finally:
        pool.stop()
        pool.join()


def _wait(future: Any, max_seconds: float) -> ParseResult:
    """Return the result of a process, or an error where it took too long or died."""
    try:
        return cast(ParseResult, future.result())
    except TimeoutError:
        return ParseError("took too long", f"takes longer than {max_seconds:g} seconds", False)
    except ProcessExpired as error:
        return ParseError("crashed the reader", f"ended the process that read it ({error})", False)


def _limit_memory() -> None:
    """Limit this process's memory, so that a file that needs more fails alone."""
    with suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Block SIGINT in processes started meanwhile, so that Ctrl-C stops the main process alone."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock SIGINT
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _from_cache(entry: dict[str, Any] | None) -> ParseResult | None:
    """Return the result stored as a cache entry; None for another entry."""
    values: dict[str, Any] = {
        name: tuple(x) if isinstance(x, list) else x for name, x in (entry or {}).items()
    }
    try:
        return ParseError(**values) if "reason" in values else ParsedPiece(**values)
    except TypeError:
        return None


def parse_files(
    listing: files.FolderListing, *, cache: Cache, key_suffix: str, pool: Pool, window: int = 64
) -> Iterator[ParsedFile]:
    """Yield the files of a folder in order, parsed or from the cache, which is opened meanwhile.

    At most `window` files are in memory. `key_suffix` is all that shapes a piece beside its bytes.
    """
    first_paths: dict[str, Path] = {}  # hash of a file's bytes or tokens → the first such file
    pending: deque[tuple[Path, str, ParseResult | Path | PendingResult]] = deque()

    def finish(path: Path, key: str, result: ParseResult | Path | PendingResult) -> ParsedFile:
        is_cached = not callable(result)
        if callable(result):
            result = result()
            if isinstance(result, ParsedPiece) or result.is_cacheable:
                cache.put(f"{key} {key_suffix}", vars(result))
        if isinstance(result, ParsedPiece):
            tokens_hash = "tokens " + sha256(" ".join(result.tokens).encode())
            first_path = first_paths.setdefault(tokens_hash, path)
            result = result if first_path == path else first_path
        return ParsedFile(path, result, is_cached)

    with cache, ExitStack() as stack:
        submit: Submit | None = None
        for path in listing.midi_files:
            version = listing.versions.get(path)  # of a remote file, which is not read here
            data = version.encode() if version else read_file(path)
            if isinstance(data, ParseError):
                pending.append((path, "", data))
            elif (first_path := first_paths.setdefault(key := sha256(data), path)) != path:
                pending.append((path, key, first_path))
            elif known := _from_cache(cache.get(f"{key} {key_suffix}")):
                pending.append((path, key, known))
            else:
                submit = submit or stack.enter_context(pool())
                pending.append((path, key, submit(path if version else data)))
            if len(pending) >= window:
                yield finish(*pending.popleft())
        while pending:
            yield finish(*pending.popleft())
