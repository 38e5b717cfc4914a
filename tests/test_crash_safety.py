"""Runs killed at random moments, and sampled from meanwhile: nothing is lost, no bit is another."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import sample
import train
from midilstm import model_dir as runs
from midilstm import tokenizers as tokens
from midilstm.generation import network

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
    said = tmp_path_factory.mktemp("said") / "stderr"
    command, pipe = [sys.executable, "-c", SERVER], subprocess.PIPE
    told = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    with (
        said.open("w") as errors,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=told
        ) as server,
    ):
        yield Trainer(server)
    assert said.read_text() == ""  # of all processes


def arrays(checkpoint: Path) -> dict[str, bytes]:
    """Return all arrays, the optimizer's too, read without Keras."""
    found: dict[str, bytes] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()].tobytes()

    with zipfile.ZipFile(checkpoint) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
    return found


def result(folder: Path) -> dict[str, object]:
    """Return all that a run has come to, but for the seconds that it took."""
    with (folder / "logs" / "training.csv").open() as file:
        log = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    found: dict[str, object] = {"log": log}
    for path in (folder / "model").iterdir():
        if path.suffix == ".keras":
            scores = {k: v for k, v in runs.metrics(path).items() if k != "seconds"}
            found[path.name] = arrays(path), scores
        else:
            found[path.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def epochs(folder: Path) -> int:
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
    for number in range(kills):
        training, before = trainer.start(killed, *flags), epochs(killed)
        if number == 1:  # one while it starts
            time.sleep(rng.uniform(0, 2))
        else:
            kept = max(runs.numbered_checkpoints(killed / "model"), default=0)
            more = min(kept + int(rng.integers(1, 8)), epochs(straight) - 4)
            while epochs(killed) == before or epochs(killed) < more:  # first it is cut back
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
        os.kill(training, signal.SIGKILL)
        assert trainer.status() == -signal.SIGKILL
    trainer.start(killed, *flags)
    assert trainer.status() == 0
    expected, found = result(straight), result(killed)
    assert len(arrays(killed / "model" / "best.keras")) == 6 + 2 + 3 * 6
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_piece_drawn_while_training_names_its_own_weights_epoch_and_loss(
    music: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = sample_while_training(music, trainer, 20, monkeypatch.chdir)
    assert drawn > 10


def sample_while_training(
    music: Path, trainer: Trainer, epochs: int, go: Callable[[Path], None]
) -> int:
    """Sample until a run ends, and hold what each JSON says against the checkpoints."""
    folder = music.parent / "run"
    folder.mkdir()
    trainer.start(folder, f"--epochs={epochs}", "--freq=1")
    go(folder)
    drawn, best = 0, folder / "model" / "best.keras"
    while not best.exists():
        time.sleep(0.01)
    while not (folder / "model" / runs.MATCH_MODEL).exists():
        which = (
            ("best", "latest")[drawn % 2] if runs.numbered_checkpoints(folder / "model") else "best"
        )
        assert sample.main([f"--seed={drawn}", "--chars=5", f"--checkpoint={which}"]) == 0
        drawn += 1
    assert trainer.status() == 0
    settings = runs.load_settings(folder / "model")
    size = settings.dataset.vocabulary_size
    paths = runs.numbered_checkpoints(folder / "model").values()
    said = {network.load(path, settings.model, size).digest: runs.metrics(path) for path in paths}
    made = [*(folder / "output").glob("*.json")]
    for path in made:
        body = json.loads(path.read_text(encoding="utf-8"))
        scores = said[body["weights_sha256"]]
        assert (body["epoch"], body["val_loss"]) == (scores["epoch"], scores["val_loss"])
        assert tokens.read(path.with_suffix(".mid")) == body["tokens"]
    assert len(made) == drawn
    return drawn
