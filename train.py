"""The training loop: epochs, resume, logs; knows no MIDI and not what a token means."""

from __future__ import annotations

from midilstm import arguments as shared
from midilstm.corpus import report as reports
from midilstm.tokens import vocabulary as vocabularies

import preprocess  # isort: skip

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midilstm import runs
from midilstm.arguments import positive_int, share
from midilstm.corpus import demo
from midilstm.corpus.corpus import Corpus
from midilstm.files import InputError, write_atomically
from midilstm.training import log

if TYPE_CHECKING:
    import numpy as np

# The recipe of this family of programs: it learns its own pieces by heart.
CLASSIC = {
    "layers": 3,
    "dropout": 0.2,
    "input_dropout": 0.0,
    "learning_rate": 1e-3,
    "transpose": False,
    "shuffle": False,
}
SHAPING = ("encoding", "network", "training")  # settings that equal runs share, music apart
RUN_FILES = ("epoch-*.keras", "best.keras", "vocabulary.json", runs.SETTINGS)


def network_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the flags that build_model takes, under its names for them."""
    return {
        "embedding_size": arguments.embedding_size,
        "units": arguments.units,
        "layers": arguments.layers,
        "dropout": arguments.dropout,
        "input_dropout": arguments.input_dropout,
    }


def settings_of(arguments: argparse.Namespace, corpus: Corpus) -> dict[str, Any]:
    """Return every setting that shapes a run: equal settings and corpus give equal weights."""
    return {
        "encoding": corpus.vocabulary.name,
        "network": {"vocabulary_size": len(corpus.vocabulary), **network_of(arguments)},
        "training": {
            "batch_size": arguments.batch_size,
            "sequence_length": arguments.seq_length,
            "learning_rate": arguments.learning_rate,
            "clip": arguments.clip,
            "jit": arguments.jit,
            "transpose": arguments.transpose,
            "shuffle": arguments.shuffle,
            "validation": arguments.validation,
            "min_notes": arguments.min_notes,
            # Left out where it is off, so that runs from before it was there go on.
            **({"bpe": arguments.bpe} if arguments.bpe else {}),
            "seed": arguments.seed,
        },
        "corpus": {
            "pieces": len(corpus.training) + len(corpus.held_out),
            "held_out": sorted(corpus.held_out),
            "tokens": corpus.tokens,
            "sha256": corpus.digest(),
        },
    }


def begin_or_resume(
    arguments: argparse.Namespace, settings: dict[str, Any], vocabulary: vocabularies.Vocabulary
) -> int:
    """Prepare the model folder; return the epoch of the checkpoint to go on from, 0 for none."""
    import json

    folder = arguments.model_dir
    if arguments.fresh:
        for place, names in ((folder, RUN_FILES), (arguments.log_dir, log.FILES)):
            aside = runs.move_aside(place, names)
            if aside:
                print(f"Moved the earlier run's files from {place} to {aside}")
    saved = runs.numbered(folder)
    if (folder / runs.SETTINGS).exists():
        old = runs.load_settings(folder)
        refuse_other_run(folder, old, settings)
        return max(saved, default=0)
    if saved:
        raise InputError(
            f"{folder} has checkpoints but no {runs.SETTINGS}: put it back, "
            "add --fresh to move them aside, or name another folder with --model-dir"
        )
    vocabulary.save(folder / vocabularies.VOCABULARY)
    text = json.dumps({**settings, "versions": arguments.versions}, indent=2, ensure_ascii=False)
    write_atomically(folder / runs.SETTINGS, text + "\n")
    return 0


def refuse_other_run(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise InputError naming what differs, unless both runs have the same settings and corpus."""
    before, after = ({part: run.get(part) for part in SHAPING} for run in (old, new))
    different = runs.differences(before, after)
    then, now = old.get("corpus", {}), new["corpus"]
    if then != now:
        # What follows from other music, such as the vocabulary, is not named again.
        different = [text for text in different if "vocabulary_size" not in text]
        was = f"{then.get('pieces', 0):,} pieces with {then.get('tokens', 0):,} tokens"
        here = f"{now['pieces']:,} with {now['tokens']:,}"
        different.insert(0, f"the music was {was} and is now {here}, or others of that size")
    if different:
        raise InputError(
            f"the run in {folder} was begun differently: {'; '.join(different)}. Give the same "
            "settings and files to go on, --fresh to move that run aside and begin again, "
            "or another --model-dir"
        )


class Run:
    """A model, its corpus and its log, from one epoch to the last."""

    def __init__(self, arguments: argparse.Namespace, corpus: Corpus, done: int) -> None:
        """Build the network and go back to the checkpoint of epoch `done` (0: fresh weights)."""
        import numpy as np

        import model  # here, not above: TensorFlow takes seconds, and --help and mistakes need none

        self._arguments, self._corpus = arguments, corpus
        self.done = self._saved = done
        model.set_seed(arguments.seed)
        self.model = model.build_model(
            len(corpus.vocabulary),
            batch_size=arguments.batch_size,
            sequence_length=arguments.seq_length,
            **network_of(arguments),
        )
        model.compile_for_training(
            self.model, arguments.learning_rate, clip=arguments.clip, jit=arguments.jit
        )
        if done:
            model.load(self.model, runs.path_of(arguments.model_dir, done))
        self._scorer = model.Scorer(self.model)
        self._pieces = list(corpus.training.values())
        self._keys: np.ndarray | None = None
        if arguments.transpose:
            self._keys = np.array([corpus.vocabulary.transposed(k) for k in vocabularies.KEYS])
        self._log = log.Log(arguments.log_dir)
        self._log.begin(done)
        self._at_epoch_end = model.snapshot(self.model)

    def train(self) -> None:
        """Train the epochs that are left, under one progress bar; save also when interrupted."""
        from tqdm import tqdm

        from midilstm.corpus import batches

        arguments = self._arguments
        if self._is_patience_over():
            print(self._patience_line())
            return
        stream = sum(map(len, self._pieces))
        steps = batches.batch_count(stream, arguments.batch_size, arguments.seq_length)
        bar = tqdm(
            total=steps * arguments.epochs,
            initial=steps * self.done,
            unit="batch",
            leave=False,
            disable=None,
        )
        try:
            with bar:
                for epoch in range(self.done + 1, arguments.epochs + 1):
                    bar.set_description(f"epoch {epoch}/{arguments.epochs}")
                    row = self._epoch(epoch, steps, bar)
                    tqdm.write(self._end_epoch(row))
                    if self._is_patience_over():
                        tqdm.write(self._patience_line())
                        break
        except KeyboardInterrupt:
            self._save_interrupted()
            raise

    def _epoch(self, epoch: int, steps: int, bar: Any) -> log.Row:
        import model
        from midilstm.corpus import batches

        arguments = self._arguments
        began = time.perf_counter()
        model.reset_states(self.model)
        model.reseed(self.model, arguments.seed, epoch)
        loss = accuracy = 0.0
        made = batches.batches(
            self._epoch_stream(epoch),
            arguments.batch_size,
            arguments.seq_length,
            len(self._corpus.vocabulary),
        )
        for number, (step_loss, right) in enumerate(
            model.train_epoch(self.model, batches.ahead(made)), 1
        ):
            loss, accuracy = loss + step_loss, accuracy + right
            bar.set_postfix(
                loss=f"{loss / number:.3f}", accuracy=f"{accuracy / number:.3f}", refresh=False
            )
            bar.update()
        val_loss, val_accuracy = self._held_out()
        seconds = time.perf_counter() - began
        return log.Row(epoch, loss / steps, accuracy / steps, val_loss, val_accuracy, seconds)

    def _epoch_stream(self, epoch: int) -> np.ndarray:
        """Return an epoch's ids int32 [N], the same again when it is trained again."""
        import numpy as np

        from midilstm.corpus import batches

        rng = np.random.default_rng([self._arguments.seed % 2**63, epoch])
        shuffle = self._arguments.shuffle
        return batches.epoch_stream(self._pieces, rng, shuffle=shuffle, transpositions=self._keys)

    def _is_patience_over(self) -> bool:
        best = self._log.best()
        patience = self._arguments.patience
        return bool(patience and best and self.done - best.epoch >= patience)

    def _patience_line(self) -> str:
        patience = self._arguments.patience
        return f"Stopped: no better held-out loss for {patience} epochs (--patience=0 goes on)"

    def _held_out(self) -> tuple[float, float]:
        """Score the held-out pieces: (nats a token, accuracy), nan where there are none."""
        pieces = list(self._corpus.held_out.values())
        if not pieces:
            return float("nan"), float("nan")
        from midilstm.corpus import batches

        arguments = self._arguments
        return self._scorer(
            batches.scoring_batches(pieces, arguments.batch_size, arguments.seq_length)
        )

    def _end_epoch(self, row: log.Row) -> str:
        """Log the epoch and save what is due; return the line for people."""
        import model

        arguments = self._arguments
        self._log.add(row)
        self.done, self._at_epoch_end = row.epoch, model.snapshot(self.model)
        line = f"epoch {row.epoch}/{arguments.epochs}  loss {row.loss:.3f}"
        line += f"  accuracy {row.accuracy:.3f}"
        if self._corpus.held_out:
            line += f"  held-out loss {row.val_loss:.3f}  accuracy {row.val_accuracy:.3f}"
        line += f"  {row.seconds:.1f} s"
        if row == self._log.best():
            best = runs.path_of(arguments.model_dir, "best")
            model.save(self.model, best, runs.scores(row))
            line += "  best so far"
        if (
            row.epoch % arguments.freq == 0
            or row.epoch == arguments.epochs
            or self._is_patience_over()
        ):
            line += f"  saved {self._save()}"
        return line + memorising(self._log.rows)

    def _save(self) -> Path:
        import model

        path = runs.path_of(self._arguments.model_dir, self.done)
        model.save(self.model, path, runs.scores(self._log.rows[-1]))
        self._saved = self.done
        self._log.draw()
        return path

    def _save_interrupted(self) -> None:
        """Save the last whole epoch: half an epoch cannot be resumed bit for bit."""
        import model

        if self.done == self._saved:
            print(f"\nEpoch {self.done} is the last one saved.", file=sys.stderr)
            return
        model.restore(self.model, self._at_epoch_end)
        print(
            f"\nSaved {self._save()}: the same command goes on from there.",
            file=sys.stderr,
        )


def memorising(rows: Sequence[log.Row], window: int = 5) -> str:
    """Say so where the held-out loss has risen while the training loss fell, for `window` epochs.

    Both are means over `window` epochs, against the window before, and the best is behind both.
    """
    if len(rows) < 2 * window:
        return ""
    before, now = rows[-2 * window : -window], rows[-window:]
    best = min(row.val_loss for row in rows)
    is_rising = sum(row.val_loss for row in now) > sum(row.val_loss for row in before)
    is_learning = sum(row.loss for row in now) < sum(row.loss for row in before)
    if is_rising and is_learning and best < min(row.val_loss for row in now):
        return "  memorising: it predicts its own pieces better, and unheard ones worse"
    return ""


def train(arguments: argparse.Namespace) -> None:
    """Load the corpus, begin or resume the run in the model folder, and train."""
    if arguments.demo:
        arguments.data_dir = demo.make(arguments.jobs)
    corpus = preprocess.corpus_from(arguments, transpose=arguments.transpose)
    stream = sum(map(len, corpus.training.values()))
    reports.require_batch(stream, arguments.batch_size, arguments.seq_length)
    print(reports.summary(corpus))
    arguments.versions = versions()
    done = begin_or_resume(arguments, settings_of(arguments, corpus), corpus.vocabulary)
    if done >= arguments.epochs:
        print(
            f"Nothing left to do: {arguments.model_dir} holds epoch {done} of {arguments.epochs}. "
            f"Go on with --epochs={2 * done}, or begin again with --fresh."
        )
        return
    if done:
        print(f"Going on from {runs.path_of(arguments.model_dir, done)}")
    print("Starting TensorFlow ...", flush=True)
    run = Run(arguments, corpus, done)
    print(f"{run.model.count_params():,} parameters")
    run.train()
    length = "--chars=100" if arguments.encoding == "notes" else "--bars=16"
    print(f"Done. Now: python sample.py {length}{_flag(arguments)}")


def _flag(arguments: argparse.Namespace) -> str:
    """Return the flag that sample.py needs to find this model."""
    return "" if str(arguments.model_dir) == "model" else f" --model-dir={arguments.model_dir}"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a run, without importing them."""
    from importlib.metadata import version

    return {name: version(name) for name in ("keras", "tensorflow", "music21", "miditok")}


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that build_model takes."""
    network = parser.add_argument_group("network")
    network.add_argument(
        "--embedding-size", type=positive_int, default=512, help="numbers that stand for a token"
    )
    network.add_argument("--units", type=positive_int, default=256, help="units an LSTM layer")
    network.add_argument("--layers", type=positive_int, default=2, help="stacked LSTM layers")
    network.add_argument(
        "--dropout", type=share, default=0.3, help="share dropped after a layer (0 = off)"
    )
    network.add_argument(
        "--input-dropout", type=share, default=0.3, help="share dropped of the embedding (0 = off)"
    )


def add_learning_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how the network learns."""
    learning = parser.add_argument_group("learning")
    learning.add_argument(
        "--learning-rate",
        type=shared.number_from(1e-9, 10, "a learning rate above 0, up to 10"),
        default=3e-3,
        help="of Adam",
    )
    learning.add_argument(
        "--clip",
        type=shared.number_from(0, sys.float_info.max, "zero or a positive number"),
        default=0.0,
        help="largest norm of a variable's gradient (0 = off)",
    )
    on_or_off = argparse.BooleanOptionalAction
    learning.add_argument(
        "--transpose", action=on_or_off, default=True, help="every piece in a random key each epoch"
    )
    learning.add_argument(
        "--shuffle", action=on_or_off, default=True, help="pieces in a random order each epoch"
    )
    learning.add_argument(
        "--jit",
        action=on_or_off,
        default=False,
        help="compile the whole training step with XLA: measure it, see benchmarks/README.md",
    )
    learning.add_argument(
        "--patience",
        type=shared.count,
        default=0,
        help="stop after so many epochs without a better held-out loss (0 = off)",
    )


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a stacked LSTM on a folder of MIDI files. "
        "The same command again goes on from the last checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=positive_int, default=100, help="passes over the music")
    parser.add_argument("--freq", type=positive_int, default=10, help="epochs between checkpoints")
    parser.add_argument(
        "--demo", action="store_true", help="train on Bach chorales from music21, kept in demo/"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="move the run in the model folder aside, begin again"
    )
    parser.add_argument(
        "--classic",
        action="store_true",
        help="three layers, one key, no shuffling: up to 90 %% right on its own pieces, by heart",
    )
    parser.add_argument("--model-dir", type=Path, default=Path("model"), help="checkpoints")
    parser.add_argument("--log-dir", type=Path, default=Path("logs"), help="training.csv and .png")
    add_network_arguments(parser)
    add_learning_arguments(parser)
    shared.add_corpus_arguments(parser)
    if parser.parse_args(argv).classic:
        parser.set_defaults(**CLASSIC)
    arguments = parser.parse_args(argv)
    if arguments.demo and arguments.data_dir != parser.get_default("data_dir"):
        parser.error("--demo brings its own music: leave out --data-dir")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: train(arguments))


if __name__ == "__main__":
    sys.exit(main())
