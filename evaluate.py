"""How good a trained model is: held-out score beside n-grams, form, copying, similarity."""

from __future__ import annotations

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from midilstm import cli as shared


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Say how well a trained model predicts music it has never seen, how much of "
        "what it writes comes back and is copied, and how far its music lies from people's. "
        "The pieces are split as they were for training.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model-dir", type=Path, default=Path("model"), help="checkpoints")
    add("--checkpoint", help="latest, best, or an epoch's number (none = best where there is one)")
    add("--json", type=Path, metavar="FILE", help="write all numbers here, too")
    add("--seed", type=shared.seed, default=0, help="fixes sampling and intervals")
    held_out = "the folder holds other music than was trained on: take every piece as held out"
    add("--other-corpus", action="store_true", help=held_out)
    add = parser.add_argument_group("pieces to examine").add_argument
    add("--samples", type=shared.pieces, default=20, help="pieces to sample (0 = none)")
    instead = "examine the MIDI files of this folder instead (none = sample)"
    add("--generated", type=Path, metavar="FOLDER", help=instead)
    add("--length", type=shared.length, default=0, help="tokens of each (0 = as is typical)")
    add("--temperature", type=shared.temperature, default=1.0, help="of the pieces to sample")
    add("--top-p", type=shared.mass, default=1.0, help="of the pieces to sample (1.0 = off)")
    strength = "how strongly a piece's past pulls on what is sampled (0 = off, 1 = as fitted)"
    add("--memory", type=shared.bounded_number(0, 2, "from 0 to 2"), default=1.0, help=strength)
    shared.add_reading_arguments(parser)
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace) -> None:
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
    asked, vocabulary, weights = vars(arguments), trained.vocabulary, trained.match_weights
    reading = {key: asked[key] for key in ("jobs", "max_file_seconds", "min_notes", "scheduler")}
    reading |= {"name": vocabulary.encoding_name, "bpe": vocabulary.merges, "pedal": trained.pedal}
    own = None if arguments.other_corpus else runs.load_settings(arguments.model_dir)
    corpus, notes = pieces.load_music(arguments.data_dir, own, vocabulary, **reading)
    print(printable(f"Evaluating {trained.checkpoint_path}"), flush=True)
    rng, other, third = (np.random.default_rng([arguments.seed, n]) for n in range(3))
    result = {
        "checkpoint": str(trained.checkpoint_path),
        "encoding": vocabulary.encoding_name,
        "corpus": {"folder": str(arguments.data_dir), "sha256": corpus.digest()},
        **{key: asked[key] for key in ("other_corpus", "seed", "temperature", "top_p")},
        "memory": weights and weights.to_json(),
        **baseline.score(trained.network, corpus, vocabulary, rng, weights),
        "notes": notes,
    }
    if arguments.generated or arguments.samples:
        strength = None
        if arguments.generated:
            made, vocabulary = pieces.read_folder(arguments.generated, vocabulary, **reading)
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
    result["verdict"] = report.verdict(result)
    report.show(result)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, text + "\n")
        print(printable(f"Wrote {arguments.json}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the evaluation; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: evaluate(arguments))


if __name__ == "__main__":
    sys.exit(main())
