"""Parse MIDI files on the workers of a Dask cluster, to which this package is sent."""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from midilstm.config import DataConfig
from midilstm.data import parsing
from midilstm.data.parsing import ParseError, ParseResult, PendingResult, Submit
from midilstm.fileio import InputError

BATCH_SIZE = 50  # files per task: a scheduler handles a few hundred tasks per second
WINDOW = 40 * BATCH_SIZE  # files submitted at once
TIMEOUT = 10.0  # seconds for a scheduler to answer and to have a worker
PACKAGE = Path(parsing.__file__).parent.parent
INSTALL = "pip install -r requirements-dask.txt"
CRASHED = ParseError("crashed the reader", "ended the Dask worker that read it", False)


@contextmanager
def dask_cluster(config: DataConfig) -> Iterator[Submit]:
    """Parse on the workers of a Dask scheduler.

    Raise InputError where no scheduler answers, it has no workers, or one lacks a library.
    """
    try:
        from distributed import Client  # optional

        client = Client(config.scheduler, timeout=TIMEOUT, set_as_default=False)
    except ImportError as error:
        raise InputError(f"--scheduler needs Dask: {INSTALL}") from error
    except (OSError, ValueError) as error:
        start = "start one with 'dask scheduler', workers with 'dask worker' and what it prints"
        raise InputError(f"no Dask scheduler answers at {config.scheduler}: {start}") from error
    with client:
        _send_package(client)
        yield _Batches(client, config).submit


def _send_package(client: Any) -> None:
    """Replace this package on all workers, and send it to those that join later."""

    def forget_package() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE.name]:
            del sys.modules[name]

    def missing_library() -> str | None:
        try:
            importlib.import_module("midilstm.data.parsing")
        except ImportError as error:
            return error.name
        return None

    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
    except TimeoutError as error:
        raise _no_workers(client) from error
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE.name}-") as folder:
        # Python caches what a zip file contains, so each one needs another name.
        name = str(Path(folder, Path(folder).name))
        archive = shutil.make_archive(name, "zip", PACKAGE.parent, PACKAGE.name)
        client.run(forget_package)
        client.upload_file(archive)
    for worker, library in client.run(missing_library).items():
        if library:
            raise InputError(f"the Dask worker at {worker} lacks {library}: there, {INSTALL}")


def _no_workers(client: Any) -> InputError:
    address = client.scheduler.address
    start = f"start some with 'dask worker {address}'"
    return InputError(f"the Dask scheduler at {address} has no workers: {start}")


@dataclass(eq=False)
class _Batch:
    sources: list[bytes | Path] = field(default_factory=list)
    future: Any = None
    results: list[ParseResult] = field(default_factory=list)


class _Batches:
    """Send files in batches; send those of a batch that ended its workers again, one by one."""

    def __init__(self, client: Any, config: DataConfig) -> None:
        self._client, self._config, self._open = client, config, _Batch()

    def submit(self, source: bytes | Path) -> PendingResult:
        batch = self._open
        batch.sources.append(source)
        if len(batch.sources) == BATCH_SIZE:
            self._close_batch()
        return partial(self._wait, batch, len(batch.sources) - 1)

    def _close_batch(self) -> None:
        self._open.future = self._send(self._open.sources)
        self._open = _Batch()

    def _send(self, sources: list[bytes | Path]) -> Any:
        return self._client.submit(parse_on_worker, sources, self._config, pure=False)

    def _wait(self, batch: _Batch, index: int) -> ParseResult:
        if batch is self._open:
            self._close_batch()
        if not batch.results:
            batch.results = self._results(batch.future)
            if batch.results == [CRASHED] and len(batch.sources) > 1:
                futures = [self._send([source]) for source in batch.sources]
                batch.results = [self._results(future)[0] for future in futures]
        return batch.results[index]

    def _results(self, future: Any) -> list[ParseResult]:
        """Return the results of a task, only CRASHED where it ended its workers.

        Raise InputError where the cluster has had no workers for TIMEOUT seconds, or one that
        joined later lacks a library.
        """
        from distributed import KilledWorker

        alone_since = None
        while True:
            try:
                return cast(list[ParseResult], future.result(timeout=1))
            except TimeoutError:
                if self._client.scheduler_info(n_workers=-1)["workers"]:
                    alone_since = None
                    continue
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > TIMEOUT:
                    raise _no_workers(self._client) from None
            except KilledWorker:
                return [CRASHED]
            except ImportError as error:
                raise InputError(f"a Dask worker lacks {error.name}: there, {INSTALL}") from error


def parse_on_worker(sources: list[bytes | Path], config: DataConfig) -> list[ParseResult]:
    """Parse the bytes of files, and files behind a URL, in child processes of a worker."""
    from distributed import get_worker

    submit = _worker_pool(config, get_worker().state.nthreads)
    return [wait() for wait in [submit(source) for source in sources]]


_POOLS: list[Any] = []


@lru_cache(maxsize=2)
def _worker_pool(config: DataConfig, jobs: int) -> Submit:
    """Return this worker's pool, which lives as long as the worker."""
    # A worker under a nanny is a daemon, which may not have child processes.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    _POOLS.append(parsing.local_pool(parsing.parser(config), jobs, config.max_file_seconds))
    return _POOLS[-1].__enter__()
