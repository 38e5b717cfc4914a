"""Train a tiny model for some minutes while everything goes wrong, and count what is lost.

    python benchmarks/soak.py --minutes=20

One run after another, in each encoding by turns, is stopped at random moments by SIGKILL, SIGTERM,
SIGINT to all its processes, or a disk that is full (a small tmpfs, which only an administrator of
Linux can mount), and continued until it is done, while sample.py draws from its folder. Lost is: a
checkpoint that is gone or damaged, an end other than the one promised, a traceback, a piece whose
JSON names another epoch's loss than its weights have, a difference from the bits of a run that
nothing has stopped.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from midilstm import model_dir as runs  # noqa: E402 - after the path to it
from midilstm import tokenizers as tokens  # noqa: E402 - after the path to them

TOKENS = ("C4", "D4", "E-4", "F#4", "G4", "0.4.7", "2.5.9", "7.11.2")
FLAGS = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
FLAGS += ["--jobs=1", "--epochs=20", "--freq=3", "--patience=20"]
ENCODINGS = ("notes", "tsd", "remi")
ENDS = {"SIGKILL": {-9}, "SIGTERM": {130, -15}, "SIGINT": {130}, "full disk": {2}}
DISK = 4 * 2**20  # bytes; a run takes about 1 MB


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Count what training loses when everything goes wrong.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and their moments")
    return parser.parse_args(argv)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of DISK bytes at a folder, where that is allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def content(folder: Path) -> dict[str, str]:
    """Return what a finished run comes to: all arrays and numbers but the seconds, hashed."""
    with (folder / "logs" / "training.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    model = folder / "model"
    found = {"training.csv": json.dumps(rows)}
    found |= {name: (model / name).read_text() for name in (runs.MATCH_MODEL, runs.VOCABULARY)}
    for path in (*runs.numbered_checkpoints(model).values(), runs.checkpoint_path(model, "best")):
        arrays: list[bytes] = []

        def visit(name: str, node: object, arrays: list[bytes] = arrays) -> None:
            if isinstance(node, h5py.Dataset):
                arrays.append(name.encode() + node[()].tobytes())

        with zipfile.ZipFile(path) as archive:
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
        scores = {k: v for k, v in runs.metrics(path).items() if k != "seconds"}
        found[path.name] = hashlib.sha256(b"".join(arrays)).hexdigest() + json.dumps(scores)
    return found


@dataclass
class Soak:
    """Counts, and what is known of each run and piece."""

    work: Path
    disk: Path
    rng: np.random.Generator
    faults: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    whole: dict[str, dict[str, str]] = field(default_factory=dict)  # by encoding, never stopped
    losses: dict[str, tuple[int, float]] = field(default_factory=dict)  # by hash of the weights
    seconds: float = 0.0  # that a run takes
    training: subprocess.Popen[str] | None = None

    def start(self, folder: Path, encoding: str) -> subprocess.Popen[str]:
        """Start train.py on a run's folder."""
        command = [sys.executable, str(ROOT / "train.py"), *FLAGS, f"--encoding={encoding}"]
        folders = [f"--data-dir={self.work / 'data'}", "--model-dir=model", "--log-dir=logs"]
        pipes: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        own: dict[str, Any] = {"cwd": folder, "start_new_session": True}
        self.training = subprocess.Popen([*command, *folders], **pipes, **own)
        return self.training

    def end(self, training: subprocess.Popen[str], promised: set[int]) -> bool:
        """Wait for train.py; tell whether the run is finished."""
        try:
            _, said = training.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(training.pid, signal.SIGKILL)
            training.communicate()
            self.lost.append("it hangs")
            return False
        if "Traceback" in said or training.returncode not in {0, *promised}:
            self.lost.append(f"status {training.returncode}: {said}")
        return training.returncode == 0

    def sample(self, folder: Path) -> None:
        """Draw a piece from a run's folder, and hold its JSON against all drawn before."""
        flags = [f"--seed={self.counts['pieces sampled']}", f"--output-dir={self.work / 'output'}"]
        flags += ["--chars=40", "--memory=1", f"--checkpoint={self.rng.choice(['best', 'latest'])}"]
        command = [sys.executable, str(ROOT / "sample.py"), *flags]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        for why in ("no trained model", "--checkpoint can be", "there is no note"):
            if done.returncode == 2 and why in done.stderr:
                self.counts[f"samplings answered: {why}"] += 1
                return
        if done.returncode or done.stderr:
            self.lost.append(f"sample.py, status {done.returncode}: {done.stderr}")
            return
        self.counts["pieces sampled"] += 1
        (path,) = (Path(s[6:]) for s in done.stdout.splitlines() if s.startswith("Wrote "))
        made = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        tokens.read(path)
        pair = int(made["epoch"]), made["val_loss"]
        if self.losses.setdefault(made["weights_sha256"], pair) != pair:
            self.lost.append(f"{path}: weights of one epoch, loss of another")

    def stop(self, fault: str, training: subprocess.Popen[str], filler: Path) -> None:
        """Let a fault befall a process."""
        if fault == "full disk":
            room = os.statvfs(filler.parent)
            left = int(self.rng.integers(80_000))
            filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - left)))
        elif training.poll() is None:
            number = getattr(signal, fault)
            (os.killpg if fault == "SIGINT" else os.kill)(training.pid, number)

    def run(self, encoding: str, is_over: Callable[[], bool]) -> None:
        """Train one run through its faults, and compare it with one that had none."""
        folder = Path(tempfile.mkdtemp(dir=self.disk))
        filler, seen = self.disk / "filler", set[Path]()
        finished = False
        while not finished and not is_over():
            fault, began = str(self.rng.choice(self.faults)), time.monotonic()
            moment = began + self.rng.uniform(0.1, self.seconds)
            training = self.start(folder, encoding)
            while training.poll() is None and time.monotonic() < moment:
                self.sample(folder)
                time.sleep(min(2.0, max(0.0, moment - time.monotonic())))
            self.stop(fault, training, filler)
            finished = self.end(training, ENDS[fault])
            filler.unlink(missing_ok=True)
            self.counts[f"{fault}, {'too late' if finished else 'survived'}"] += 1
            there = set(runs.numbered_checkpoints(folder / "model").values())
            self.lost += [f"{path} is gone" for path in seen - there]
            self.lost += [f"{path} is damaged" for path in there if not runs.is_whole(path)]
            seen |= there
        if finished:
            self.counts["runs finished"] += 1
            found, whole = content(folder), self.whole[encoding]
            different = [name for name in {*found, *whole} if found.get(name) != whole.get(name)]
            self.lost += [f"{encoding}: {name} is another" for name in different]
        subprocess.run(["rm", "-r", str(folder)], check=True)

    def prepare(self) -> None:
        """Make the music, and the runs that nothing stops."""
        for number in range(6):
            piece = np.random.default_rng(number).choice(TOKENS, 60).tolist()
            (self.work / "data").mkdir(exist_ok=True)
            tokens.write(piece, self.work / "data" / f"{number}.mid")
        for encoding in ENCODINGS:
            folder, began = Path(tempfile.mkdtemp(dir=self.work)), time.monotonic()
            self.end(self.start(folder, encoding), set())
            self.whole[encoding] = content(folder)
            self.seconds = max(self.seconds, time.monotonic() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts; return 1 where something was lost."""
    arguments = parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell ignores it
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name, "disk")) as mounted:
        if not mounted:
            print("No small disk can be mounted here: it is left out that a disk is full.")
        faults = [fault for fault in ENDS if mounted or fault != "full disk"]
        rng = np.random.default_rng(arguments.seed)
        soak = Soak(Path(name), Path(name, "disk"), rng, faults)
        try:
            soak.prepare()
            print(f"A run that nothing stops takes {soak.seconds:.0f} s", flush=True)
            until = time.monotonic() + 60 * arguments.minutes
            while time.monotonic() < until:
                number = soak.counts["runs finished"]
                soak.run(ENCODINGS[number % len(ENCODINGS)], lambda: time.monotonic() >= until)
                print(dict(soak.counts), "lost:", soak.lost, flush=True)
        finally:
            if soak.training:
                soak.training.kill()
    for what, count in sorted(soak.counts.items()):
        print(f"{count:6}  {what}")
    print(f"{len(soak.lost):6}  lost")
    print("\n".join(soak.lost))
    return 1 if soak.lost else 0


if __name__ == "__main__":
    sys.exit(main())
