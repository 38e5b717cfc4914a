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
from typing import Any

import pytest

from midilstm import tokenizers as encodings
from midilstm.data import cluster as dask_room
from midilstm.data import parsing as reading
from midilstm.data.dataset import load_dataset
from midilstm.fileio import InputError
from midilstm.tokenizers.notes import NAMES

pytest.importorskip("distributed", reason="needs requirements-dask.txt")
pytestmark = pytest.mark.slow
DASK = Path(sys.executable).with_name("dask")
FILES = 2000
HUNG = "777.mid"  # a file that a reader never ends with


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of different pieces, and a broken one."""
    folder = tmp_path / "many"
    folder.mkdir()
    names = NAMES[48:72]
    for number in range(FILES):
        a, b, c = number % 24, number // 24 % 24, number // 576
        tokens = [names[(a * step + b) % 24] for step in range(20)]
        encodings.write([*tokens, names[a], names[b], names[c]], folder / f"{number:04}.mid")
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

    def worker(self, nanny: str = "--no-nanny", **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; without its nanny, so that a kill is final."""
        return self._start("worker", self.address, "--nthreads=1", nanny, **variables)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ExitStack() as stack:
        yield Cluster(stack, folder)


def corpus_bytes(
    folder: Path, scheduler: str | None, seconds: float = 20
) -> tuple[str, list[tuple[str, bytes]], list[str]]:
    """Load a corpus and return all that it holds."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    corpus = load_dataset(folder, jobs=1, scheduler=scheduler, max_file_seconds=seconds)
    assert corpus.report.from_cache == 0
    pieces = {**corpus.training, **corpus.held_out}
    return (
        json.dumps(corpus.vocabulary.tokens),
        [(name, ids.tobytes()) for name, ids in pieces.items()],
        [refusal.detail for _, refusal in corpus.report.skipped],
    )


def package_with(folder: Path, line: str) -> Path:
    """Return a copy of the package whose reader begins with a line of its own."""
    copy = folder / "changed" / "midilstm"
    shutil.copytree(dask_room.PACKAGE, copy)
    with (copy / "midi.py").open("a") as file:
        file.write("\n\nimport os, time\n_read = read\n\ndef read(data, **options):\n")
        file.write(f"    {line}\n    return _read(data, **options)\n")
    return copy


def test_two_workers_give_the_bytes_of_the_serial_run(
    many: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    cluster.worker("--nanny")
    expected = corpus_bytes(many, None)
    sent: list[bytes | None] = []
    task = dask_room._Batches._task

    def noted(batches: Any, files: Any) -> Any:
        sent.extend(data for _, _, data in files)
        return task(batches, files)

    monkeypatch.setattr(dask_room._Batches, "_task", noted)
    assert corpus_bytes(many, cluster.address) == expected
    assert len(sent) == FILES + 1
    assert not any(sent)  # they share the folder


def test_workers_without_the_folder_are_sent_its_files(
    music: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    other = music.parent / "other"
    other.mkdir()
    for path in music.iterdir():  # other music of the same name
        (other / path.name).write_bytes((music / "piece0.mid").read_bytes())
    expected = corpus_bytes(music, None)
    monkeypatch.setattr(dask_room, "_name", lambda path: str(other / path.name))
    assert corpus_bytes(music, cluster.address) == expected


def test_a_killed_worker_and_a_file_that_hangs_cost_nothing_else(
    many: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (many / HUNG).write_bytes(b"hangs")
    (many / "888.mid").write_bytes(b"dies")
    line = 'data == b"hangs" and time.sleep(999); data == b"dies" and os._exit(9)'
    monkeypatch.setattr(dask_room, "PACKAGE", package_with(tmp_path, line))
    expected = corpus_bytes(many, None)
    first, _second = cluster.worker(), cluster.worker("--nanny")
    seen = 0
    settle = reading.Cache.put

    def put(cache: reading.Cache, digest: str, result: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == FILES // 4:
            os.kill(first.pid, signal.SIGKILL)
        settle(cache, digest, result)

    monkeypatch.setattr(reading.Cache, "put", put)
    vocabulary, pieces, refused = corpus_bytes(many, cluster.address, seconds=3)
    assert (vocabulary, pieces) == expected[:2]
    assert first.wait() == -signal.SIGKILL
    # Both are no MIDI to a reader that they leave alone.
    assert len(refused) == len(expected[2]) == 3
    assert [text for text in refused if "takes longer than 3 seconds" in text]
    assert [text for text in refused if "ended the process that read it" in text]


def test_a_bucket_is_read_by_the_workers(
    music: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shutil.copy(music / "piece0.mid", music / "copy.mid")
        (music / "broken.mid").write_bytes(b"MThd")
        expected = corpus_bytes(music, None)
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("music")
        for path in music.glob("*.mid"):
            bucket.put(str(path), f"music/tunes/{path.name}")
        cluster.worker(**variables)
        url = Path("s3://music/tunes")
        read_here: list[Path] = []
        with monkeypatch.context() as patch:
            patch.setattr(reading, "read_bytes", read_here.append)
            assert corpus_bytes(url, cluster.address) == expected
        assert not read_here
        assert load_dataset(url, jobs=1).report.from_cache == 6  # nothing is read again
        shutil.rmtree(tmp_path / "cache")
        assert corpus_bytes(url, None) == expected  # without a cluster, too
        with pytest.raises(InputError, match="cannot list --data-dir=s3://nowhere"):
            load_dataset(Path("s3://nowhere"))
    finally:
        server.stop()


def test_a_cluster_without_workers_is_named(
    music: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_room, "PATIENCE", 2)
    with pytest.raises(InputError, match=f"scheduler at {cluster.address} has no workers"):
        corpus_bytes(music, cluster.address)


def test_a_worker_without_the_requirements_is_named(
    music: Path, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "music21.py").write_text("raise ModuleNotFoundError(name='music21')")
    cluster.worker(PYTHONPATH=str(tmp_path))
    with pytest.raises(InputError, match=r"worker at tcp://\S+ lacks music21: there, pip install"):
        corpus_bytes(music, cluster.address)


def test_a_worker_that_holds_an_older_version_parses_with_ours(
    many: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.worker()
    older = tmp_path / "older" / "midilstm"
    shutil.copytree(dask_room.PACKAGE, older)
    with (older / "midi.py").open("a") as file:
        file.write("\n\ndef read(*_, **__):\n    raise MidiError('of old')\n")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="of old"):
        patch.setattr(dask_room, "PACKAGE", older)
        corpus_bytes(many, cluster.address)
    assert corpus_bytes(many, cluster.address) == corpus_bytes(many, None)
