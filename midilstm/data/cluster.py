"""Files → pieces on a Dask cluster: this package is sent there, and names of files, in batches."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from midilstm.data import parsing as reading
from midilstm.data import remote
from midilstm.data.parsing import ParseError, ParseResult, Submit, Wait
from midilstm.fileio import InputError

BATCH = 50  # files a task: a scheduler handles a few hundred tasks a second
WINDOW = 40 * BATCH  # files on their way at once
PATIENCE = 10.0  # seconds for a scheduler to answer, and to have a worker
PACKAGE = Path(reading.__file__).parent.parent
INSTALL = "pip install -r requirements-dask.txt"

File = tuple[Path, str, bytes | None]  # its path, its key, and its bytes where a worker needs them
How = tuple[str, bool, float]  # encoding, pedal, seconds a file


@contextmanager
def dask_cluster(name: str, pedal: bool, seconds: float, address: str) -> Iterator[Submit]:
    """Parse on the workers of the Dask scheduler at `address`, for at most `seconds` a file.

    Workers read files themselves where they find the same there. Raise InputError where no
    scheduler answers, it has no workers, or one lacks what is required.
    """
    try:
        from distributed import Client  # only those with a cluster install it

        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except ImportError as error:
        raise InputError(f"--scheduler needs Dask: {INSTALL}") from error
    except (OSError, ValueError) as error:
        start = "start one with 'dask scheduler', workers with 'dask worker' and what it prints"
        raise InputError(f"no Dask scheduler answers at {address}: {start}") from error
    with client:
        _ship(client, address)
        yield _Batches(client, (name, pedal, seconds)).submit


def _ship(client: Any, address: str) -> None:
    """Send this package to a cluster's workers, in place of an older one, and to later workers."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE.name]:
            del sys.modules[name]

    def missing() -> str | None:
        try:
            importlib.import_module("midilstm.data.parsing")
        except ImportError as error:
            return error.name
        return None

    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise _no_workers(address) from error
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE.name}-") as folder:
        # A name of its own each time, since Python remembers what it once found in a zip file.
        name = str(Path(folder, Path(folder).name))
        archive = shutil.make_archive(name, "zip", PACKAGE.parent, PACKAGE.name)
        client.run(forget)
        client.upload_file(archive)
    for worker, module in client.run(missing).items():
        if module:
            raise InputError(f"the Dask worker at {worker} lacks {module}: there, {INSTALL}")


def _no_workers(address: str) -> InputError:
    start = f"start some with 'dask worker {address}'"
    return InputError(f"the Dask scheduler at {address} has no workers: {start}")


@dataclass(eq=False)
class _Batch:
    files: list[File] = field(default_factory=list)
    future: Any = None
    results: Sequence[ParseResult] = ()


class _Batches:
    """Send files in batches, and those of a batch that ended its workers again, one by one."""

    def __init__(self, client: Any, how: How) -> None:
        self._client, self._how, self._open = client, how, _Batch()

    def submit(self, path: Path, key: str, _data: bytes | None) -> Wait:
        batch = self._open
        batch.files.append((path, key, None))
        if len(batch.files) == BATCH:
            self._send()
        return partial(self._wait, batch, len(batch.files) - 1)

    def _send(self) -> None:
        self._open.future = self._task(self._open.files)
        self._open = _Batch()

    def _task(self, files: list[File]) -> Any:
        named = [(_name(path), key, data) for path, key, data in files]
        return self._client.submit(parse_there, named, self._how, pure=False)

    def _wait(self, batch: _Batch, number: int) -> ParseResult:
        if batch is self._open:
            self._send()
        if not batch.results:
            batch.results = self._results(batch)
        return batch.results[number]

    def _results(self, batch: _Batch) -> list[ParseResult]:
        found = self._gathered(batch.future)
        if found is None:  # again, singly
            futures = [self._task([file]) for file in batch.files]
            found = [(self._gathered(future) or [_crashed()])[0] for future in futures]
        unread = [number for number, result in enumerate(found) if result is None]
        read = {number: reading.read_bytes(batch.files[number][0]) for number in unread}
        sent: list[File] = [
            (*batch.files[n][:2], data) for n, data in read.items() if isinstance(data, bytes)
        ]
        repeated_mask = iter(self._results(_Batch(sent, self._task(sent))) if sent else ())
        for number, data in read.items():  # no folder is shared: the bytes went along
            found[number] = data if isinstance(data, ParseError) else next(repeated_mask)
        return cast(list[ParseResult], found)

    def _gathered(self, future: Any) -> list[ParseResult | None] | None:
        """Return a task's results; None where it ended its workers."""
        from distributed import KilledWorker

        alone = 0.0
        while True:
            try:
                return cast(list[ParseResult | None], future.result(timeout=1))
            except TimeoutError:
                has_workers = bool(self._client.scheduler_info(n_workers=-1)["workers"])
                alone = 0.0 if has_workers else alone or time.monotonic()
                if alone and time.monotonic() - alone > PATIENCE:
                    raise _no_workers(self._client.scheduler.address) from None
            except KilledWorker:
                return None
            except ImportError as error:  # of a worker that came later
                raise InputError(f"a Dask worker lacks {error.name}: there, {INSTALL}") from error


def _name(path: Path) -> str:
    """Return what a worker may find a file by, whatever folder it was started in."""
    return str(path if remote.url_of(path) else path.absolute())


def _crashed() -> ParseError:
    return ParseError("crashed the reader", "ended the Dask worker that read it", lasting=False)


def parse_there(files: list[File], how: How) -> list[ParseResult | None]:
    """Parse files on a worker, in processes of its own; None for each not found there the same."""
    from distributed import get_worker

    submit = _pool(how, get_worker().state.nthreads)
    waits: list[Wait | None] = []
    for name, key, sent in files:
        path = Path(name)
        data = reading.read_bytes(path) if sent is None else sent
        same = sent is not None or remote.url_of(path) is not None
        if isinstance(data, bytes) and (same or hashlib.sha256(data).hexdigest() == key):
            waits.append(submit(path, key, data))
        else:
            waits.append(None)
    return [wait() if wait else None for wait in waits]


@lru_cache(maxsize=2)
def _pool(how: How, jobs: int) -> Submit:
    """Return this worker's pool, which lives as long as the worker."""
    name, pedal, seconds = how
    # A worker under a nanny is a daemon, which must have no children unless it forgets that.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    parse = partial(reading.parse_bytes, name=name, pedal=pedal)
    _POOLS.append(reading.local_pool(parse, jobs, seconds))
    return _POOLS[-1].__enter__()


_POOLS: list[Any] = []
