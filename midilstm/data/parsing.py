"""Parse MIDI files in several processes, with limits of time and memory per file."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, cast

from pebble import ProcessExpired, ProcessPool

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import duplicates, files
from midilstm.data.files import ParseError
from midilstm.fileio import InputError
from midilstm.tokenizers.notes import onset_tokens

MEMORY_LIMIT = 2 * 1024**3  # bytes of address space for each parsing process
WINDOW = 64  # files that are in memory at once


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
    leading_bars: int  # empty bars before the first note, which are left out
    inexact_meta: int  # tempos and time signatures that the encoding can only approximate
    warnings: tuple[str, ...]


ParseResult = ParsedPiece | ParseError
Source = bytes | Path  # the bytes of a file, or the path of a remote file


def parse(sources: Iterable[Source], config: DataConfig) -> Generator[ParseResult]:
    """Parse files in processes of this machine; yield the results in order."""
    with process_pool(config.jobs) as pool:
        yield from parse_in(pool, sources, config)


def parse_bytes(data: bytes, encoding_name: str, pedal: bool) -> ParseResult:
    """Parse a MIDI file's bytes into the tokens of an encoding."""
    encoding = tokenizers.get(encoding_name)
    try:
        # The split must not depend on the pedal.
        unpedalled = midi.drop_leading_bars(midi.read(data, pedal=False))
        score = midi.apply_sustain(unpedalled) if pedal and encoding.keeps_rhythm else unpedalled
        tokens = tuple(encoding.encode(score))
        # Percussion alone has no other hash than that of its tokens.
        onsets = onset_tokens(unpedalled) or tokens
        return ParsedPiece(
            tokens=tokens,
            instruments=score.instruments,
            notes=len(score.notes),
            quarters=score.quarters,
            music_hash=sha256("\n".join(onsets).encode()).hexdigest(),
            melody_hashes=duplicates.melody_hashes(unpedalled),
            hanging_notes=score.hanging_notes,
            leading_bars=score.leading_bars,
            inexact_meta=encoding.count_inexact(score),
            warnings=score.warnings,
        )
    except midi.MidiError as error:
        return ParseError(error.reason, str(error))
    except MemoryError:
        return ParseError("out of memory", f"needs more than {MEMORY_LIMIT // 1024**2} MB", False)


@contextmanager
def process_pool(jobs: int) -> Iterator[ProcessPool]:
    """Provide `jobs` processes, which are started when they are needed; stop them at the end."""
    # A fork of a process that holds TensorFlow's threads may hang.
    pool = ProcessPool(jobs, initializer=limit_memory, context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.stop()
        pool.join()


def parse_in(
    pool: ProcessPool,
    sources: Iterable[Source],
    config: DataConfig,
    parse_one: Callable[[bytes, str, bool], ParseResult] = parse_bytes,
) -> Iterator[ParseResult]:
    """Parse files in a pool, with a time limit per file; yield the results in order."""
    pending: deque[Any] = deque()  # futures and errors
    try:
        for source in sources:
            data = files.read_file(source) if isinstance(source, Path) else source
            if isinstance(data, bytes):
                settings = config.encoding, config.pedal
                try:
                    with block_interrupts():
                        data = pool.submit(parse_one, config.max_file_seconds, data, *settings)
                except RuntimeError as error:
                    raise BrokenProcessPool(str(error)) from error
            pending.append(data)
            if len(pending) == WINDOW:
                yield _wait(pool, pending.popleft(), config.max_file_seconds)
        for future in pending:
            yield _wait(pool, future, config.max_file_seconds)
    except BrokenProcessPool as error:  # such as a limit on the number of processes
        raise InputError(f"no process can be started that reads files ({error})") from error


def _wait(pool: ProcessPool, future: Any, seconds: float) -> ParseResult:
    """Return the result of a process, or an error where it took too long or died.

    Raise BrokenProcessPool where the pool has ended without a result.
    """
    while not isinstance(future, ParseError):
        try:
            return cast(ParseResult, future.result(timeout=1))
        except TimeoutError:  # of the file, or of this second
            if future.done():
                return ParseError("took too long", f"takes longer than {seconds:g} seconds", False)
            if not pool.active:
                raise BrokenProcessPool("the pool of processes has ended") from None
        except ProcessExpired as error:
            reason = f"ended the process that read it ({error})"
            return ParseError("crashed the reader", reason, False)
    return future


def limit_memory() -> None:
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
