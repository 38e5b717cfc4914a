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
    from midilstm.corpus import batches

    arguments = evaluate.parse_args(argv)
    run = evaluate.find_run(arguments)
    corpus = evaluate.load_corpus(arguments, run)
    music = evaluate.music_of(corpus, corpus.held_out)
    judge = evaluate.Judge(run)
    kinds = [kinds_of(token) for token in run.vocabulary.tokens]
    nats, tokens = defaultdict[str, float](float), Counter[str]()
    for number, scored in batches.score_pieces(music.ids, *evaluate.BATCH, judge.each):
        for token, cost in zip(music.ids[number], scored[0], strict=True):
            nats[kinds[token]] += float(cost)
            tokens[kinds[token]] += 1
    notes = int(music.notes.sum())
    print(f"{run.checkpoint}: {len(music.names)} held-out pieces, {notes:,} notes")
    for kind, total in sorted(nats.items(), key=lambda item: -item[1]):
        print(f"{kind:32}{tokens[kind]:>9,} tokens{total / notes:>9.3f} nats a note")
    print(f"{'all':32}{tokens.total():>9,} tokens{sum(nats.values()) / notes:>9.3f} nats a note")
    return 0


if __name__ == "__main__":
    sys.exit(main())
