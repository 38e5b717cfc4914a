"""Train a stacked LSTM on a folder of MIDI files; the same command goes on where it stopped."""

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from midilstm import cli as shared
from midilstm.generation import use_one_thread


def train(arguments: argparse.Namespace) -> None:
    """Load the corpus, begin or resume the run in the model folder, and train."""
    use_one_thread()  # in NumPy, which draws pieces: TensorFlow has threads of its own
    from midilstm.data import demo, report
    from midilstm.data.dataset import load_dataset
    from midilstm.fileio import exclusive_lock

    if arguments.demo:
        arguments.data_dir = demo.make(arguments.jobs, arguments.demo)
    music = shared.data_keywords(arguments)
    corpus = load_dataset(arguments.data_dir, transpose=arguments.transpose, **music)
    length = sum(map(len, corpus.training.values()))
    report.require_batch(length, arguments.batch_size, arguments.seq_length)
    print(report.summary(corpus))
    if arguments.worker:  # not the first of several, which alone writes
        from midilstm.training import distributed as workers

        workers.follow(vars(arguments), corpus, partial(build, arguments))
    else:
        with exclusive_lock(arguments.model_dir, arguments.log_dir):
            continue_run(arguments, corpus)


def continue_run(arguments: argparse.Namespace, corpus: Any) -> None:
    """Begin the run in the model folder, or go on with it."""
    from midilstm import model_dir as runs
    from midilstm.evaluation import ranking
    from midilstm.generation.fit_model import fit_match_model
    from midilstm.training import log
    from midilstm.training import ram as memory

    model_dir, log_dir, flags = arguments.model_dir, arguments.log_dir, vars(arguments)
    settings = runs.build_settings(flags, len(corpus.vocabulary), corpus.metadata())
    if not arguments.force:
        shape = (arguments.lanes, arguments.seq_length)
        memory.check_ram(settings["network"], *shape, ema=arguments.ema)
    if arguments.fresh:
        runs.archive_run(model_dir, runs.FILES)
    done = runs.begin_or_resume(model_dir, settings)
    corpus.vocabulary.save(model_dir / runs.VOCABULARY)
    if arguments.workers:
        from midilstm.training import rendezvous as meeting

        best = runs.scores(runs.path_of(model_dir, "best"))
        meeting.meet(flags, settings, {"done": done, "best": best})
    training, held_out = list(corpus.training.values()), list(corpus.held_out.values())

    def fit() -> None:
        if arguments.memory:
            fit_match_model(model_dir, training, held_out, arguments.seed)
            ranking.write_reference(model_dir, [*held_out, *training])

    kept = log.resume(log_dir, done, runs.metric_history(model_dir))
    if done >= arguments.epochs:
        more = f"Go on with --epochs={2 * done}, or begin again with --fresh."
        print(f"Nothing left to do: {model_dir} holds epoch {done} of {arguments.epochs}. {more}")
        fit()
        return

    print("Starting TensorFlow ...", flush=True)
    begin = loop_of(arguments)
    network = build(arguments, settings, corpus.vocabulary, done)
    begin(flags, log=kept, network=network, corpus=corpus, done=done).train()
    fit()
    length_flag = "--bars=16" if corpus.vocabulary.encoding.keeps_rhythm else "--chars=100"
    flag = "" if model_dir == Path("model") else f" --model-dir={model_dir}"
    print(f"Done. Now: python sample.py {length_flag}{flag}")


def loop_of(arguments: argparse.Namespace) -> Any:
    """Return what makes the loop over epochs, of this machine alone or with others."""
    import model  # noqa: F401 - the first to ask for TensorFlow: it knows how to keep it quiet
    from midilstm.training import loop

    if not arguments.workers:
        return loop.Loop.of
    from midilstm.training import distributed as workers

    return partial(workers.Loop.of, team=workers.join(vars(arguments)))


def build(arguments: argparse.Namespace, settings: Any, vocabulary: Any, done: int) -> Any:
    """Build the network with the weights of epoch `done`, of another model, or random ones."""
    import model
    from midilstm import model_dir as runs
    from midilstm.training import weights

    weights.set_seed(arguments.seed)
    shape = {"batch_size": arguments.lanes, "sequence_length": arguments.seq_length}
    network = model.build_model(**settings["network"], **shape)
    learning = {"ema": arguments.ema, "jit": arguments.jit}
    model.compile_for_training(network, arguments.learning_rate, **learning)
    print(f"{network.count_params():,} parameters")
    if done:
        print(f"Going on from {runs.path_of(arguments.model_dir, done)}")
        weights.load(network, runs.path_of(arguments.model_dir, done))
    elif "start" in settings:
        begin = partial(model.build_model, **shape)
        print(weights.start_from(network, vocabulary, settings, begin))
    return network


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=show_defaults)
    shared.add_run_arguments(parser)
    shared.add_learning_arguments(parser)
    shared.add_data_arguments(parser)
    shared.add_worker_arguments(parser)
    if parser.parse_args(argv).classic:
        # The recipe of this family of programs: it learns its own pieces by heart.
        parser.set_defaults(layers=3, dropout=0.2, input_dropout=0.0, learning_rate=1e-3)
        parser.set_defaults(transpose=False, shuffle=False, ema=0.0)
    arguments = parser.parse_args(argv)
    if arguments.demo and arguments.data_dir != parser.get_default("data_dir"):
        parser.error("--demo brings its own music: leave out --data-dir")
    arguments.lanes = shared.lanes_of_a_worker(parser, arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: train(arguments), silent=arguments.worker > 0)


if __name__ == "__main__":
    sys.exit(main())
