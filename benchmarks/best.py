"""Compare the pieces that `sample.py --best` keeps with as many drawn without it.

    taskset -c 1 python benchmarks/best.py --model rags=MODEL,DATA

Of 80 pieces of each model, drawn with its match model, the first 20 and the best 20 are compared
with the pieces of the dataset, in a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.defaults import HEADS, compare, draw, format_cells, open_with_dataset
from benchmarks.results import markdown_head, markdown_row, split_pair
from midilstm.evaluation import copying, piece_sets, ranking


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add("--length", type=int, default=0, help="tokens per piece (0 = the median of the dataset)")
    add("--count", type=int, default=80, help="pieces to draw (80)")
    add("--best", type=int, default=20, help="pieces to keep (20)")
    return parser.parse_args(argv)


def compare_best(
    name: str, folders: Sequence[str], length: int, count: int, best: int
) -> list[str]:
    """Return a model's table rows: the dataset's, those of the first pieces, and of the best."""
    model, dataset = open_with_dataset(folders)
    length = length or piece_sets.typical_length(dataset)
    pieces = draw(model, {}, count, length)
    by_seed = dict(enumerate(pieces.values()))
    copied = copying.copied_lengths(dataset, model.vocabulary, list(pieces.values()))
    ranges = ranking.reference_for(model, dataset)
    rankings = ranking.rank_pieces(by_seed, model, ranges, copied)
    n_inside = sum(not ranked.reasons for ranked in rankings.values())
    print(f"{name}: {n_inside} of {count} within the reference ranges")
    names, index = list(pieces), copying.TrainingIndex(dataset.training, model.vocabulary)
    lines: list[str] = []
    for label, seeds in (("first", [*by_seed][:best]), ("best", [*rankings][:best])):
        chosen = {names[seed]: by_seed[seed] for seed in seeds}
        row = compare(model, dataset, chosen, length)
        copies = copying.measure_copies(index, chosen)
        if not lines:
            lines.append(markdown_row([f"{name}: dataset", *format_cells(row, "training"), "–"]))
        copied_runs = copies.grams["8"]["transposed"].format(".4f")
        cells = [f"{name}: {label} {best}", *format_cells(row, "generated"), copied_runs]
        lines.append(markdown_row(cells))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    args = parse_args(argv)
    lines = markdown_head(["", *HEADS, "copied runs of 8"])
    for name, folders in map(split_pair, args.model):
        lines += compare_best(name, folders, args.length, args.count, args.best)
    print(*lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
