"""Train a tiny model for some minutes under faults, and count what is lost.

    python benchmarks/soak.py --minutes=20

Runs in each encoding in turn are stopped at random moments by SIGKILL, SIGTERM, SIGINT to all their
processes, or a full disk (a small tmpfs, which only root can mount on Linux), and continued until
they are finished, while sample.py draws from their folders. Each of these counts as a loss: a
missing or damaged checkpoint, an exit status that is not documented, a traceback, a piece whose
JSON gives the loss of another epoch than its weights, any difference from an uninterrupted run.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import shutil
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

import h5py
import numpy as np

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from midilstm import model_dir, tokenizers

ROOT = Path(__file__).resolve().parent.parent
TOKENS = ("C4", "D4", "E-4", "F#4", "G4", "0.4.7", "2.5.9", "7.11.2")
FLAGS = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
FLAGS += ["--jobs=1", "--epochs=20", "--freq=3", "--patience=20"]
ENCODINGS = ("notes", "tsd", "remi")
EXIT_STATUSES = {"SIGKILL": {-9}, "SIGTERM": {130, -15}, "SIGINT": {130}, "full disk": {2}}
DISK_BYTES = 4 * 2**20  # a run takes about 1 MB
REFUSALS = ("no trained model", "--checkpoint can be", "drew no note")  # of sample.py


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Count what training loses under faults.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="duration")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults and their moments")
    return parser.parse_args(argv)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of DISK_BYTES at a folder; yield whether that was allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run_content(folder: Path) -> dict[str, str]:
    """Return the content of a finished run's files, hashed, without times."""
    with (folder / "logs" / "training.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    models = folder / "model"
    content = {"training.csv": json.dumps(rows)}
    for name in (model_dir.MATCH_MODEL, model_dir.VOCABULARY):
        content[name] = (models / name).read_text()
    checkpoints = model_dir.numbered_checkpoints(models).values()
    for path in (*checkpoints, model_dir.checkpoint_path(models, "best")):
        arrays: list[bytes] = []

        def visit(name: str, node: object, arrays: list[bytes] = arrays) -> None:
            if isinstance(node, h5py.Dataset):
                arrays.append(name.encode() + node[()].tobytes())

        with zipfile.ZipFile(path) as archive:
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
        metrics = {k: v for k, v in model_dir.metrics(path).items() if k != "seconds"}
        content[path.name] = hashlib.sha256(b"".join(arrays)).hexdigest() + json.dumps(metrics)
    return content


@dataclass
class Soak:
    """The counts and losses, and what each run and piece is compared with."""

    scratch: Path
    disk: Path
    rng: np.random.Generator
    faults: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    uninterrupted: dict[str, dict[str, str]] = field(default_factory=dict)  # content by encoding
    epochs: dict[str, tuple[int, float]] = field(default_factory=dict)  # by the weights' hash
    seconds: float = 0.0  # of an uninterrupted run
    training: subprocess.Popen[str] | None = None

    def start(self, folder: Path, encoding: str) -> subprocess.Popen[str]:
        """Start train.py in a run's folder."""
        command = [sys.executable, str(ROOT / "train.py"), *FLAGS, f"--encoding={encoding}"]
        folders = [f"--data-dir={self.scratch / 'data'}", "--model-dir=model", "--log-dir=logs"]
        self.training = subprocess.Popen(
            [*command, *folders],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            start_new_session=True,
        )
        return self.training

    def wait(self, training: subprocess.Popen[str], statuses: set[int]) -> bool:
        """Wait for train.py to end with 0 or one of these statuses; tell whether it was 0."""
        try:
            _, errors = training.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(training.pid, signal.SIGKILL)
            training.communicate()
            self.losses.append("train.py hangs")
            return False
        if "Traceback" in errors or training.returncode not in {0, *statuses}:
            self.losses.append(f"train.py, status {training.returncode}: {errors}")
        return training.returncode == 0

    def sample(self, folder: Path) -> None:
        """Draw a piece from a run's folder, and compare its JSON with those of all earlier ones."""
        output_dir, checkpoint = self.scratch / "output", self.rng.choice(["best", "latest"])
        command = [sys.executable, str(ROOT / "sample.py"), f"--output-dir={output_dir}"]
        command += [f"--seed={self.counts['pieces sampled']}", f"--checkpoint={checkpoint}"]
        command += ["--chars=40", "--memory=1"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        for reason in REFUSALS:
            if result.returncode == 2 and reason in result.stderr:
                self.counts[f"samplings refused: {reason}"] += 1
                return
        if result.returncode or result.stderr:
            self.losses.append(f"sample.py, status {result.returncode}: {result.stderr}")
            return
        self.counts["pieces sampled"] += 1
        lines = result.stdout.splitlines()
        (path,) = (Path(x.removeprefix("Wrote ")) for x in lines if x.startswith("Wrote "))
        metadata = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        tokenizers.read(path)
        epoch = int(metadata["epoch"]), metadata["val_loss"]
        if self.epochs.setdefault(metadata["weights_sha256"], epoch) != epoch:
            self.losses.append(f"{path}: weights of one epoch, loss of another")

    def inject(self, fault: str, training: subprocess.Popen[str], filler: Path) -> None:
        """Fill the disk, or send the process a signal."""
        if fault == "full disk":
            disk = os.statvfs(filler.parent)
            n_free = int(self.rng.integers(80_000))
            filler.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - n_free)))
        elif training.poll() is None:
            send = os.killpg if fault == "SIGINT" else os.kill
            send(training.pid, signal.Signals[fault])

    def run(self, encoding: str, is_over: Callable[[], bool]) -> None:
        """Train one run through its faults, and compare it with the uninterrupted one."""
        folder = Path(tempfile.mkdtemp(dir=self.disk))
        filler, seen = self.disk / "filler", set[Path]()
        is_finished = False
        while not is_finished and not is_over():
            fault = str(self.rng.choice(self.faults))
            moment = time.monotonic() + self.rng.uniform(0.1, self.seconds)
            training = self.start(folder, encoding)
            while training.poll() is None and time.monotonic() < moment:
                self.sample(folder)
                time.sleep(min(2.0, max(0.0, moment - time.monotonic())))
            self.inject(fault, training, filler)
            is_finished = self.wait(training, EXIT_STATUSES[fault])
            filler.unlink(missing_ok=True)
            self.counts[f"{fault}, {'too late' if is_finished else 'survived'}"] += 1
            checkpoints = set(model_dir.numbered_checkpoints(folder / "model").values())
            self.losses += [f"{path} is gone" for path in seen - checkpoints]
            damaged = [path for path in checkpoints if not model_dir.is_whole(path)]
            self.losses += [f"{path} is damaged" for path in damaged]
            seen |= checkpoints
        if is_finished:
            self.counts["runs finished"] += 1
            content, expected = run_content(folder), self.uninterrupted[encoding]
            names = {*content, *expected}
            different = [name for name in names if content.get(name) != expected.get(name)]
            self.losses += [f"{encoding}: {name} differs" for name in different]
        shutil.rmtree(folder)

    def prepare(self) -> None:
        """Write the music, and train the runs that nothing interrupts."""
        (self.scratch / "data").mkdir()
        for seed in range(6):
            tokens = np.random.default_rng(seed).choice(TOKENS, 60).tolist()
            tokenizers.write(tokens, self.scratch / "data" / f"{seed}.mid")
        for encoding in ENCODINGS:
            folder, start = Path(tempfile.mkdtemp(dir=self.scratch)), time.monotonic()
            self.wait(self.start(folder, encoding), set())
            self.uninterrupted[encoding] = run_content(folder)
            self.seconds = max(self.seconds, time.monotonic() - start)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts; return 1 if something was lost."""
    args = parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name, "disk")) as is_mounted:
        if not is_mounted:
            print("No small disk can be mounted: the fault of a full disk is left out.")
        faults = [fault for fault in EXIT_STATUSES if is_mounted or fault != "full disk"]
        rng = np.random.default_rng(args.seed)
        soak = Soak(Path(name), Path(name, "disk"), rng, faults)
        try:
            soak.prepare()
            print(f"An uninterrupted run takes {soak.seconds:.0f} s", flush=True)
            end = time.monotonic() + 60 * args.minutes
            while time.monotonic() < end:
                encoding = ENCODINGS[soak.counts["runs finished"] % len(ENCODINGS)]
                soak.run(encoding, lambda: time.monotonic() >= end)
                print(dict(soak.counts), "lost:", soak.losses, flush=True)
        finally:
            if soak.training:
                soak.training.kill()
    for title, count in sorted(soak.counts.items()):
        print(f"{count:6}  {title}")
    print(f"{len(soak.losses):6}  lost")
    print("\n".join(soak.losses))
    return 1 if soak.losses else 0


if __name__ == "__main__":
    sys.exit(main())
