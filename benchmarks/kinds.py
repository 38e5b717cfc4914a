"""Split a model's held-out loss, in nats per note, by the kind of token.

    python benchmarks/kinds.py --model-dir model --data-dir data

In `tsd` and `remi` a note is several tokens; the sum over their kinds is the model's NLL per note.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# The project is run from its folder, which is the parent of this one.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import evaluate


def kind_of(token: str) -> str:
    """Return the kinds of a token's parts, such as Velocity+Duration."""
    kinds = [part.partition("_")[0] for part in token.split(" ")]
    return "+".join(kinds) if "_" in token else token if token.startswith("<") else "note or chord"


def main(argv: Sequence[str] | None = None) -> int:
    """Print nats per note by kind of token, and their sum."""
    from midilstm import model_dir
    from midilstm.evaluation import likelihood, piece_sets
    from midilstm.generation.loaded_model import open_model

    config = evaluate.parse_args(argv)
    model = open_model(config.model_dir, config.checkpoint)
    settings = model_dir.load_settings(config.model_dir)
    dataset, _ = piece_sets.load_music(
        replace(settings.data, data_dir=config.data_dir, jobs=config.jobs),
        settings,
        model.vocabulary,
    )
    kinds = [kind_of(token) for token in model.vocabulary.tokens]
    nats, tokens = defaultdict[str, float](float), Counter[str]()
    pieces = list(dataset.held_out.values())
    (predictions,) = likelihood.score_network(model.network, pieces)
    for ids, (losses, _) in zip(pieces, predictions, strict=True):
        for token_id, loss in zip(ids, losses, strict=True):
            nats[kinds[token_id]] += float(loss)
            tokens[kinds[token_id]] += 1
    notes = sum(dataset.pieces[name].notes for name in dataset.held_out)
    print(f"{model.checkpoint_path}: {len(pieces)} held-out pieces, {notes:,} notes")
    for kind, total in sorted(nats.items(), key=lambda item: -item[1]):
        print(f"{kind:32}{tokens[kind]:>9,} tokens{total / notes:>9.3f} nats per note")
    print(f"{'all':32}{tokens.total():>9,} tokens{sum(nats.values()) / notes:>9.3f} nats per note")
    return 0


if __name__ == "__main__":
    sys.exit(main())
