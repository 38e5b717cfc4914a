"""How good a trained model is: held-out score beside n-grams, copying, statistics, similarity."""

from __future__ import annotations

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from midilstm import arguments as shared


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Say how well a trained model predicts music it has never seen, how much of "
        "what it writes is copied, and how far its music lies from people's. "
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
    add("--samples", type=shared.count, default=20, help="pieces to sample (0 = none)")
    instead = "examine the MIDI files of this folder instead (none = sample)"
    add("--generated", type=Path, metavar="FOLDER", help=instead)
    add("--length", type=shared.count, default=0, help="tokens of each (0 = as is typical)")
    add("--temperature", type=shared.temperature, default=1.0, help="of the pieces to sample")
    add("--top-p", type=shared.mass, default=1.0, help="of the pieces to sample (1.0 = off)")
    shared.add_reading_arguments(parser)
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure all that the folders allow, print it, and write it where --json says."""
    import numpy as np

    from midilstm import runs
    from midilstm.evaluation import copying, likelihood, pieces, report, similarity
    from midilstm.files import write_atomically
    from midilstm.sampling import network
    from midilstm.tokens.vocabulary import Vocabulary

    checkpoint = runs.choose(arguments.model_dir, arguments.checkpoint)
    settings = runs.load_settings(arguments.model_dir)
    vocabulary = Vocabulary.of_network(arguments.model_dir / runs.VOCABULARY, settings["network"])
    asked = vars(arguments)
    reading = {key: asked[key] for key in ("jobs", "max_file_seconds", "min_notes", "scheduler")}
    reading |= {"name": vocabulary.name, "bpe": vocabulary.merges}
    reading["pedal"] = settings["training"]["pedal"]
    knobs = {key: asked[key] for key in ("temperature", "top_p")}
    own = None if arguments.other_corpus else settings
    corpus, notes = pieces.load_music(arguments.data_dir, own, vocabulary, **reading)
    print(f"Evaluating {checkpoint}", flush=True)
    trained = network.load(checkpoint, settings["network"])
    rng, other = (np.random.default_rng([arguments.seed % 2**63, part]) for part in range(2))
    result = {
        "checkpoint": str(checkpoint),
        "encoding": vocabulary.name,
        "corpus": {"folder": str(arguments.data_dir), "sha256": corpus.digest()},
        **{"other_corpus": arguments.other_corpus, "seed": arguments.seed, **knobs},
        **likelihood.score(trained, corpus, vocabulary, rng),
        "notes": notes,
    }
    if arguments.generated or arguments.samples:
        if arguments.generated:
            made, vocabulary = pieces.read_folder(arguments.generated, vocabulary, **reading)
        else:
            seeds = range(arguments.seed, arguments.seed + arguments.samples)
            length = arguments.length or pieces.typical_length(corpus)
            made = pieces.sampled(trained, vocabulary, seeds, length, **knobs)
        length = arguments.length or int(np.median([len(ids) for ids in made.values()]))
        result["generated"] = {"pieces": len(made), "length": length}
        sets = pieces.beginnings(made, corpus, length)
        result |= similarity.compare(sets, vocabulary, other)
        if corpus.training:
            result["copying"] = copying.find_copies(corpus.training, sets, vocabulary, other)
    result["verdict"] = report.verdict(result)
    report.show(result)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, text + "\n")
        print(f"Wrote {arguments.json}")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the evaluation; return the exit status."""
    arguments = parse_args(argv)
    return shared.run(lambda: evaluate(arguments))


if __name__ == "__main__":
    sys.exit(main())
