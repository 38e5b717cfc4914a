"""Parsing on a real Dask cluster on this machine gives the same dataset."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest

from midilstm import tokenizers
from midilstm.config import DataConfig
from midilstm.data import files
from midilstm.data.cache import Cache
from midilstm.data.cluster import CRASHED, PACKAGE, _results
from midilstm.data.dataset import load_dataset
from midilstm.data.parsing import ParseResult
from midilstm.fileio import InputError
from midilstm.tokenizers.notes import NAMES

pytest.importorskip("distributed", reason="needs requirements-dask.txt")
pytestmark = pytest.mark.slow
DASK = Path(sys.executable).with_name("dask")
N_FILES = 2000


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of different pieces and a broken one."""
    folder = tmp_path / "many"
    folder.mkdir()
    names = NAMES[48:72]
    for n in range(N_FILES):
        a, b, c = n % 24, n // 24 % 24, n // 576
        tokens = [names[(a * step + b) % 24] for step in range(20)]
        tokenizers.write([*tokens, names[a], names[b], names[c]], folder / f"{n:04}.mid")
    (folder / "broken.mid").write_bytes(b"MThd")
    return folder


class Cluster:
    """A scheduler and its workers, started as the documentation says."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        file = folder / "scheduler.json"
        self._start("scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={file}")
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        self.address: str = json.loads(file.read_text())["address"]

    def _start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [DASK, *command, "--no-dashboard"],
            cwd=self._folder,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process

    def start_worker(self, nanny: str = "--no-nanny", **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; without its nanny, it is not started again."""
        return self._start("worker", self.address, "--nthreads=1", nanny, **variables)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ExitStack() as stack:
        yield Cluster(stack, folder)


def read(
    folder: Path, scheduler: str | None, seconds: float = 20, *, cache: bool = False
) -> tuple[str, list[str]]:
    """Load a dataset; return its fingerprint and the details of skipped files."""
    config = DataConfig(
        data_dir=folder, jobs=1, scheduler=scheduler, max_file_seconds=seconds, cache=cache
    )
    dataset = load_dataset(config)
    return dataset.fingerprint(), [error.detail for _, error in dataset.report.skipped]


def package_with(folder: Path, line: str) -> Path:
    """Return a copy of the package whose reader begins with another line."""
    copy = folder / "changed" / "midilstm"
    shutil.copytree(PACKAGE, copy)
    with (copy / "midi" / "__init__.py").open("a") as file:
        file.write("\n\nimport os, time\n_read = read\n\ndef read(data, **options):\n")
        file.write(f"    {line}\n    return _read(data, **options)\n")
    return copy


def test_workers_parse_with_this_version_and_give_the_local_result(
    many: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.start_worker()
    cluster.start_worker("--nanny")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="of old"):
        patch.setattr(
            "midilstm.data.cluster.PACKAGE", package_with(tmp_path, "raise MidiError('of old')")
        )
        read(many, cluster.address)
    assert read(many, cluster.address) == read(many, None)


def test_a_killed_worker_and_a_file_that_hangs_or_crashes_cost_nothing_else(
    many: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = read(many, None)
    (many / "777.mid").write_bytes(b"hangs")
    (many / "888.mid").write_bytes(b"dies")
    line = 'data == b"hangs" and time.sleep(999); data == b"dies" and os._exit(9)'
    monkeypatch.setattr("midilstm.data.cluster.PACKAGE", package_with(tmp_path, line))
    first, _second = cluster.start_worker(), cluster.start_worker("--nanny")
    n_parsed = 0
    put = Cache.put

    def kill_and_put(cache: Cache, key: str, result: ParseResult) -> None:
        nonlocal n_parsed
        n_parsed += 1
        if n_parsed == N_FILES // 4:
            os.kill(first.pid, signal.SIGKILL)
        put(cache, key, result)

    monkeypatch.setattr(Cache, "put", kill_and_put)
    fingerprint, details = read(many, cluster.address, seconds=3)
    assert fingerprint == expected
    assert first.wait() == -signal.SIGKILL
    assert [text for text in details if "takes longer than 3 seconds" in text]
    assert [text for text in details if "ended the process that read it" in text]


def test_a_bucket_is_read_by_the_workers(
    music: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto = pytest.importorskip("moto.server", reason="needs requirements-dev.txt")
    s3fs = pytest.importorskip("s3fs", reason="needs requirements-dask.txt")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        variables = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shutil.copy(music / "piece0.mid", music / "copy.mid")
        (music / "broken.mid").write_bytes(b"MThd")
        expected = read(music, None)
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("music")
        for path in music.glob("*.mid"):
            bucket.put(str(path), f"music/tunes/{path.name}")
        cluster.start_worker(**variables)
        url = Path("s3://music/tunes")
        read_locally: list[Path] = []
        with monkeypatch.context() as patch:
            patch.setattr(files, "read_file", read_locally.append)
            assert read(url, cluster.address, cache=True) == expected
            assert read(url, None, cache=True) == expected
        assert not read_locally
        assert read(url, None) == expected
        with pytest.raises(InputError, match="cannot list --data-dir=s3://nowhere"):
            read(Path("s3://nowhere"), None)
    finally:
        server.stop()


def test_a_cluster_without_workers_is_an_error(
    music: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midilstm.data.cluster.TIMEOUT", 2)
    with pytest.raises(InputError, match=f"scheduler at {cluster.address} has no workers"):
        read(music, cluster.address)


def test_a_worker_without_a_library_is_an_error(
    music: Path, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "music21.py").write_text("raise ModuleNotFoundError(name='music21')")
    cluster.start_worker(PYTHONPATH=str(tmp_path))
    with pytest.raises(InputError, match=r"worker at tcp://\S+ lacks music21: there, pip install"):
        read(music, cluster.address)


def test_only_the_file_that_ends_its_workers_is_lost_of_a_batch() -> None:
    from distributed import KilledWorker

    def submit(sources: list[bytes | Path]) -> Future[list[bytes | Path]]:
        future: Future[list[bytes | Path]] = Future()
        if b"fatal" in sources:
            future.set_exception(KilledWorker("task", None, 3))
        else:
            future.set_result(sources)
        return future

    sources: list[bytes | Path] = [b"a", b"fatal", b"c"]
    assert _results(None, submit, sources, submit(sources)) == [b"a", CRASHED, b"c"]
