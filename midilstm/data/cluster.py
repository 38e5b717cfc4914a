"""Parse MIDI files on the workers of a Dask cluster, to which this package is sent."""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from pebble import ProcessPool

from midilstm.config import DataConfig
from midilstm.data import parsing
from midilstm.data.files import ParseError
from midilstm.data.parsing import ParseResult, Source
from midilstm.fileio import InputError

BATCH_SIZE = 50  # files per task: a scheduler handles a few hundred tasks per second
WINDOW = 40  # tasks whose files are in memory at once
TIMEOUT = 10.0  # seconds for a scheduler to answer and to have a worker
PACKAGE = Path(parsing.__file__).parent.parent
INSTALL = "pip install -r requirements-dask.txt"
CRASHED = ParseError("crashed the reader", "ended the Dask worker that read it", False)


def parse(sources: Iterable[Source], config: DataConfig) -> Generator[ParseResult]:
    """Parse files on the workers of a Dask scheduler; yield the results in order.

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
        _require_worker(client)
        _send_package(client)
        pending: deque[tuple[list[Source], Any]] = deque()
        submit = partial(client.submit, parse_on_worker, config=config, pure=False)
        for batch in iter(lambda: list(islice(sources, BATCH_SIZE)), []):
            pending.append((batch, submit(batch)))
            if len(pending) == WINDOW:
                yield from _results(client, submit, *pending.popleft())
        for batch, future in pending:
            yield from _results(client, submit, batch, future)


def _require_worker(client: Any) -> None:
    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
    except TimeoutError as error:
        address = client.scheduler.address
        start = f"start some with 'dask worker {address}'"
        raise InputError(f"the Dask scheduler at {address} has no workers: {start}") from error


def _send_package(client: Any) -> None:
    """Replace this package on all workers, and send it to those that join later."""

    def forget_package() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE.name]:
            del sys.modules[name]

    def import_package() -> None:
        importlib.import_module("midilstm.data.parsing")

    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE.name}-") as folder:
        # Python caches what a zip file contains, so each one needs another name.
        name = str(Path(folder, Path(folder).name))
        archive = shutil.make_archive(name, "zip", PACKAGE.parent, PACKAGE.name)
        client.run(forget_package)
        client.upload_file(archive)
    for worker, error in client.run(import_package, on_error="return").items():
        if isinstance(error, ImportError):
            raise InputError(f"the Dask worker at {worker} lacks {error.name}: there, {INSTALL}")


def _results(
    client: Any, submit: Callable[[list[Source]], Any], sources: list[Source], future: Any
) -> list[ParseResult]:
    """Wait for the results of a task; if it ended its workers, send each file again on its own.

    Raise InputError where the cluster has no workers.
    """
    from distributed import KilledWorker

    while True:
        try:
            return cast(list[ParseResult], future.result(timeout=TIMEOUT))
        except TimeoutError:
            _require_worker(client)
        except KilledWorker:
            if len(sources) == 1:
                return [CRASHED]
            parts = [([source], submit([source])) for source in sources]
            return [result for part in parts for result in _results(client, submit, *part)]


def parse_on_worker(sources: list[Source], config: DataConfig) -> list[ParseResult]:
    """Parse the bytes of files, and files behind a URL, in child processes of a worker."""
    from distributed import get_worker

    return list(parsing.parse_in(_worker_pool(get_worker().state.nthreads), sources, config))


_worker_pools = ExitStack()  # they live as long as this module


@lru_cache(maxsize=1)
def _worker_pool(jobs: int) -> ProcessPool:
    # A worker under a nanny is a daemon, which may not have child processes.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return _worker_pools.enter_context(parsing.process_pool(jobs))
