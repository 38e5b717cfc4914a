"""How good a trained model is: held-out score beside n-grams, form, copying, similarity."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from midilstm import cli
from midilstm.config import DataConfig, EvaluationConfig
from midilstm.schema import add_arguments, from_arguments


def parse_args(argv: Sequence[str] | None = None) -> EvaluationConfig:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure how well a trained model predicts music it has never seen, how much "
        "of its pieces repeats earlier parts or is copied, and how similar they are to "
        "human-written pieces. The pieces are split as they were for training.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_arguments(parser, EvaluationConfig)
    return from_arguments(EvaluationConfig, parser.parse_args(argv))


def evaluate(arguments: EvaluationConfig) -> None:
    """Measure all that the folders allow, print it, and write it where --json says."""
    import numpy as np

    from midilstm import model_dir as runs
    from midilstm.evaluation import baseline, passages, report
    from midilstm.evaluation import piece_sets as pieces
    from midilstm.evaluation.examine import compare_to_reference
    from midilstm.fileio import printable, write_atomically
    from midilstm.generation.loaded_model import open_model
    from midilstm.repetition.match_model import MatchModel, bars_per_token

    trained = open_model(arguments.model_dir, arguments.checkpoint)
    vocabulary, weights = trained.vocabulary, trained.match_weights
    config = DataConfig(
        data_dir=arguments.data_dir,
        jobs=arguments.jobs,
        max_file_seconds=arguments.max_file_seconds,
        scheduler=arguments.scheduler,
        cache=arguments.cache,
        min_notes=arguments.min_notes,
        encoding=vocabulary.encoding_name,
        pedal=trained.pedal,
    )
    own = None if arguments.other_corpus else runs.load_settings(arguments.model_dir)
    corpus, notes = pieces.load_music(config, own, vocabulary)
    print(printable(f"Evaluating {trained.checkpoint_path}"), flush=True)
    rng, other, third = (np.random.default_rng([arguments.seed, n]) for n in range(3))
    result = {
        "checkpoint": str(trained.checkpoint_path),
        "encoding": vocabulary.encoding_name,
        "corpus": {"folder": str(arguments.data_dir), "sha256": corpus.fingerprint()},
        "other_corpus": arguments.other_corpus,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "top_p": arguments.top_p,
        "memory": weights and weights.to_json(),
        **baseline.score(trained.network, corpus, vocabulary, rng, weights),
        "warnings": notes,
    }
    if arguments.generated or arguments.samples:
        strength = None
        if arguments.generated:
            made, vocabulary = pieces.read_folder(arguments.generated, config, vocabulary)
            passages.write_copies(arguments.generated, made, corpus, vocabulary)
        else:
            strength = arguments.memory if weights else 0.0
            past = (
                MatchModel.begin(bars_per_token(vocabulary), weights, strength) if weights else None
            )
            seeds = range(arguments.seed, arguments.seed + arguments.samples)
            length = arguments.length or pieces.typical_length(corpus)
            knobs = {"temperature": arguments.temperature, "top_p": arguments.top_p}
            made = pieces.sampled(trained.network, vocabulary, seeds, length, past, **knobs)
        length = arguments.length or int(np.median([len(ids) for ids in made.values()]))
        result["generated"] = {"pieces": len(made), "length": length, "memory": strength}
        result |= compare_to_reference(made, length, corpus, vocabulary, other, third)
    result["summary"] = report.verdict(result)
    report.show(result)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, text + "\n")
        print(printable(f"Wrote {arguments.json}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the evaluation; return the exit status."""
    arguments = parse_args(argv)
    return cli.run_cli(lambda: evaluate(arguments))


if __name__ == "__main__":
    sys.exit(main())
