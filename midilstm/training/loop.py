"""Train a network epoch by epoch; save checkpoints, also when the run is interrupted."""

import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from midilstm.data import batches
from midilstm.data.dataset import Dataset
from midilstm.fileio import InputError
from midilstm.model_dir import RunSettings, checkpoint_path, keep_newest, metrics
from midilstm.tokenizers.vocabulary import KEYS
from midilstm.training import weights
from midilstm.training.heldout import HeldOutEvaluator
from midilstm.training.log import LogRow, TrainingLog


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a terminal that closes and a machine that shuts down interrupt as Ctrl-C does.

    A second signal ends the process at once: no file is ever half written.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    handled = {n: old for n, old in before.items() if old != signal.SIG_IGN}  # as under nohup

    def interrupt(*_: object) -> None:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        for number in handled:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)


@dataclass
class TrainingLoop:
    """A network, its corpus and its log, from one epoch to the last."""

    settings: RunSettings
    network: keras.Model  # compiled, with the weights of epoch `done`
    corpus: Dataset
    log: TrainingLog
    done: int
    rows = slice(None)  # those of the batch that this network trains

    def __post_init__(self) -> None:
        """Prepare what all epochs share."""
        self._row, self._at_epoch_end = self.log.rows[-1:], weights.snapshot(self.network)
        # What the file itself says: the log can be another run's, or lost.
        best = metrics(checkpoint_path(self.settings.train.model_dir, "best"))
        self._best_loss, self._best_epoch = best.get("val_loss", math.inf), best.get("epoch", 0)
        self._scorer = HeldOutEvaluator(self.network)
        self._pieces = list(self.corpus.training.values())
        transposed = self.corpus.vocabulary.transposed
        self._keys = (
            np.array([transposed(k) for k in KEYS]) if self.settings.data.transpose else None
        )

    @interruptible()
    def train(self) -> None:
        """Train the epochs that are left, under one progress bar; save also when interrupted.

        Raise InputError when the numbers are no longer numbers, with the last whole epoch saved.
        """
        stream = sum(map(len, self._pieces))
        steps = batches.batch_count(
            stream, self.settings.train.batch_size, self.network.input_shape[1]
        )
        counts = {"total": steps * self.settings.train.epochs, "initial": steps * self.done}
        try:
            with tqdm(**counts, unit="batch", leave=False, disable=None) as bar:
                while self.done < self.settings.train.epochs and not self._is_patience_over():
                    tqdm.write(self._end_epoch(self._epoch(self.done + 1, bar)))
        except KeyboardInterrupt:
            said = f"\n{self._save_last()} The same command goes on from there."
            print(said, file=sys.stderr)
            raise
        except FloatingPointError as error:
            raise InputError(
                f"{error} in epoch {self.done + 1}, of which nothing is saved. {self._save_last()} "
                "Try a lower --learning-rate, with --fresh or another --model-dir"
            ) from error
        if self._is_patience_over():
            print(
                "Stopped: the held-out loss has not improved for "
                f"{self.settings.train.patience} epochs (--patience)"
            )

    def _epoch(self, epoch: int, bar: tqdm) -> LogRow:
        """Train and score one epoch, the same again when it is trained again."""
        began, sums = time.perf_counter(), np.zeros(2)
        bar.set_description(f"epoch {epoch}/{self.settings.train.epochs}")
        weights.reset_states(self.network)
        weights.reseed(self.network, self.settings.data.seed, epoch)
        rng = np.random.default_rng([self.settings.data.seed % 2**63, epoch])
        stream = batches.epoch_stream(
            self._pieces, rng, shuffle=self.settings.train.shuffle, transpositions=self._keys
        )
        _, length, vocabulary = self.network.output_shape
        made = batches.batches(
            stream, self.settings.train.batch_size, length, vocabulary, self.rows
        )
        for number, (x, y) in enumerate(batches.prefetch(made), 1):
            logs = self.network.train_on_batch(x, y, return_dict=True)
            sums += [logs["loss"], logs["accuracy"]]
            loss, accuracy = (sums / number).tolist()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss}")
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}", refresh=False)
            bar.update()
        with weights.ema_weights(self.network):
            held_out = self._scorer([*self.corpus.held_out.values()])
        if self.corpus.held_out and not math.isfinite(held_out[0]):
            raise FloatingPointError(f"the held-out loss became {held_out[0]}")
        return LogRow(epoch, loss, accuracy, *held_out, time.perf_counter() - began)

    def _is_patience_over(self) -> bool:
        waited = self.done - self._best_epoch if math.isfinite(self._best_loss) else 0
        return bool(self.settings.train.patience and waited >= self.settings.train.patience)

    def _end_epoch(self, row: LogRow) -> str:
        """Log the epoch and save what is due; return the line for people."""
        values = weights.snapshot(self.network)
        if not all(np.isfinite(value).all() for value in values):
            raise FloatingPointError("the weights became nan")
        # Together, and first: an interrupt may come at each of the writes that follow.
        self.done, self._row, self._at_epoch_end = row.epoch, [row], values
        self.log.add(row)
        line = f"epoch {row.epoch}/{self.settings.train.epochs}"
        line += f"  loss {row.loss:.3f}  accuracy {row.accuracy:.3f}"
        if self.corpus.held_out:
            line += f"  held-out loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}"
        line += f"  {row.seconds:.1f} s"
        if self._save_if_best(row):
            line += "  best so far"
        is_last = row.epoch == self.settings.train.epochs or self._is_patience_over()
        if is_last or row.epoch % self.settings.train.freq == 0:
            line += f"  saved {self._save()}"
        if row.loss > 2 * math.log(self.network.output_shape[-1]):
            line += "  worse than guessing: try a lower --learning-rate"
        return line + overfitting_note(self.log.rows)

    def _save_if_best(self, row: LogRow) -> bool:
        if is_best := row.val_loss < self._best_loss:
            self._write(checkpoint_path(self.settings.train.model_dir, "best"))
            self._best_loss, self._best_epoch = row.val_loss, row.epoch
        return is_best

    def _save(self) -> Path:
        self._write(path := checkpoint_path(self.settings.train.model_dir, self.done))
        if self.settings.train.keep_checkpoints:
            keep_newest(self.settings.train.model_dir, self.settings.train.keep_checkpoints)
        self.log.draw()
        return path

    def _write(self, path: Path) -> None:
        weights.save(self.network, path, vars(self.log.rows[-1]))

    def _save_last(self) -> str:
        """Save the last whole epoch: half an epoch cannot be resumed bit for bit."""
        if not self.done or checkpoint_path(self.settings.train.model_dir, self.done).exists():
            return f"Epoch {self.done} is the last one saved."
        weights.restore(self.network, self._at_epoch_end)
        for row in self._row:
            self.log.add(row)
            self._save_if_best(row)
        return f"Saved {self._save()}."


def overfitting_note(rows: Sequence[LogRow], window: int = 5) -> str:
    """Say so where `window` epochs are better on their own pieces, worse on others than before."""
    before, now = rows[-2 * window : -window], rows[-window:]
    is_learning = sum(row.loss for row in now) < sum(row.loss for row in before)
    is_rising = sum(row.val_loss for row in now) > sum(row.val_loss for row in before)
    is_past = min(row.val_loss for row in rows) < min(row.val_loss for row in now)
    if len(before) == window and is_learning and is_rising and is_past:
        return "  memorising: it predicts its own pieces better, and unhandled ones worse"
    return ""
