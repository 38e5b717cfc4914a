"""Compare training recipes by their loss, in nats per token, on held-out pieces.

    python benchmarks/quality.py --out quality.jsonl --corpus rags=FOLDER --corpus jazz=FOLDER

Each recipe of recipes.py is trained on each corpus with each seed, which also chooses the split,
for the same number of steps. The lowest held-out loss of any epoch counts; it is compared with that
of the best n-gram, which also counts the training pieces in all twelve keys. Runs that the file
already has are skipped. `--table` prints a table of the file's runs with `--steps` steps, and
`--picture FILE` draws their curves.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import recipes
from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm.config import DataConfig
from midilstm.data.dataset import Dataset

NGRAM = "best n-gram"
DRAWN = ("classic, as it was", "classic, embeddings spread", "no transposition", "recipe")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line per run")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=FOLDER[,FOLDER]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600, help="training steps per run (600)")
    parser.add_argument("--only", nargs="+", default=list(recipes.RECIPES), help="recipes (all)")
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--picture", type=Path, help="draw the curves of --out")
    return parser.parse_args(argv)


def best_ngram(dataset: Dataset) -> dict[str, Any]:
    """Return the held-out nats per token of the best n-gram, and which one it is."""
    from midilstm.evaluation import baseline
    from midilstm.tokenizers.vocabulary import KEYS

    training, held_out = list(dataset.training.values()), list(dataset.held_out.values())
    tables = [dataset.vocabulary.transposed(semitones) for semitones in KEYS]
    *_, ngrams = baseline.find_best_ngram(training, held_out, tables)
    best = min(ngrams, key=lambda ngram: ngram.nll_per_token)
    return {"best": best.nll_per_token, "kind": f"{best.title}, Kneser-Ney"}


def train_recipe(dataset: Dataset, name: str, seed: int, steps: int) -> dict[str, Any]:
    """Train a recipe; return its lowest held-out nats per token, the epoch and the curve."""
    recipe = recipes.RECIPES[name]
    network = recipes.build_network(recipe, len(dataset.vocabulary), seed)
    curve = recipes.train_network(network, dataset, recipe, seed, steps)
    best = recipes.best_epoch(curve)
    return {"best": curve[best].val_loss, "epoch": best + 1, "curve": curve}


def run_missing(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run what the file does not have yet, and yield a row for each run."""
    rows = read_rows(args.out)
    finished = {(row["corpus"], row["recipe"], row["seed"], row["steps"]) for row in rows}
    for seed in args.seeds:
        for corpus, folders in map(split_pair, args.corpus):
            names = [NGRAM, *args.only]
            names = [x for x in names if (corpus, x, seed, args.steps) not in finished]
            if not names:
                continue
            # All recipes share the vocabulary of every key, so that all predict among as many.
            dataset = recipes.load_folders(folders, DataConfig(seed=seed))
            for name in names:
                start = time.perf_counter()
                if name == NGRAM:
                    result = best_ngram(dataset)
                else:
                    result = train_recipe(dataset, name, seed, args.steps)
                row = {"corpus": corpus, "recipe": name, "seed": seed, "steps": args.steps}
                yield {**row, "seconds": round(time.perf_counter() - start, 1), **result}


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of held-out nats per token by recipe and corpus: mean and seeds."""
    corpora = sorted({row["corpus"] for row in rows})
    best = {(row["corpus"], row["recipe"], row["seed"]): row["best"] for row in rows}
    head = ["recipe", *(name for corpus in corpora for name in (corpus, "against the n-gram"))]
    lines = markdown_head(head)
    for recipe in (NGRAM, *recipes.RECIPES):
        if not any(row["recipe"] == recipe for row in rows):
            continue
        cells = [recipe]
        for corpus in corpora:
            seeds = sorted(seed for name, other, seed in best if (name, other) == (corpus, recipe))
            if not seeds:
                cells += ["", ""]
                continue
            values = [best[corpus, recipe, seed] for seed in seeds]
            mean = statistics.mean(values)
            of_ngram = statistics.mean(best[corpus, NGRAM, seed] for seed in seeds)
            cells.append(f"**{mean:.3f}** ({', '.join(f'{value:.2f}' for value in values)})")
            cells.append(f"{100 * (mean / of_ngram - 1):+.1f} %")
        lines.append(markdown_row(cells))
    return "\n".join(lines)


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw training and held-out loss by epoch, for the first seed and a few recipes."""
    from matplotlib.figure import Figure

    corpora = sorted({row["corpus"] for row in rows})
    seed = min(row["seed"] for row in rows)
    figure = Figure(figsize=(5 * len(corpora), 4), layout="constrained")
    panels = figure.subplots(1, len(corpora), squeeze=False, sharey=True)[0]
    labels: dict[str, Any] = {}
    for axes, corpus in zip(panels, corpora, strict=True):
        chosen = {r["recipe"]: r for r in rows if (r["corpus"], r["seed"]) == (corpus, seed)}
        for index, name in enumerate(DRAWN):
            if name in chosen:
                curve = [recipes.EpochMetrics(*epoch) for epoch in chosen[name]["curve"]]
                epochs, color = range(1, len(curve) + 1), f"C{index}"
                (line,) = axes.plot(epochs, [epoch.val_loss for epoch in curve], color=color)
                axes.plot(epochs, [epoch.loss for epoch in curve], color=color, linestyle=":")
                labels.setdefault(name, line)
        line = axes.axhline(chosen[NGRAM]["best"], color="grey", linestyle="--")
        labels.setdefault(NGRAM, line)
        axes.set(title=corpus, xlabel="epoch", ylabel="nats per token")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=list(labels.values()),
        labels=list(labels),
        title="held out (dotted: training)",
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table and draw the picture if they are requested."""
    args = parse_args(argv)
    for row in run_missing(args):
        append_row(args.out, row)
        print(
            f"{row['corpus']}, {row['recipe']}, seed {row['seed']}: {row['best']:.3f}", flush=True
        )
    rows = [row for row in read_rows(args.out) if row["steps"] == args.steps]
    if args.table:
        print(format_table(rows))
    if args.picture:
        draw_curves(rows, args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
