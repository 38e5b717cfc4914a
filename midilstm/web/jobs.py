"""The queue of drawings, one at a time, and the process that reads MIDI files."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from midilstm.data.parsing import block_interrupts
from midilstm.fileio import InputError
from midilstm.web import worker

MAX_WAITING = 16
MAX_FINISHED = 50  # jobs that the page can still ask for

P = ParamSpec("P")
T = TypeVar("T")
Drawn = tuple[list[Path], str]


@dataclass
class Job:
    """A drawing that waits, runs or is over."""

    title: str
    future: Future[Drawn]

    def to_json(self, counters: list[int]) -> dict[str, Any]:
        """Return what the page shows: `done` of `total` tokens or bars, or how it ended."""
        body: dict[str, Any] = {"title": self.title}
        if self.future.cancelled():
            return body | {"state": "stopped"}
        if not self.future.done():
            is_running = self.future.running()
            done, total = counters if is_running else [0, 0]
            state = "drawing" if is_running else "waiting"
            return body | {"state": state, "done": done, "total": total}
        error = self.future.exception()
        if isinstance(error, InputError):
            return body | {"state": "failed", "text": str(error)}
        if error:
            return body | {"state": "failed", "text": f"the drawing ended early ({error})"}
        paths, text = self.future.result()
        return body | {"state": "done", "text": text, "names": [path.name for path in paths]}


class Jobs:
    """All drawings of a server; `on_drawn` is called with the paths of new pieces."""

    def __init__(self, on_drawn: Callable[[list[Path]], object]) -> None:
        """Prepare both processes, which start when they are needed."""
        context = get_context("spawn")
        self._counters, self._on_drawn = context.RawArray("q", 2), on_drawn
        self._drawing = ProcessPool(
            1, initializer=worker.start_drawing, initargs=[self._counters], context=context
        )
        self._reading = ProcessPool(1, initializer=worker.start_reading, context=context)
        self.jobs: dict[str, Job] = {}

    def warm_up(self, model_dir: Path) -> None:
        """Read a model before it is asked for."""
        with block_interrupts():
            self._drawing.schedule(worker.warm_up, [model_dir])

    def add(self, request: worker.DrawRequest, title: str) -> str:
        """Queue a drawing; return its id. Raise InputError where too many wait."""
        if sum(not job.future.done() for job in self.jobs.values()) > MAX_WAITING:
            raise InputError(f"{MAX_WAITING} drawings are waiting: stop one, or wait")
        with block_interrupts():
            future = self._drawing.schedule(worker.draw, [request])
        future.add_done_callback(self._finish)
        job_id = secrets.token_hex(8)
        finished = [key for key, job in self.jobs.items() if job.future.done()]
        for key in finished[:-MAX_FINISHED]:
            del self.jobs[key]
        self.jobs[job_id] = Job(title, future)
        return job_id

    def _finish(self, future: Future[Drawn]) -> None:
        if not future.cancelled() and not future.exception():
            self._on_drawn(future.result()[0])

    def stop(self, job_id: str) -> None:
        """Take a drawing from the queue, or end the process that draws it; KeyError for no job."""
        self.jobs[job_id].future.cancel()

    def to_json(self) -> dict[str, Any]:
        """Return all jobs by id, the oldest first."""
        return {key: job.to_json([*self._counters]) for key, job in self.jobs.items()}

    async def read(
        self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in the reading process; raise InputError if it is slow or dies."""
        with block_interrupts():
            future = self._reading.schedule(function, args, kwargs, timeout=seconds)
        try:
            return await asyncio.wrap_future(future)
        except TimeoutError:
            raise InputError(f"the file takes longer than {seconds:g} seconds") from None
        except (ProcessExpired, MemoryError) as error:
            raise InputError(f"the file ended the process that read it ({error})") from error

    def close(self) -> None:
        """End both processes."""
        for pool in (self._drawing, self._reading):
            pool.stop()
            pool.join()
