"""Two processes that train one network together."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import PIPE, Popen
from types import MappingProxyType

import numpy as np
import pytest
from run_files import read_arrays, read_bits

from midilstm.model_dir import numbered_checkpoints
from midilstm.training import log

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
SIZES = ["--embedding-size=8", "--units=6", "--layers=2", "--batch-size=4", "--seq-length=8"]
EPOCHS = 10
FLAGS = [*SIZES, "--jobs=1", f"--epochs={EPOCHS}", "--freq=2", "--keep-checkpoints=9"]
# Ports below those that the system gives to connections.
WORKERS = [f"127.0.0.1:{10_000 + os.getpid() % 10_000 + worker}" for worker in range(2)]
# Keeps what each worker ends with, or kills it after so many steps.
DRIVER = """
import os, signal, sys
root, end, last_step = sys.argv[1:4]
sys.argv = [sys.argv[0], *sys.argv[4:]]
sys.path.insert(0, root)
import numpy as np
import train
from midilstm.training import distributed, loop, weights

def make_step(*arguments, make=distributed.make_step):
    step, count = make(*arguments), 0
    def counted(*arguments, **options):
        nonlocal count
        count += 1
        count == int(last_step) and os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)
    return counted

def train_and_keep(self, train=loop.TrainingLoop.train):
    train(self)
    np.savez(end, *weights.snapshot(self.network))

distributed.make_step, loop.TrainingLoop.train = make_step, train_and_keep
sys.exit(train.main())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_piece: Callable[..., list[str]]) -> Path:
    folder = tmp_path_factory.mktemp("music") / "data"
    for seed in range(8):
        make_piece(folder / f"{seed}.mid", length=100, seed=seed)
    return folder


def train_together(
    folder: Path, data: Path, killed: Mapping[int, int] = MappingProxyType({})
) -> list[tuple[int, str, str]]:
    """Train in folder/0 and folder/1; return status, output and errors of each worker."""
    processes = []
    for worker in range(2):
        cwd = folder / str(worker)
        cwd.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", DRIVER, str(ROOT), "last.npz", str(killed.get(worker, 0))]
        command += [f"--data-dir={data}", *FLAGS]
        command += [f"--workers={','.join(WORKERS)}", f"--worker={worker}"]
        processes.append(Popen(command, cwd=cwd, stdout=PIPE, stderr=PIPE, text=True))
    try:
        texts = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *pair) for p, pair in zip(processes, texts, strict=True)]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folders of two workers that trained ten epochs, with the usual dropout."""
    folder = tmp_path_factory.mktemp("finished")
    for status, _, error in train_together(folder, data):
        assert (status, error) == (0, "")
    return folder


def test_both_workers_end_with_the_same_bits_and_the_chief_alone_writes(finished: Path) -> None:
    ends = [np.load(finished / worker / "last.npz") for worker in ("0", "1")]
    assert ends[0].files == ends[1].files
    assert len(ends[0].files) > 30
    assert all(ends[0][name].tobytes() == ends[1][name].tobytes() for name in ends[0].files)
    assert [path.name for path in (finished / "1").iterdir()] == ["last.npz"]
    assert list(numbered_checkpoints(finished / "0" / "model")) == [2, 4, 6, 8, 10]


def test_they_learn_as_one_process_does(data: Path, finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), f"--data-dir={data}", *FLAGS]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    alone, both = (
        log.read(path / "logs" / "training.csv")[0] for path in (tmp_path, finished / "0")
    )
    assert len(alone) == len(both) == EPOCHS
    for one, other in zip(alone, both, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, abs=1e-4)
    assert alone[-1].loss < alone[0].loss - 0.1  # there was something to learn
    path = Path("model", f"epoch-{EPOCHS:04d}.keras")
    expected, arrays = read_arrays(tmp_path / path), read_arrays(finished / "0" / path)
    assert arrays.keys() == expected.keys()
    for name, values in arrays.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-4, err_msg=name)


def test_killed_each_in_turn_and_both_they_go_on_bit_for_bit(
    data: Path, finished: Path, tmp_path: Path
) -> None:
    # 7 pieces of 101 tokens are 21 steps per epoch.
    chief, other = train_together(tmp_path, data, killed={1: 3 * 21 + 10})
    assert other[0] == -signal.SIGKILL
    assert chief[0] == 2
    assert f"worker 1 at {WORKERS[1]} has gone or hangs" in chief[2]
    assert "The same commands go on from there" in chief[2]
    assert chief[2].count("\n") == 1
    assert list(numbered_checkpoints(tmp_path / "0" / "model")) == [2, 3]
    chief, other = train_together(tmp_path, data, killed={0: 7})
    assert (chief[0], other[0]) == (-signal.SIGKILL, 2)
    assert f"worker 0 at {WORKERS[0]} has gone or hangs" in other[2]
    assert other[2].count("\n") == 1
    chief, other = train_together(tmp_path, data, killed={0: 32, 1: 32})
    assert (chief[0], other[0]) == (-signal.SIGKILL, -signal.SIGKILL)
    assert list(numbered_checkpoints(tmp_path / "0" / "model")) == [2, 3, 4]
    shutil.rmtree(tmp_path / "1")  # only the chief's folder counts
    for status, _, error in train_together(tmp_path, data):
        assert (status, error) == (0, "")
    path = Path("0", "model", f"epoch-{EPOCHS:04d}.keras")
    assert read_bits(tmp_path / path) == read_bits(finished / path)
