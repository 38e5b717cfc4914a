"""Measure what the match model is worth: likelihood, repetition, copying and similarity.

    taskset -c 1 python benchmarks/memory.py --out memory.jsonl --corpus rags=FOLDER

Each run trains a network with the defaults of train.py, keeps the epoch with the best held-out
loss, fits the match model on training pieces, and compares the network with the best n-gram, each
without and with a match model; then it draws pieces without and with it. Results are JSON lines,
one per run; runs already in the file are not repeated. `--table` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks import recipes
from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm.config import DataConfig, ModelConfig, SamplingConfig
from midilstm.data.dataset import Dataset
from midilstm.evaluation import baseline, copying, piece_sets, similarity
from midilstm.evaluation.repetition_stats import compare_repetition
from midilstm.fileio import write_atomically
from midilstm.generation import network as networks
from midilstm.generation.fit_model import fit_match_weights
from midilstm.generation.network import Network
from midilstm.generation.sampler import Sampler
from midilstm.repetition.match_model import MatchWeights, bars_per_token
from midilstm.repetition.metrics import repeat_lags
from midilstm.schema import to_json

SPANS = ("4", "8", "16", "32")
# Sixteen pieces of five times the usual length show whether repetition drifts.
LONG_TIMES, N_LONG = 5, 16


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, one JSON line per run")
    add("--corpus", action="append", default=[], metavar="NAME=FOLDER[,FOLDER]")
    add("--encoding", default="notes", help="notes, tsd or remi")
    add("--bpe", type=int, default=0, help="byte-pair merges to learn (0 = off)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--steps", type=int, default=600, help="training steps per run (600)")
    add("--pieces", type=int, default=64, help="pieces to draw without and with memory (64)")
    add("--top-p", type=float, default=1.0, help="top-p of the pieces to draw (1.0 = off)")
    add("--models", type=Path, help="folder in which networks are kept and reused")
    add("--table", action="store_true", help="print the tables of --out")
    return parser.parse_args(argv)


def train_or_load(
    dataset: Dataset, seed: int, steps: int, folder: Path
) -> tuple[Network, dict[str, Any]]:
    """Return the network of the best epoch, and its epoch and held-out loss.

    They are kept in the folder; a network that it already has is not trained again.
    """
    size, best, facts_path = len(dataset.vocabulary), folder / "best.keras", folder / "facts.json"
    recipe = recipes.RECIPE
    if not facts_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        network = recipes.build_network(recipe, size, seed)

        def save_best(curve: list[recipes.EpochMetrics]) -> None:
            if recipes.best_epoch(curve) == len(curve) - 1:
                network.save(best)

        curve = recipes.train_network(network, dataset, recipe, seed, steps, save_best)
        epoch = recipes.best_epoch(curve)
        facts = {"keras_nats": curve[epoch].val_loss, "epoch": epoch + 1}
        write_atomically(facts_path, json.dumps(facts) + "\n")
    config = ModelConfig(layers=recipe.layers, units=recipe.units)
    return networks.load(best, config, size), json.loads(facts_path.read_text(encoding="utf-8"))


def draw_and_compare(
    network: Network, dataset: Dataset, weights: MatchWeights, args: argparse.Namespace
) -> dict[str, Any]:
    """Return repetition, copies and similarity of pieces drawn without and with the match model."""
    vocabulary, bars = dataset.vocabulary, bars_per_token(dataset.vocabulary)
    length = piece_sets.typical_length(dataset)
    pieces = {**dataset.held_out, **dataset.training}
    reference = {name: ids[:-1][:length] for name, ids in pieces.items()}
    result: dict[str, Any] = {"length": length}
    config = SamplingConfig(chars=length, top_p=args.top_p)
    for name, match_weights in (("without", None), ("with", weights)):
        start = time.process_time()
        sampler = Sampler(network, vocabulary, config, match_weights)
        drawn = piece_sets.sample_pieces(sampler, range(args.pieces))
        seconds = time.process_time() - start
        sets = piece_sets.cut_sets(drawn, dataset, length)
        compared = {"generated": sets["generated"], "training": reference}
        _, overlap = similarity.compare_music(compared, vocabulary, np.random.default_rng(0))
        copies = asdict(copying.compare_copying(dataset, sets, vocabulary))
        repetition = compare_repetition({**sets, "reference": reference}, bars)
        assert overlap
        result[name] = {
            "repetition": {group: asdict(stats) for group, stats in repetition.items()},
            "copied": {group: copies[group]["grams"] for group in ("generated", "held_out")},
            "longest_copy": copies["generated"]["longest_transposed"],
            "mgeval": asdict(overlap.mean_overlap),
            "tokens_per_second": round(args.pieces * length / seconds),
        }
    config = SamplingConfig(chars=LONG_TIMES * length, top_p=args.top_p)
    sampler = Sampler(network, vocabulary, config, weights)
    long_pieces = piece_sets.sample_pieces(sampler, range(N_LONG))
    shares = {"reference": share_in_last_fifth(reference), "long": share_in_last_fifth(long_pieces)}
    return {**result, "last_fifth": shares}


def share_in_last_fifth(pieces: piece_sets.Pieces) -> float:
    """Return the share of 8-token spans in the last fifth of pieces that came earlier."""
    parts = [np.array_split(repeat_lags(ids, 8) > 0, 5)[-1] for ids in pieces.values()]
    return fmean(part.mean() for part in parts if len(part))


def run(dataset: Dataset, seed: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train, unless that is done, fit, score and draw; return a row."""
    times = [time.perf_counter()]
    network, facts = train_or_load(dataset, seed, args.steps, folder)
    times.append(time.perf_counter())
    training, length = list(dataset.training.values()), piece_sets.typical_length(dataset)
    weights = fit_match_weights(network, dataset.vocabulary, training, seed=seed, length=length)
    times.append(time.perf_counter())
    rng = np.random.default_rng(seed)
    stats = baseline.measure_prediction(network, dataset, dataset.vocabulary, rng, weights)
    scores = asdict(stats)
    del scores["ngram_baseline"]["all"]
    drawn = draw_and_compare(network, dataset, weights, args)
    seconds = {
        "training": round(times[1] - times[0]),
        "fitting": round(times[2] - times[1]),
        "all": round(time.perf_counter() - times[0]),
    }
    return {**facts, "weights": to_json(weights), **scores, "drawn": drawn, "seconds": seconds}


def likelihood_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table of nats per token: the mean and each seed's value."""
    lines = markdown_head(
        ["", "network", "+ memory", "n-gram", "+ memory", "network to n-gram, with memory"]
    )
    for corpus, encoding in dict.fromkeys((row["corpus"], row["encoding"]) for row in rows):
        values = []
        for row in rows:
            if (row["corpus"], row["encoding"]) == (corpus, encoding):
                network, ngram = row["scores"]["held_out"], row["ngram_baseline"]
                with_memory = network["with_memory"], ngram["with_memory"]["best"]
                scores = (network, with_memory[0], ngram["best"], with_memory[1])
                values.append([score["nll_per_token"]["value"] for score in scores])
        columns = list(zip(*values, strict=True))
        means = [fmean(column) for column in columns]
        cells = [
            f"**{mean:.3f}** ({', '.join(f'{nats:.3f}' for nats in column)})"
            for mean, column in zip(means, columns, strict=True)
        ]
        gap = f"{100 * (means[1] / means[3] - 1):+.1f} %"
        lines.append(markdown_row([f"{corpus}, `{encoding}`", *cells, gap]))
    return lines


def repetition_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table of repetition, beside the reference's 95 % intervals."""
    head = ["", "span", "share without", "share", "reference", "tokens", "reference"]
    lines = markdown_head([*head, "bars", "reference"])
    for row in rows:
        without, with_memory = (row["drawn"][name]["repetition"] for name in ("without", "with"))
        for span in SPANS:
            cells = [label(row), span]
            cells.append(value(without["generated"]["spans"][span]["share"], ".3f"))
            generated = with_memory["generated"]["spans"][span]
            reference = with_memory["reference"]["spans"][span]
            for key, pattern in (("share", ".3f"), ("tokens", ".0f"), ("bars", ".1f")):
                cells += [value(generated[key], pattern), interval(reference[key], pattern)]
            lines.append(markdown_row(cells))
    return lines


def piece_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table of loops, copies, similarity and speed."""
    head = ["", "last fifth of long pieces", "reference", "end in a loop", "longest loop"]
    head += ["reference", "longest repeat", "reference", "copied runs of 4", "without", "held out"]
    head += ["of 8", "without", "MGEval", "without", "tokens per second", "without"]
    lines = markdown_head(head)
    for row in rows:
        without, with_memory = (row["drawn"][name] for name in ("without", "with"))
        groups = [with_memory["repetition"][name] for name in ("generated", "reference")]
        last_fifth = row["drawn"]["last_fifth"]
        cells = [label(row), f"{last_fifth['long']:.2f}", f"{last_fifth['reference']:.2f}"]
        cells.append(f"{groups[0]['n_ending_in_loop']} of {groups[0]['pieces']}")
        for key in ("longest_loop", "longest_repeat"):
            cells += [f"{x[key]['value']:.0f} (to {x[key]['max']})" for x in groups]
        copies = [with_memory["copied"]["generated"], without["copied"]["generated"]]
        copies.append(with_memory["copied"]["held_out"])
        cells += [value(grams["4"]["transposed"], ".4f") for grams in copies]
        cells += [value(grams["8"]["transposed"], ".4f") for grams in copies[:2]]
        cells += [value(drawn["mgeval"], ".3f") for drawn in (with_memory, without)]
        cells += [f"{drawn['tokens_per_second']:,}" for drawn in (with_memory, without)]
        lines.append(markdown_row(cells))
    return lines


def label(row: Mapping[str, Any]) -> str:
    """Return the corpus, the encoding and the seed of a row."""
    return f"{row['corpus']}, `{row['encoding']}`, {row['seed']}"


def value(estimate: Mapping[str, Any], pattern: str) -> str:
    """Return an estimate's value, a dash for none."""
    return "–" if estimate["value"] is None else format(estimate["value"], pattern)


def interval(estimate: Mapping[str, Any], pattern: str) -> str:
    """Return an estimate's 95 % interval, a dash for none."""
    return " to ".join(format(bound, pattern) for bound in estimate["interval"] or ()) or "–"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the tables with --table."""
    args = parse_args(argv)
    finished = {tuple(row["run"]) for row in read_rows(args.out)}
    for seed in args.seeds:
        for name, folders in map(split_pair, args.corpus):
            run_id = (name, args.encoding, args.bpe, args.steps, seed)
            if run_id in finished:
                continue
            config = DataConfig(encoding=args.encoding, bpe=args.bpe, jobs=1, seed=seed)
            dataset = recipes.load_folders(folders, config)
            row = {"run": run_id, "corpus": name, "encoding": args.encoding, "seed": seed}
            with tempfile.TemporaryDirectory() as scratch:
                folder = (args.models or Path(scratch)) / "-".join(map(str, run_id))
                row |= run(dataset, seed, folder, args)
            append_row(args.out, row)
            print(f"{name}, {args.encoding}, seed {seed}: {row['seconds']['all']} s", flush=True)
    if args.table:
        rows = read_rows(args.out)
        tables = [likelihood_table(rows), repetition_table(rows), piece_table(rows)]
        print("\n\n".join("\n".join(lines) for lines in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
