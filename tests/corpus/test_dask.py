"""The same parse through a real Dask cluster on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from midilstm import tokens as encodings
from midilstm.corpus import reading
from midilstm.corpus.corpus import load_corpus
from midilstm.files import InputError
from midilstm.tokens.notes import NAMES

pytest.importorskip("distributed", reason="needs requirements-dask.txt")
pytestmark = pytest.mark.slow
DASK = Path(sys.executable).with_name("dask")
FILES = 300


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of different pieces, and a broken one."""
    folder = tmp_path / "many"
    folder.mkdir()
    names = NAMES[48:72]
    for number in range(FILES):
        scale = [names[(number * step + step) % 24] for step in range(200)]
        tokens = [*scale, names[number % 24], names[number // 24]]
        encodings.write(tokens, folder / f"{number:03}.mid")
    (folder / "broken.mid").write_bytes(b"MThd")
    return folder


class Cluster:
    """A scheduler and its workers, started as the README says."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        file = folder / "scheduler.json"
        self._start("scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={file}")
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        self.address: str = json.loads(file.read_text())["address"]

    def _start(self, *command: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [DASK, *command, "--no-dashboard"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def worker(self) -> subprocess.Popen:
        """Start a worker of one thread; without its nanny, so that a kill is final."""
        return self._start("worker", self.address, "--nthreads=1", "--no-nanny")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ExitStack() as stack:
        yield Cluster(stack, folder)


def corpus_bytes(folder: Path, scheduler: str | None) -> object:
    """Load a corpus and return all that it holds."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    corpus = load_corpus(folder, jobs=1, scheduler=scheduler)
    assert corpus.report.from_cache == 0
    pieces = {**corpus.training, **corpus.held_out}
    return (
        json.dumps(corpus.vocabulary.tokens),
        [(name, ids.tobytes()) for name, ids in pieces.items()],
        [refusal.detail for _, refusal in corpus.report.skipped],
    )


def test_two_workers_give_the_bytes_of_the_serial_run(many: Path, cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    assert corpus_bytes(many, cluster.address) == corpus_bytes(many, None)


def test_a_worker_killed_in_the_middle_loses_nothing(
    many: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = corpus_bytes(many, None)
    first, _second = cluster.worker(), cluster.worker()
    seen = 0
    settle = reading.Cache.put

    def put(cache: reading.Cache, digest: str, result: dict) -> None:
        nonlocal seen
        seen += 1
        if seen == FILES // 4:
            os.kill(first.pid, signal.SIGKILL)
        settle(cache, digest, result)

    monkeypatch.setattr(reading.Cache, "put", put)
    assert corpus_bytes(many, cluster.address) == expected
    assert first.wait() == -signal.SIGKILL
    assert seen == FILES + 1


def test_a_worker_that_holds_an_older_version_parses_with_ours(
    many: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    older = tmp_path / "older" / "midilstm"
    shutil.copytree(reading.PACKAGE, older)
    with (older / "midi.py").open("a") as file:
        file.write("\n\ndef read(*_, **__):\n    raise MidiError('of old')\n")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="of old"):
        patch.setattr(reading, "PACKAGE", older)
        corpus_bytes(many, cluster.address)
    assert corpus_bytes(many, cluster.address) == corpus_bytes(many, None)
