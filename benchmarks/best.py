"""Set pieces that `sample.py --best` keeps beside as many drawn without it.

    taskset -c 1 python benchmarks/best.py --model rags=MODEL,DATA

Of 80 pieces of each model, with its memory, the first 20 and the best 20 (each the best of four
times as many) are held against people's pieces. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks.defaults import SHOWN, beside, drawn, open_checkpoint
from midilstm.evaluation import copying
from midilstm.evaluation import piece_sets as pieces
from midilstm.evaluation.passages import long_copies
from midilstm.evaluation.ranking import reference_for, verdicts
from midilstm.repetition.match_model import MatchModel, bars_per_token


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add("--length", type=int, default=0, help="tokens of each (0 = as is typical)")
    add("--count", type=int, default=80, help="pieces to draw (80)")
    add("--best", type=int, default=20, help="pieces to keep (20)")
    return parser.parse_args(argv)


def rows_of(name: str, folders: str, length: int, count: int, best: int) -> list[str]:
    """Return a model's rows of the table: people's pieces, the first, and the best."""
    trained, corpus = open_checkpoint(*folders.split(","))
    length = length or pieces.typical_length(corpus)
    made = dict(drawn(trained, {}, count, length))
    past = (
        MatchModel.begin(bars_per_token(trained.vocabulary), trained.match_weights)
        if trained.match_weights
        else None
    )
    music, people = [*made.values()], reference_for(trained)
    long = long_copies(made, corpus, trained.vocabulary)
    known = [long[seed].tokens if seed in long else 0 for seed in made]
    judged = verdicts(music, trained.network, trained.vocabulary, past, people, known)
    order = sorted(zip(made, judged, strict=True), key=lambda pair: pair[1].score)
    inside = sum(not verdict.against for verdict in judged)
    print(f"{name}: {inside} of {count} within people's ranges")
    lines: list[str] = []
    for what, names in (("first", [*made][:best]), ("best", [seed for seed, _ in order[:best]])):
        subsample = {seed: made[seed] for seed in names}
        found = beside(trained, corpus, subsample, length)
        rng = np.random.default_rng(0)
        copied = copying.copy_report(
            corpus.training, {"generated": subsample}, trained.vocabulary, rng
        )["generated"]
        groups = [("people", "training")] if not lines else []
        for label, group in (*groups, (f"{what} {best}", "generated")):
            mine, of = group == "generated", found["form"][group]
            low, high = found["mgeval"]["interval"]
            cells = [f"{found['mgeval']['value']:.3f} ({low:.3f} to {high:.3f})" if mine else "–"]
            cells += [f"{np.mean(list(found['far'].values())):.2f}" if mine else "–"]
            cells += [f"{found['statistics'][key][group]['value']:.3g}" for key in SHOWN]
            cells += [f"{of['spans'][span]['share']['value']:.3f}" for span in ("8", "16")]
            cells += [f"{of['longest_loop']['most']}"]
            cells += [f"{copied['grams']['8']['transposed']['value']:.4f}" if mine else "–"]
            lines.append(f"| {name}: {label} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    args = parse_args(argv)
    heads = ["MGEval", "off by (sd)", "range", "entropy", "scale", "8-token returns", "16"]
    heads += ["longest loop", "copied runs of 8"]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name, folders in (text.split("=", 1) for text in args.model):
        lines += rows_of(name, folders, args.length, args.count, args.best)
    print(*lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
