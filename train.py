"""Train a stacked LSTM on a folder of MIDI files; the same command goes on where it stopped."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from midilstm import cli
from midilstm.config import DataConfig, ModelConfig, TrainConfig, WorkerConfig
from midilstm.schema import add_arguments, from_arguments

if TYPE_CHECKING:
    import keras

    from midilstm.data.dataset import Dataset
    from midilstm.model_dir import RunSettings
    from midilstm.training.log import TrainingLog


@dataclass(frozen=True)
class RunConfig:
    """All settings of a training run."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    worker: WorkerConfig


def parse_args(argv: Sequence[str] | None = None) -> RunConfig:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_arguments(parser, TrainConfig, ModelConfig, DataConfig, WorkerConfig)
    cli.add_worker_arguments(parser)
    parser.add_argument(
        "--classic",
        action="store_true",
        help="other defaults, which overfit: three layers, one key, one order, no averaged weights",
    )
    if parser.parse_args(argv).classic:
        parser.set_defaults(layers=3, dropout=0.2, input_dropout=0.0, learning_rate=1e-3)
        parser.set_defaults(transpose=False, shuffle=False, ema=0.0)
    arguments = parser.parse_args(argv)
    config = RunConfig(
        from_arguments(DataConfig, arguments),
        from_arguments(ModelConfig, arguments),
        from_arguments(TrainConfig, arguments),
        from_arguments(WorkerConfig, arguments),
    )
    if config.train.demo and config.data.data_dir != DataConfig().data_dir:
        parser.error("--demo brings its own music: leave out --data-dir")
    cli.check_workers(parser, config.worker, config.train.batch_size)
    return config


def train(config: RunConfig) -> None:
    """Load the dataset, begin or resume the run in the model folder, and train."""
    cli.use_one_thread()  # in NumPy, which draws pieces; TensorFlow has threads of its own
    from midilstm.data import demo, report
    from midilstm.data.dataset import load_dataset
    from midilstm.fileio import exclusive_lock

    if config.train.demo:
        demo_dir = demo.write_demo(config.data.jobs, config.train.demo)
        config = replace(config, data=replace(config.data, data_dir=demo_dir))
    dataset = load_dataset(config.data)
    n_tokens = sum(map(len, dataset.training.values()))
    report.require_batch(n_tokens, config.train.batch_size, config.train.seq_length)
    print(report.summarize(dataset))
    if config.worker.worker:  # only the first of several workers writes files
        from midilstm.training import distributed

        settings = settings_of_run(config, dataset)
        distributed.run_worker(
            settings, config.worker, dataset, lambda: build_network(config, settings, dataset, 0)
        )
    else:
        with exclusive_lock(config.train.model_dir, config.train.log_dir):
            run(config, dataset)


def run(config: RunConfig, dataset: Dataset) -> None:
    """Begin the run in the model folder, or go on with it, and write what sampling needs."""
    from midilstm import model_dir as folder
    from midilstm.evaluation.ranking import write_reference
    from midilstm.generation.fit_model import fit_match_model
    from midilstm.training import log, ram

    settings, model_dir = settings_of_run(config, dataset), config.train.model_dir
    if not config.train.force:
        ram.check_ram(settings, config.worker.batch_rows(config.train.batch_size))
    if config.train.fresh:
        folder.archive_run(model_dir, folder.FILES)
    epoch, settings = folder.begin_or_resume(model_dir, settings)
    dataset.vocabulary.save(model_dir / folder.VOCABULARY)
    training_log = log.resume(config.train.log_dir, epoch, folder.metric_history(model_dir))
    if epoch < config.train.epochs:
        train_epochs(config, settings, dataset, training_log, epoch)
    else:
        print(
            f"Nothing left to train: {model_dir} holds epoch {epoch} of {config.train.epochs}. "
            f"Go on with --epochs={2 * epoch}, or start again with --fresh."
        )
    if config.train.memory:
        training, held_out = list(dataset.training.values()), list(dataset.held_out.values())
        fit_match_model(model_dir, training, held_out, config.data.seed)
        write_reference(model_dir, [*held_out, *training])
    length = "--bars=16" if dataset.vocabulary.encoding.keeps_rhythm else "--chars=100"
    words = ["python", "sample.py", length]
    words += [] if model_dir == TrainConfig().model_dir else [f"--model-dir={model_dir}"]
    print(f"Done. Now: {shlex.join(words)}")


def train_epochs(
    config: RunConfig,
    settings: RunSettings,
    dataset: Dataset,
    training_log: TrainingLog,
    epoch: int,
) -> None:
    """Train the epochs after `epoch`, alone or together with other workers."""
    from midilstm import model_dir as folder

    if config.worker.workers:
        from midilstm.training import rendezvous

        best = folder.metrics(folder.checkpoint_path(config.train.model_dir, "best"))
        rendezvous.wait_for_workers(config.worker, settings, {"epoch": epoch, "best": best})
    print("Starting TensorFlow ...", flush=True)
    import model  # noqa: F401 - imports TensorFlow without its messages, so it must come first
    from midilstm.training import loop

    if config.worker.workers:
        from midilstm.training import distributed

        group = distributed.connect(config.worker)
        network = build_network(config, settings, dataset, epoch)
        distributed.DistributedLoop(
            settings, network, dataset, training_log, epoch, group=group
        ).train()
    else:
        network = build_network(config, settings, dataset, epoch)
        loop.TrainingLoop(settings, network, dataset, training_log, epoch).train()


def settings_of_run(config: RunConfig, dataset: Dataset) -> RunSettings:
    """Return the settings of a run on this dataset."""
    from midilstm.model_dir import DatasetSummary, RunSettings

    summary = DatasetSummary(
        pieces=len(dataset.training) + len(dataset.held_out),
        held_out=tuple(sorted(dataset.held_out)),
        tokens=dataset.n_tokens,
        sha256=dataset.fingerprint(),
        vocabulary_size=len(dataset.vocabulary),
    )
    return RunSettings(model=config.model, data=config.data, train=config.train, dataset=summary)


def build_network(
    config: RunConfig, settings: RunSettings, dataset: Dataset, epoch: int
) -> keras.Model:
    """Build the network with the weights of `epoch`, of another model, or random ones."""
    import model
    from midilstm.model_dir import checkpoint_path
    from midilstm.training import weights

    weights.set_seed(config.data.seed)
    rows = config.worker.batch_rows(config.train.batch_size)
    shape = {"batch_size": rows, "sequence_length": config.train.seq_length}
    network = model.build_model(config.model, len(dataset.vocabulary), **shape)
    train = config.train
    model.compile_for_training(network, train.learning_rate, ema=train.ema, jit=train.jit)
    print(f"{network.count_params():,} parameters")
    if epoch:
        path = checkpoint_path(train.model_dir, epoch)
        print(f"Going on from {path}")
        weights.load(network, path)
    elif settings.initial_checkpoint:
        print(
            weights.transfer_weights(
                network, dataset.vocabulary, settings, model.build_model, **shape
            )
        )
    return network


def main(argv: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    config = parse_args(argv)
    return cli.run_cli(lambda: train(config), quiet=config.worker.worker > 0)


if __name__ == "__main__":
    sys.exit(main())
