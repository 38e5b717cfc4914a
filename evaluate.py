"""Evaluate a trained model: prediction, repetition, copying and similarity to human music."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from midilstm import cli
from midilstm.config import EvaluationConfig
from midilstm.fileio import printable, write_atomically
from midilstm.schema import add_arguments, from_flags


def parse_args(argv: Sequence[str] | None = None) -> EvaluationConfig:
    """Read the command line."""
    parser = cli.Parser(
        "Measure how well a trained model predicts music it has never seen, how much "
        "of its pieces repeats earlier parts or is copied, and how similar they are to "
        "human-written pieces. The pieces are split as they were for training."
    )
    add_arguments(parser, EvaluationConfig)
    return from_flags(EvaluationConfig, vars(parser.parse_args(argv)))


def evaluate(config: EvaluationConfig) -> None:
    """Evaluate the model, print the result, and write it to the file of --json."""
    from midilstm.evaluation.report import show
    from midilstm.evaluation.result import evaluate_model

    result = evaluate_model(config)
    show(result)
    if config.json:
        text = json.dumps(asdict(result), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(config.json, text + "\n")
        print(printable(f"Wrote {config.json}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the evaluation; return the exit status."""
    config = parse_args(argv)
    return cli.run_cli(lambda: evaluate(config))


if __name__ == "__main__":
    cli.exit_with(main())
