"""Training runs that are killed at random moments, or sampled from while they train."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run_files import read_bits, read_log

import sample
import train
from midilstm import tokenizers
from midilstm.generation import network
from midilstm.model_dir import MATCH_MODEL, load_settings, metrics, numbered_checkpoints

pytestmark = pytest.mark.slow
ROOT = Path(train.__file__).parent
FLAGS = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
FLAGS += ["--jobs=1", "--learning-rate=0.01"]
# Loads TensorFlow once; each line on its input is a command line, trained in a process of its own.
SERVER = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import model, train
from midilstm.training import loop
for line in sys.stdin:
    if not (pid := os.fork()):
        os.chdir(line.split()[0])
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(train.main(line.split()[1:]))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Trainer:
    """Start training processes, one at a time."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        assert server.stdin
        assert server.stdout
        self._orders, self._answers = server.stdin, server.stdout

    def start(self, folder: Path, *flags: str) -> int:
        """Begin or continue the run in a folder, on the music of this folder's parent."""
        order = [str(folder), *FLAGS, f"--data-dir={folder.parent / 'data'}", *flags]
        print(*order, file=self._orders, flush=True)
        return int(self._answers.readline())

    def status(self) -> int:
        """Wait for the process to end."""
        return int(self._answers.readline())


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    errors = tmp_path_factory.mktemp("errors") / "stderr"
    command, pipe = [sys.executable, "-c", SERVER], subprocess.PIPE
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    with (
        errors.open("w") as file,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=file, text=True, env=env
        ) as server,
    ):
        yield Trainer(server)
    assert errors.read_text() == ""  # of all processes


def result(folder: Path) -> dict[str, object]:
    """Return by file name all that a run has written, but for the seconds that it took."""
    files: dict[str, object] = {"log": read_log(folder / "logs")}
    for path in (folder / "model").iterdir():
        if path.suffix == ".keras":
            files[path.name] = read_bits(path), metrics(path) | {"seconds": 0}
        elif path.suffix == ".json":
            files[path.name] = json.loads(path.read_text(encoding="utf-8"))
    return files


def count_epochs(folder: Path) -> int:
    log = folder / "logs" / "training.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


@pytest.mark.parametrize(("encoding", "kills"), [("notes", 4), ("tsd", 3), ("remi", 3)])
def test_killed_at_random_moments_a_run_ends_in_the_same_bits(
    music: Path, trainer: Trainer, encoding: str, kills: int
) -> None:
    rng = np.random.default_rng(kills)
    straight, killed = music.parent / "straight", music.parent / "killed"
    flags = [f"--encoding={encoding}", "--epochs=18", "--freq=4", "--patience=8"]
    for folder in (straight, killed):
        folder.mkdir()
    trainer.start(straight, *flags)
    assert trainer.status() == 0
    for kill in range(kills):
        pid, before = trainer.start(killed, *flags), count_epochs(killed)
        if kill == 1:  # one while it starts
            time.sleep(rng.uniform(0, 2))
        else:
            kept = max(numbered_checkpoints(killed / "model"), default=0)
            until = min(kept + int(rng.integers(1, 8)), count_epochs(straight) - 4)
            # First the log is cut back.
            while count_epochs(killed) == before or count_epochs(killed) < until:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
        os.kill(pid, signal.SIGKILL)
        assert trainer.status() == -signal.SIGKILL
    trainer.start(killed, *flags)
    assert trainer.status() == 0
    expected, files = result(straight), result(killed)
    assert len(read_bits(killed / "model" / "best.keras")) == 6 + 2 + 3 * 6  # the optimizer's too
    assert files.keys() == expected.keys()
    assert [name for name in expected if files[name] != expected[name]] == []


def test_a_piece_drawn_while_training_names_its_own_weights_epoch_and_loss(
    music: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = music.parent / "run"
    model_dir = folder / "model"
    folder.mkdir()
    trainer.start(folder, "--epochs=20", "--freq=1")
    monkeypatch.chdir(folder)
    while not numbered_checkpoints(model_dir):
        time.sleep(0.01)
    count = 0
    while not (model_dir / MATCH_MODEL).exists():
        checkpoint = ("best", "latest")[count % 2]
        assert sample.main([f"--seed={count}", "--chars=5", f"--checkpoint={checkpoint}"]) == 0
        count += 1
    assert trainer.status() == 0
    settings = load_settings(model_dir)
    size = settings.dataset.vocabulary_size
    paths = numbered_checkpoints(model_dir).values()
    saved = {network.load(path, settings.model, size).digest: metrics(path) for path in paths}
    pieces = [*(folder / "output").glob("*.json")]
    for path in pieces:
        body = json.loads(path.read_text(encoding="utf-8"))
        expected = saved[body["weights_sha256"]]
        assert (body["epoch"], body["val_loss"]) == (expected["epoch"], expected["val_loss"])
        assert tokenizers.read(path.with_suffix(".mid")) == body["tokens"]
    assert len(pieces) == count > 10
