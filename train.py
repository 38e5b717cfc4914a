"""Train a stacked LSTM on a folder of MIDI files; the same command goes on where it stopped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from midilstm import cli
from midilstm.config import DataConfig, ModelConfig, SamplingConfig, TrainConfig, WorkerConfig
from midilstm.fileio import InputError, warn
from midilstm.schema import add_arguments, from_flags, to_flags

if TYPE_CHECKING:
    import keras

    from midilstm.data.dataset import Dataset
    from midilstm.run_settings import RunSettings
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
    parser = cli.Parser(__doc__)
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
        from_flags(DataConfig, vars(arguments)),
        from_flags(ModelConfig, vars(arguments)),
        from_flags(TrainConfig, vars(arguments)),
        from_flags(WorkerConfig, vars(arguments)),
    )
    if config.train.demo and config.data.data_dir != DataConfig().data_dir:
        parser.error("--demo brings its own music: leave out --data-dir")
    cli.check_workers(parser, config.worker, config.train.batch_size)
    return config


def train(config: RunConfig) -> None:
    """Load the dataset and train on it; of several workers the first alone writes files."""
    cli.use_one_thread()  # in NumPy, which draws pieces; TensorFlow has threads of its own
    from midilstm.data import demo, report
    from midilstm.data.dataset import load_dataset
    from midilstm.data.files import name_of
    from midilstm.fileio import exclusive_lock
    from midilstm.model_dir import skipped_files
    from midilstm.run_settings import DatasetSummary, RunSettings

    data = config.data
    if config.train.demo:
        data = replace(data, data_dir=demo.write_demo(data.jobs, config.train.demo))
    # What a run left out when it began stays out, even if it could be read today.
    skip = () if config.train.fresh else skipped_files(config.train.model_dir)
    dataset = load_dataset(data, skip=skip)
    n_tokens = sum(map(len, dataset.training.values()))
    report.require_batch(n_tokens, config.train.batch_size, config.train.seq_length)
    print(report.summarize(dataset))
    summary = DatasetSummary(
        pieces=len(dataset.training) + len(dataset.held_out),
        held_out=tuple(sorted(dataset.held_out)),
        files=tuple(f"{x[:16]} {name}" for name, x in sorted(dataset.hashes.items())),
        skipped=tuple(name_of(path, data.data_dir) for path, _ in dataset.report.skipped),
        tokens=dataset.n_tokens,
        sha256=dataset.fingerprint(),
        vocabulary_size=len(dataset.vocabulary),
    )
    settings = RunSettings(model=config.model, data=data, train=config.train, dataset=summary)
    if config.worker.worker:
        train_network(settings, config.worker, dataset)
    else:
        with exclusive_lock(config.train.model_dir, config.train.log_dir):
            run(settings, config.worker, dataset)


def run(settings: RunSettings, worker: WorkerConfig, dataset: Dataset) -> None:
    """Begin the run in the model folder, or go on with it, and write what sampling needs."""
    from midilstm import model_dir as folder
    from midilstm.evaluation.ranking import write_reference
    from midilstm.generation.fit_model import fit_match_model
    from midilstm.generation.opening import collect_openings, write_openings
    from midilstm.training import log, ram

    config, model_dir = settings.train, settings.train.model_dir
    if not config.force:
        ram.check_ram(settings, worker.batch_rows(config.batch_size))
    if config.fresh:
        folder.archive_run(model_dir, folder.FILES)
    epoch, settings = folder.begin_or_resume(model_dir, settings)
    dataset.vocabulary.save(model_dir / folder.VOCABULARY)
    openings = collect_openings(dataset.training, dataset.vocabulary)
    if openings:
        write_openings(model_dir / folder.OPENINGS, openings)
    training_log = log.resume(config.log_dir, epoch, folder.metric_history(model_dir))
    if epoch < config.epochs:
        train_network(settings, worker, dataset, training_log, epoch)
    else:
        print(
            f"Nothing left to train: {model_dir} holds epoch {epoch} of {config.epochs}. "
            f"Go on with --epochs={2 * epoch}, or start again with --fresh."
        )
    if config.memory:
        training, held_out = list(dataset.training.values()), list(dataset.held_out.values())
        fit_match_model(model_dir, training, held_out, settings.data.seed)
        write_reference(model_dir, dataset)
    print_next_step(model_dir, keeps_rhythm=dataset.vocabulary.encoding.keeps_rhythm)


def print_next_step(model_dir: Path, *, keeps_rhythm: bool) -> None:
    """Print which epoch is the best, and the commands that sample from it and from the latest."""
    from midilstm.model_dir import checkpoint_path, metrics, numbered_checkpoints

    words = ["python", "sample.py", "--bars=16" if keeps_rhythm else "--chars=100"]
    words += [] if model_dir == TrainConfig().model_dir else [f"--model-dir={model_dir}"]
    best = metrics(checkpoint_path(model_dir, "best")).get("epoch")
    latest = max(numbered_checkpoints(model_dir))
    if best and best < latest:
        print(
            f"Epoch {best:g} predicts held-out pieces best, and sample.py takes it. "
            f"Epoch {latest} is the latest: {shlex.join([*words, '--checkpoint=latest'])}"
        )
    print(f"Done. Now: {shlex.join(words)}")


def train_network(
    settings: RunSettings,
    worker: WorkerConfig,
    dataset: Dataset,
    training_log: TrainingLog | None = None,
    epoch: int = 0,
) -> None:
    """Train the epochs after `epoch`; of several workers only the first has a log and an epoch."""
    from midilstm.model_dir import checkpoint_path, metrics
    from midilstm.training import rendezvous

    best = metrics(checkpoint_path(settings.train.model_dir, "best")) if training_log else {}
    done = epoch
    if worker.workers:
        done, best = rendezvous.wait_for_workers(worker, settings, epoch, best)
    print("Starting TensorFlow ...", flush=True)
    from midilstm.training import distributed, loop

    add = distributed.connect(worker) if worker.workers else None
    network = build_network(settings, worker, dataset, epoch)
    training = loop.TrainingLoop(settings, network, dataset, training_log, done, best)
    if settings.train.sample:
        training.on_checkpoint = lambda saved: draw_samples(settings, saved)
    if add:
        distributed.train_together(training, worker, add)
    else:
        training.train()


def draw_samples(settings: RunSettings, epoch: int) -> None:
    """Draw the pieces of --sample with the checkpoint of an epoch, the same seeds at each."""
    from tqdm import tqdm

    from midilstm import tokenizers
    from midilstm.generation.generate import generate
    from midilstm.generation.loaded_model import open_model

    has_bars = tokenizers.get(settings.data.encoding).keeps_meter
    config = SamplingConfig(
        bars=16 if has_bars else None,
        seed=settings.data.seed,
        count=settings.train.sample,
        checkpoint=str(epoch),
        model_dir=settings.train.model_dir,
    )
    command = shlex.join(["python", "sample.py", *to_flags(config)])
    with tqdm.external_write_mode():
        try:
            model = open_model(config.model_dir, config.checkpoint)
            generate(config, model, command, progress=lambda *_: None)
        except InputError as error:  # training goes on
            warn(str(error))


def build_network(
    settings: RunSettings, worker: WorkerConfig, dataset: Dataset, epoch: int
) -> keras.Model:
    """Build the network with the weights of `epoch`, of another model, or random ones."""
    import model
    from midilstm.model_dir import VOCABULARY, checkpoint_path
    from midilstm.tokenizers.vocabulary import Vocabulary
    from midilstm.training import weights

    config, vocabulary = settings.train, dataset.vocabulary
    rows = worker.batch_rows(config.batch_size)
    shape = {"batch_size": rows, "sequence_length": config.seq_length}
    weights.set_seed(settings.data.seed)
    network = model.build_model(settings.model, len(vocabulary), **shape)
    model.compile_for_training(network, config.learning_rate, ema=config.ema, jit=config.jit)
    print(f"{network.count_params():,} parameters")
    if epoch:
        print(f"Going on from {checkpoint_path(config.model_dir, epoch)}")
        weights.load(network, checkpoint_path(config.model_dir, epoch))
    elif config.start_from and settings.initial_checkpoint:
        other_vocabulary = Vocabulary.load(config.start_from / VOCABULARY)
        other = model.build_model(settings.model, len(other_vocabulary), **shape)
        path = Path(settings.initial_checkpoint.checkpoint)
        weights.load(other, path)
        count = weights.copy_shared_tokens(network, vocabulary, other, other_vocabulary)
        print(f"Took the weights of {path}: {count:,} of {len(vocabulary):,} tokens known")
    return network


def main(argv: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    config = parse_args(argv)
    return cli.run_cli(lambda: train(config), quiet=config.worker.worker > 0)


if __name__ == "__main__":
    cli.exit_with(main())
