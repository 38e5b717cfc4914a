"""Train a network epoch by epoch; save checkpoints, also when the run is interrupted."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from midilstm.data import batches
from midilstm.data.dataset import Dataset
from midilstm.fileio import InputError
from midilstm.model_dir import checkpoint_path, keep_newest
from midilstm.run_settings import RunSettings
from midilstm.tokenizers.vocabulary import KEYS
from midilstm.training import weights
from midilstm.training.heldout import HeldOutEvaluator
from midilstm.training.log import LogRow, TrainingLog

# Windows has no SIGHUP.
SIGNALS = [x for x in signal.Signals if x.name in ("SIGINT", "SIGTERM", "SIGHUP")]


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a terminal that closes and a machine that shuts down interrupt as Ctrl-C does.

    A second signal ends the process at once: no file is ever half written.
    """
    handlers = {x: signal.getsignal(x) for x in SIGNALS}
    handlers = {x: handler for x, handler in handlers.items() if handler != signal.SIG_IGN}  # nohup

    def interrupt(*_: object) -> None:
        for handled in handlers:
            signal.signal(handled, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        for handled in handlers:
            signal.signal(handled, interrupt)
        yield
    finally:
        for handled, handler in handlers.items():
            signal.signal(handled, handler)


@dataclass
class TrainingLoop:
    """A network, its dataset and its log, from one epoch to the last."""

    settings: RunSettings
    network: keras.Model  # compiled, with the weights of epoch `done`
    dataset: Dataset
    log: TrainingLog | None  # None where another process writes the log and the checkpoints
    done: int
    best: Mapping[str, float]  # metrics of the best checkpoint; {} where there is none
    on_checkpoint: Callable[[int], object] = lambda _: None  # called with its epoch

    def __post_init__(self) -> None:
        """Prepare what all epochs share."""
        self.rows = slice(None)  # those of the batch that this network trains
        self.evaluator = HeldOutEvaluator(self.network)
        self._config = self.settings.train
        self._row = self.log.rows[-1] if self.log and self.log.rows else None
        self._at_epoch_end = weights.snapshot(self.network)
        self._best_loss = self.best.get("val_loss", math.inf)
        self._best_epoch = self.best.get("epoch", 0)
        self._pieces = list(self.dataset.training.values())
        transposed = self.dataset.vocabulary.transposed
        is_transposed = self.settings.data.transpose
        self._keys = np.array([transposed(k) for k in KEYS]) if is_transposed else None

    @interruptible()
    def train(self) -> None:
        """Train the epochs that are left, under one progress bar; save also when interrupted.

        Raise InputError when loss or weights are not finite, with the last whole epoch saved.
        """
        config, n_tokens = self._config, sum(map(len, self._pieces))
        steps = batches.batch_count(n_tokens, config.batch_size, config.seq_length)
        counts = {"total": steps * config.epochs, "initial": steps * self.done}
        try:
            with tqdm(**counts, unit="batch", leave=False, disable=None) as bar:
                while self.done < config.epochs and not self._is_patience_over():
                    tqdm.write(self._end_epoch(self._train_epoch(self.done + 1, bar)))
                    if self.log and self._path(self.done).exists():
                        self.on_checkpoint(self.done)
        except KeyboardInterrupt:
            print(f"\n{self.save_last()} The same command goes on from there.", file=sys.stderr)
            raise
        except FloatingPointError as error:
            raise InputError(
                f"{error} in epoch {self.done + 1}, of which nothing is saved. {self.save_last()} "
                "Try a lower --learning-rate, with --fresh or another --model-dir"
            ) from error
        if self._is_patience_over():
            epochs = f"{config.patience} epochs (--patience)"
            print(f"Stopped: the held-out loss has not improved for {epochs}")

    def _train_epoch(self, epoch: int, bar: tqdm) -> LogRow:
        """Train and score one epoch, the same again when it is trained again."""
        start, sums, seed = time.perf_counter(), np.zeros(2), self.settings.data.seed
        bar.set_description(f"epoch {epoch}/{self._config.epochs}")
        weights.reset_states(self.network)
        weights.reseed(self.network, seed, epoch)
        rng = np.random.default_rng([seed % 2**63, epoch])
        stream = batches.epoch_stream(
            self._pieces, rng, shuffle=self._config.shuffle, transpositions=self._keys
        )
        length, size = self._config.seq_length, len(self.dataset.vocabulary)
        pairs = batches.batches(stream, self._config.batch_size, length, size, self.rows)
        for step, (x, y) in enumerate(batches.prefetch(pairs), 1):
            logs = self.network.train_on_batch(x, y, return_dict=True)
            sums += [logs["loss"], logs["accuracy"]]
            loss, accuracy = (sums / step).tolist()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss}")
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}", refresh=False)
            bar.update()
        with weights.ema_weights(self.network):
            held_out = self.evaluator([*self.dataset.held_out.values()])
        if self.dataset.held_out and not math.isfinite(held_out[0]):
            raise FloatingPointError(f"the held-out loss became {held_out[0]}")
        return LogRow(epoch, loss, accuracy, *held_out, time.perf_counter() - start)

    def _is_patience_over(self) -> bool:
        waited = self.done - self._best_epoch if math.isfinite(self._best_loss) else 0
        return bool(self._config.patience and waited >= self._config.patience)

    def _end_epoch(self, row: LogRow) -> str:
        """Log the epoch and save what is due; return the line to print."""
        values = weights.snapshot(self.network)
        if not all(np.isfinite(value).all() for value in values):
            raise FloatingPointError("the weights became nan")
        # Together, and first: an interrupt may come at each of the writes that follow.
        self.done, self._row, self._at_epoch_end = row.epoch, row, values
        is_best = self._record(row)
        line = f"epoch {row.epoch}/{self._config.epochs}"
        line += f"  loss {row.loss:.3f}  accuracy {row.accuracy:.3f}"
        if self.dataset.held_out:
            line += f"  held-out loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}"
        line += f"  {row.seconds:.1f} s" + ("  best so far" if is_best else "")
        is_last = row.epoch == self._config.epochs or self._is_patience_over()
        if is_last or row.epoch % self._config.freq == 0:
            line += f"  saved {self._save(row)}"
        if row.loss > 2 * math.log(self.network.output_shape[-1]):
            line += "  worse than guessing: try a lower --learning-rate"
        if self.log and not self._config.patience:
            line += overfitting_note(self.log.rows)
        return line

    def _record(self, row: LogRow) -> bool:
        """Log an epoch, and save it if it is the best; return whether it is."""
        is_best = row.val_loss < self._best_loss
        if self.log:
            self.log.add(row)
            if is_best:
                weights.save(self.network, self._path("best"), vars(row))
        if is_best:
            self._best_loss, self._best_epoch = row.val_loss, row.epoch
        return is_best

    def _save(self, row: LogRow) -> Path:
        path = self._path(row.epoch)
        if self.log:
            weights.save(self.network, path, vars(row))
            if self._config.keep_checkpoints:
                keep_newest(self._config.model_dir, self._config.keep_checkpoints)
            self.log.draw()
        return path

    def _path(self, epoch: int | str) -> Path:
        return checkpoint_path(self._config.model_dir, epoch)

    def save_last(self) -> str:
        """Save the last whole epoch: half an epoch cannot be resumed bit for bit."""
        if not self.log:
            return "The first worker saves the last whole epoch."
        if not self._row or self._path(self.done).exists():
            return f"Epoch {self.done} is the last one saved."
        weights.restore(self.network, self._at_epoch_end)
        self._record(self._row)
        return f"Saved {self._save(self._row)}."


def overfitting_note(rows: Sequence[LogRow], window: int = 10) -> str:
    """Return a note at the first epoch with `window` epochs since the last better held-out loss."""
    best, best_epoch = math.inf, 0
    for row in rows:
        if row.val_loss < best:
            best, best_epoch = row.val_loss, row.epoch
        elif best_epoch and row.epoch - best_epoch >= window:
            note = (
                f"\noverfitting: the held-out loss has not improved for {window} epochs. "
                f"best.keras keeps epoch {best_epoch}: stop with Ctrl-C, or add --patience to stop "
                "such a run. More music or a higher --dropout help"
            )
            return note if row is rows[-1] else ""
    return ""
