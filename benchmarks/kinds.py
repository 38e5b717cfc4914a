"""Say which kinds of token a model's held-out nats go to, a note.

    python benchmarks/kinds.py --model-dir model --data-dir data

In `tsd` and `remi` a note is several tokens; the sum of their kinds is the model's nats a note.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import evaluate


def kinds_of(token: str) -> str:
    """Return the kinds of a token's parts, such as Velocity+Duration; `note` in `notes`."""
    kinds = [part.partition("_")[0] for part in token.split(" ")]
    return "+".join(kinds) if "_" in token else token if token.startswith("<") else "note or chord"


def main(argv: Sequence[str] | None = None) -> int:
    """Print nats a note by kind of token, and their sum."""
    from midilstm import model_dir as runs
    from midilstm.evaluation import likelihood
    from midilstm.evaluation import piece_sets as pieces
    from midilstm.generation import network
    from midilstm.tokenizers.vocabulary import Vocabulary

    arguments = evaluate.parse_args(argv)
    checkpoint = runs.select_checkpoint(arguments.model_dir, arguments.checkpoint)
    settings = runs.load_settings(arguments.model_dir)
    vocabulary = Vocabulary.load_for(
        arguments.model_dir / runs.VOCABULARY, settings["network"].get("vocabulary_size", 0)
    )
    how = {"name": vocabulary.encoding_name, "bpe": vocabulary.merges, "jobs": arguments.jobs}
    corpus, _ = pieces.load_music(arguments.data_dir, settings, vocabulary, **how)
    held_out, loaded = corpus.held_out, network.load(checkpoint, settings["network"])
    kinds = [kinds_of(token) for token in vocabulary.tokens]
    nats, tokens = defaultdict[str, float](float), Counter[str]()
    music = list(held_out.values())
    for number, scored in likelihood.by_network(loaded, music):
        for token, cost in zip(music[number], scored[0, 0], strict=True):
            nats[kinds[token]] += float(cost)
            tokens[kinds[token]] += 1
    notes = sum(corpus.sizes[name].notes for name in held_out)
    print(f"{checkpoint}: {len(held_out)} held-out pieces, {notes:,} notes")
    for kind, total in sorted(nats.items(), key=lambda item: -item[1]):
        print(f"{kind:32}{tokens[kind]:>9,} tokens{total / notes:>9.3f} nats a note")
    print(f"{'all':32}{tokens.total():>9,} tokens{sum(nats.values()) / notes:>9.3f} nats a note")
    return 0


if __name__ == "__main__":
    sys.exit(main())
