"""Compare training recipes by their loss, in nats per token, on held-out pieces.

    python benchmarks/quality.py --out quality.jsonl --corpus rags=FOLDER --corpus jazz=FOLDER

Each recipe is trained on each corpus with each seed (which also chooses the split), for the same
number of steps; the best held-out loss of any epoch counts, beside that of the best n-gram, which
sees every training piece in all twelve keys, too. Runs already in the file are not run again.
`--table` prints the table of a file's runs of `--steps`, and `--picture FILE` draws their curves.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import train as trainer
from midilstm.config import DataConfig, ModelConfig
from midilstm.data import dataset as corpora
from midilstm.fileio import write_atomically
from midilstm.tokenizers import vocabulary as vocabularies

BATCH, LENGTH = 16, 64
# The defaults of train.py, except for the number of steps.
SHAPING = [
    *("layers", "units", "dropout", "input_dropout"),
    *("learning_rate", "transpose", "shuffle"),
]
RECIPE, CLASSIC = (
    {"clip": 0.0, **{name: getattr(trainer.parse_args(flags), name) for name in SHAPING}}
    for flags in ([], ["--classic"])
)
RECIPE["ema"] = 0.98  # how much of the exponential average of the weights a step keeps
CLASSIC["ema"] = 0.0
# One change at a time; what build_model has no setting for is built in `variant` below.
CHANGES: dict[str, dict[str, Any]] = {
    "recipe": {},
    "classic, as it was": {**CLASSIC, "spread": 0.0},
    "classic, embeddings spread": CLASSIC,
    "Keras's small embeddings": {"spread": 0.0},
    "no transposition": {"transpose": False},
    "pieces in order": {"shuffle": False},
    "gradient norm cut at 1": {"clip": 1.0},
    "one layer": {"layers": 1},
    "three layers": {"layers": 3},
    "no dropout": {"dropout": 0.0, "input_dropout": 0.0},
    "dropout after layers only": {"input_dropout": 0.0},
    "dropout 0.5": {"dropout": 0.5, "input_dropout": 0.5},
    "512 units": {"units": 512},
    "512 units, dropout 0.5": {"units": 512, "dropout": 0.5, "input_dropout": 0.5},
    "learning rate 0.001": {"learning_rate": 1e-3},
    "warm-up over 100 steps": {"warm_up": 100},
    "cosine decay": {"decay": True},
    "weights not averaged": {"ema": 0.0},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "layer normalisation": {"norm": True},
    "residual connections": {"residual": True},
    "normalisation and residual": {"norm": True, "residual": True},
    "tied weights": {"tied": True},
    "forget bias 2": {"forget": 2.0},
    "weight decay 0.1": {"weight_decay": 0.1},
    "dropout the same at every step": {"locked": True},
    "512 units, dropout 0.5, longer average": {
        **{"units": 512, "dropout": 0.5, "input_dropout": 0.5},
        "ema": 0.99,
    },
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="results, a JSON line each")
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=FOLDER[,FOLDER]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600, help="training steps a run (600)")
    parser.add_argument("--only", nargs="+", default=list(CHANGES), help="recipes (all)")
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--picture", type=Path, help="draw the curves of --out")
    return parser.parse_args(argv)


def variant(vocabulary_size: int, change: dict[str, Any]) -> Any:
    """Build a network that build_model has no settings for, in logits [B, T, V]."""
    import keras

    from midilstm.training import lstm

    units, rate = change["units"], change["dropout"]
    spread: Any = "uniform"
    if change.get("spread", 1.0):
        spread = keras.initializers.RandomNormal(stddev=1.0)
    size = units if change.get("tied") else 512
    inputs = keras.Input(batch_shape=(BATCH, LENGTH), dtype="int32")
    embedding = keras.layers.Embedding(vocabulary_size, size, embeddings_initializer=spread)

    def dropout(share: float, width: int) -> Any:
        # Gal and Ghahramani 2016 drop the same units at every step.
        shape = (BATCH, 1, width) if change.get("locked") else None
        return keras.layers.Dropout(share, noise_shape=shape)

    x = dropout(change["input_dropout"], size)(embedding(inputs))
    for _ in range(change["layers"]):
        before = x
        if change.get("norm"):
            x = keras.layers.LayerNormalization()(x)
        layer = lstm.LSTM(units, return_sequences=True, stateful=True)
        x = dropout(rate, units)(layer(x))
        if "forget" in change:
            bias = layer.cell.bias.numpy()
            bias[units : 2 * units] = change["forget"]
            layer.cell.bias.assign(bias)
        if change.get("residual") and before.shape[-1] == units:
            x = x + before
    if change.get("tied"):
        scaled = keras.ops.matmul(x, keras.ops.transpose(embedding.embeddings)) / math.sqrt(units)
        return keras.Model(inputs, keras.layers.Activation("softmax")(scaled))
    return keras.Model(inputs, keras.layers.Dense(vocabulary_size, activation="softmax")(x))


def build(vocabulary_size: int, change: dict[str, Any], seed: int) -> Any:
    """Build and compile a recipe's network: the project's own wherever it can be."""
    import keras

    import model
    from midilstm.training import weights

    weights.set_seed(seed)
    ours = {"layers", "units", "dropout", "input_dropout"}
    if {"spread", "norm", "residual", "tied", "forget", "locked"} & set(change):
        network = variant(vocabulary_size, change)
    else:
        config = ModelConfig(**{name: change[name] for name in ours})
        network = model.build_model(
            config, vocabulary_size, batch_size=BATCH, sequence_length=LENGTH
        )
    model.compile_for_training(network, change["learning_rate"])
    # A new optimizer: averages must be set up before its variables are created.
    how = {"use_ema": True, "ema_momentum": change["ema"]} if change["ema"] else {}
    network.optimizer = keras.optimizers.Adam(change["learning_rate"], **how)
    network.optimizer.build(network.trainable_variables)
    network.optimizer.clipnorm = change["clip"] or None
    if "weight_decay" in change:
        network.optimizer.weight_decay = change["weight_decay"]
    if "label_smoothing" in change:
        network.loss.label_smoothing = change["label_smoothing"]
    return network


def learning_rate(change: dict[str, Any], step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    rate = change["learning_rate"] * min(1.0, (step + 1) / change.get("warm_up", 1))
    return rate * (1 + math.cos(math.pi * step / steps)) / 2 if change.get("decay") else rate


def train(
    network: Any,
    corpus: Any,
    change: dict[str, Any],
    seed: int,
    steps: int,
    keep: Callable[[list[Any]], object] = lambda _: None,
) -> list[Any]:
    """Train for about `steps` steps; return [loss, accuracy, held-out loss, accuracy] an epoch.

    After each, `keep` is given what there is of it, while the network has the weights scored.
    """
    import numpy as np

    from midilstm.data import batches
    from midilstm.training import weights
    from midilstm.training.heldout import HeldOutEvaluator

    keys = None
    if change["transpose"]:
        keys = np.array([corpus.vocabulary.transposed(k) for k in vocabularies.KEYS])
    pieces, held_out = list(corpus.training.values()), list(corpus.held_out.values())
    count = batches.batch_count(sum(map(len, pieces)), BATCH, LENGTH)
    scorer, curve = HeldOutEvaluator(network), []
    for epoch in range(-(-steps // count)):
        rng = np.random.default_rng([seed, epoch + 1])
        stream = batches.epoch_stream(pieces, rng, shuffle=change["shuffle"], transpositions=keys)
        weights.reset_states(network)
        sums = np.zeros(2)
        made = batches.batches(stream, BATCH, LENGTH, len(corpus.vocabulary))
        for number, batch in enumerate(made):
            step = epoch * count + number
            network.optimizer.learning_rate.assign(learning_rate(change, step, steps))
            logs = network.train_on_batch(*batch, return_dict=True)
            sums += [logs["loss"], logs["accuracy"]]
        trained = network.get_weights()
        network.optimizer.finalize_variable_values(network.trainable_variables)  # the averages
        curve.append([*(sums / count), *scorer(held_out)])
        keep(curve)
        network.set_weights(trained)
    return curve


def best_ngram(corpus: Any) -> dict[str, Any]:
    """Return the lowest held-out nats of any n-gram, as written or counted in every key."""
    from midilstm.evaluation import baseline

    training, held_out = list(corpus.training.values()), list(corpus.held_out.values())
    tables = [corpus.vocabulary.transposed(k) for k in vocabularies.KEYS]
    best, _ = baseline.best_ngram(baseline.score_ngrams(training, held_out, tables))
    name = f"{best.summary.order}-gram, Kneser-Ney, {best.summary.keys} keys"
    return {"best": best.summary.nll_per_token, "recipe": name}


def runs(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run what the file does not have yet."""
    import tempfile

    done = {(row["corpus"], row["recipe"], row["seed"], row["steps"]) for row in rows(args.out)}
    wanted = ["best n-gram", *args.only]
    for seed in args.seeds:
        for name, folders in (text.split("=", 1) for text in args.corpus):
            missing = [r for r in wanted if (name, r, seed, args.steps) not in done]
            if not missing:
                continue
            with tempfile.TemporaryDirectory() as place:
                for number, folder in enumerate(folders.split(",")):
                    Path(place, str(number)).symlink_to(Path(folder).resolve())
                corpus = {
                    closed: corpora.load_dataset(
                        DataConfig(data_dir=Path(place), seed=seed, transpose=closed)
                    )
                    for closed in (True, False)
                }
            for recipe in missing:
                began = time.perf_counter()
                row: dict[str, Any]
                if recipe == "best n-gram":
                    row = best_ngram(corpus[True])
                    row["kind"], row["recipe"] = row["recipe"], recipe
                else:
                    # All share the vocabulary of every key, so that all predict among as many.
                    change = {**RECIPE, **CHANGES[recipe]}
                    network = build(len(corpus[True].vocabulary), change, seed)
                    curve = train(network, corpus[True], change, seed, args.steps)
                    best = min(range(len(curve)), key=lambda epoch: curve[epoch][2])
                    row = {"best": curve[best][2], "epoch": best + 1, "curve": curve}
                seconds = round(time.perf_counter() - began, 1)
                yield {"corpus": name, "seed": seed, "steps": args.steps, "seconds": seconds} | {
                    "recipe": recipe,
                    **row,
                }


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the results in a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Write a result behind those in a file."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_atomically(path, before + json.dumps(row) + "\n")


def table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table: the best held-out nats by recipe and corpus, mean and each seed."""
    corpora = sorted({row["corpus"] for row in results})
    names = [
        name for name in ("best n-gram", *CHANGES) if any(r["recipe"] == name for r in results)
    ]
    found = {(r["corpus"], r["recipe"], r["seed"]): r["best"] for r in results}
    seeds = sorted({row["seed"] for row in results})
    lines = [
        "| recipe |" + "".join(f" {name} | against the n-gram |" for name in corpora),
        "|---|" + "---:|---:|" * len(corpora),
    ]
    for name in names:
        line = f"| {name} |"
        for corpus in corpora:
            have = [seed for seed in seeds if (corpus, name, seed) in found]
            if not have:
                line += " | |"
                continue
            values = [found[corpus, name, seed] for seed in have]
            grams = [found[corpus, "best n-gram", seed] for seed in have]
            each = ", ".join(f"{value:.2f}" for value in values)
            change = 100 * (statistics.mean(values) / statistics.mean(grams) - 1)
            line += f" **{statistics.mean(values):.3f}** ({each}) | {change:+.1f} % |"
        lines.append(line)
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw training and held-out loss by epoch, first seed, of a few recipes."""
    from matplotlib.figure import Figure

    chosen = ["classic, as it was", "classic, embeddings spread", "no transposition", "recipe"]
    corpora = sorted({row["corpus"] for row in results})
    seed = min(row["seed"] for row in results)
    figure = Figure(figsize=(5 * len(corpora), 4), layout="constrained")
    panels = figure.subplots(1, len(corpora), squeeze=False, sharey=True)[0]
    for axes, corpus in zip(panels, corpora, strict=True):
        here = {r["recipe"]: r for r in results if r["corpus"] == corpus and r["seed"] == seed}
        for name in (name for name in chosen if name in here):
            curve, epochs = here[name]["curve"], range(1, len(here[name]["curve"]) + 1)
            colour = f"C{chosen.index(name)}"
            axes.plot(epochs, [point[2] for point in curve], color=colour, label=name)
            axes.plot(epochs, [point[0] for point in curve], color=colour, linestyle=":")
        gram = here["best n-gram"]["best"]
        axes.axhline(gram, color="grey", linestyle="--", label="best n-gram")
        axes.set(title=corpus, xlabel="epoch", ylabel="nats per token")
        axes.spines[["top", "right"]].set_visible(False)
    lines = {
        line.get_label(): line for axes in panels for line in axes.get_legend_handles_labels()[0]
    }
    figure.legend(
        handles=list(lines.values()),
        title="held out (dotted: training)",
        loc="outside lower center",
        ncols=len(lines),
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table and draw the picture if they are requested."""
    args = parse_args(argv)
    for row in runs(args):
        add_row(args.out, row)
        print(
            f"{row['corpus']}  {row['recipe']}  seed {row['seed']}  {row['best']:.3f}", flush=True
        )
    if args.table:
        print(table([row for row in rows(args.out) if row["steps"] == args.steps]))
    if args.picture:
        draw([row for row in rows(args.out) if row["steps"] == args.steps], args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
