"""Measure what the match model is worth: likelihood, repetition, copying and similarity.

    taskset -c 1 python benchmarks/memory.py --out memory.jsonl --corpus rags=FOLDER

Each run trains a network with the defaults of train.py (quality.py), keeps the epoch with the best
held-out loss, fits the match model on training pieces, and compares the network with the best
n-gram, each without and with a match model; then it draws pieces without and with it. Results are
JSON lines, one per run; runs already in the file are not repeated. `--table` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks import quality
from midilstm.config import DataConfig, ModelConfig, SamplingConfig
from midilstm.data.dataset import Dataset, load_dataset
from midilstm.evaluation import baseline, copying, similarity
from midilstm.evaluation import piece_sets as pieces
from midilstm.evaluation.repetition_stats import compare_repetition
from midilstm.fileio import write_atomically
from midilstm.generation import network as networks
from midilstm.generation.fit_model import fit_match_weights
from midilstm.generation.network import Network
from midilstm.generation.piece_sampler import Sampler
from midilstm.repetition.match_model import MatchWeights, bars_per_token
from midilstm.repetition.metrics import repeat_lags

SPANS = ("4", "8", "16", "32")
LONG, FEW = 5, 16  # times the usual length, and pieces of it, to see whether repetition drifts


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


def trained(corpus: Dataset, seed: int, steps: int, place: Path) -> tuple[Network, dict[str, Any]]:
    """Train the recipe; return the best epoch's averaged weights and what is known of them.

    Both are kept in the folder `place`; what is there already is not trained again.
    """
    size, best, known = len(corpus.vocabulary), place / "best.keras", place / "facts.json"
    names = ("layers", "units", "dropout", "input_dropout")
    shape = {name: quality.RECIPE[name] for name in names}
    if not known.exists():
        place.mkdir(parents=True, exist_ok=True)
        model = quality.build(size, quality.RECIPE, seed)

        def keep(curve: list[Any]) -> None:
            if curve[-1][2] == min(epoch[2] for epoch in curve):
                model.save(best)

        curve = quality.train(model, corpus, quality.RECIPE, seed, steps, keep=keep)
        epoch = min(range(len(curve)), key=lambda number: curve[number][2])
        facts = {"keras_nats": curve[epoch][2], "epoch": epoch + 1}
        write_atomically(known, json.dumps(facts) + "\n")
    network = networks.load(best, ModelConfig(embedding_size=512, **shape), size)
    return network, json.loads(known.read_text(encoding="utf-8"))


def drawn(
    network: Network, corpus: Dataset, weights: MatchWeights, args: argparse.Namespace
) -> dict[str, Any]:
    """Return repetition, copies and similarity of pieces drawn without and with the match model."""
    vocabulary, clock = corpus.vocabulary, bars_per_token(corpus.vocabulary)
    length = pieces.typical_length(corpus)
    found: dict[str, Any] = {"length": length}
    config = SamplingConfig(chars=length, top_p=args.top_p)
    for name, own in (("without", None), ("with", weights)):
        began = time.process_time()
        seeds = range(args.pieces)
        made = pieces.sample_pieces(Sampler(network, vocabulary, config, own), seeds)
        seconds = time.process_time() - began
        sets = pieces.cut_sets(made, corpus, length)
        every = {**corpus.held_out, **corpus.training}
        reference = {song: ids[:-1][:length] for song, ids in every.items()}
        rng = np.random.default_rng(0)
        two = {"generated": sets["generated"], "training": reference}
        _, alike = similarity.compare_music(two, vocabulary, rng)
        copied = asdict(copying.compare_copying(corpus, sets, vocabulary, rng))
        repetition = compare_repetition({**sets, "reference": reference}, clock, rng)
        assert alike
        found[name] = {
            "repetition": {group: asdict(stats) for group, stats in repetition.items()},
            "copied": {of: copied[of]["grams"] for of in ("generated", "held_out")},
            "longest_copy": copied["generated"]["longest_transposed"],
            "mgeval": asdict(alike.mean_overlap),
            "tokens_per_second": round(args.pieces * length / seconds),
        }
    config = SamplingConfig(chars=LONG * length, top_p=args.top_p)
    made = pieces.sample_pieces(Sampler(network, vocabulary, config, weights), range(FEW))
    found["last_fifth"] = {"reference": last_fifth(reference), "long": last_fifth(made)}
    return found


def last_fifth(of: pieces.Pieces) -> float:
    """Return the share of 8-token spans in the last fifth of pieces that came earlier."""
    parts = [np.array_split(repeat_lags(ids, 8) > 0, 5)[-1] for ids in of.values()]
    return fmean(part.mean() for part in parts if len(part))


def one_run(corpus: Dataset, seed: int, place: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train in a folder, unless that is done, fit, score and draw; return a row."""
    began = time.perf_counter()
    network, facts = trained(corpus, seed, args.steps, place)
    taken = {"training": round(time.perf_counter() - began)}
    training, length = list(corpus.training.values()), pieces.typical_length(corpus)
    weights = fit_match_weights(network, corpus.vocabulary, training, seed=seed, length=length)
    taken["fitting"] = round(time.perf_counter() - began) - taken["training"]
    rng = np.random.default_rng(seed)
    scores = asdict(baseline.measure_prediction(network, corpus, corpus.vocabulary, rng, weights))
    del scores["ngram_baseline"]["all"]
    row = {**facts, "weights": weights.to_json(), **scores}
    row |= {"drawn": drawn(network, corpus, weights, args)}
    taken["all"] = round(time.perf_counter() - began)
    return {**row, "seconds": taken}


def load(folders: str, seed: int, args: argparse.Namespace) -> Dataset:
    """Read folders as one, with every token in every key, as train.py does."""
    with tempfile.TemporaryDirectory() as place:
        for number, folder in enumerate(folders.split(",")):
            Path(place, str(number)).symlink_to(Path(folder).resolve())
        config = DataConfig(
            data_dir=Path(place), encoding=args.encoding, bpe=args.bpe, jobs=1, seed=seed
        )
        return load_dataset(config)


def nats_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a Markdown table of nats per token: the mean and each seed's value."""
    kinds = list(dict.fromkeys((row["corpus"], row["encoding"]) for row in rows))
    lines = [
        "| | network | + memory | n-gram | + memory | network to n-gram, with memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in kinds:
        here = [row for row in rows if (row["corpus"], row["encoding"]) == kind]
        ways = []
        for row in here:
            mine, theirs = row["scores"]["held_out"], row["ngram_baseline"]
            four = (mine, mine["with_memory"], theirs["best"], theirs["with_memory"]["best"])
            ways.append([of["nll_per_token"]["value"] for of in four])
        means = [fmean(way) for way in zip(*ways, strict=True)]
        cells = [
            f"**{mean:.3f}** ({', '.join(f'{nats:.3f}' for nats in way)})"
            for mean, way in zip(means, zip(*ways, strict=True), strict=True)
        ]
        gap = f"{100 * (means[1] / means[3] - 1):+.1f} %"
        lines.append(f"| {kind[0]}, `{kind[1]}` | {' | '.join(cells)} | {gap} |")
    return lines


def form_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a Markdown table of repetition, beside the reference's 95 % intervals."""
    lines = [
        "| | span | share without | share | reference | tokens | reference | bars | reference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        off, on = (row["drawn"][way]["repetition"] for way in ("without", "with"))
        for span in SPANS:
            made, reference = on["generated"]["spans"][span], on["reference"]["spans"][span]
            cells = [value(off["generated"]["spans"][span]["share"], ".3f")]
            for key, pattern in (("share", ".3f"), ("tokens", ".0f"), ("bars", ".1f")):
                cells += [value(made[key], pattern), interval(reference[key], pattern)]
            lines.append(f"| {named(row)} | {span} | {' | '.join(cells)} |")
    return lines


def other_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a Markdown table of loops, copies, similarity and speed."""
    lines = [
        "| | last fifth of long pieces | reference | end in a loop | longest loop | reference "
        "| longest return | reference | copied runs of 4 "
        "| without | held out | of 8 | without | MGEval | without | tokens per second | without |",
        "|---|" + "---:|" * 16,
    ]
    for row in rows:
        off, on = (row["drawn"][way] for way in ("without", "with"))
        made, reference = on["repetition"]["generated"], on["repetition"]["reference"]
        ends = row["drawn"]["last_fifth"]
        cells = [f"{ends[of]:.2f}" for of in ("long", "reference")]
        cells += [f"{made['n_ending_in_loop']} of {made['pieces']}"]
        for key in ("longest_loop", "longest_repeat"):
            cells += [f"{of[key]['value']:.0f} (to {of[key]['max']})" for of in (made, reference)]
        for size in ("4", "8"):
            ways = [on["copied"]["generated"], off["copied"]["generated"]]
            ways += [on["copied"]["held_out"]] if size == "4" else []
            cells += [value(way[size]["transposed"], ".4f") for way in ways]
        cells += [value(way["mgeval"], ".3f") for way in (on, off)]
        cells += [f"{way['tokens_per_second']:,}" for way in (on, off)]
        lines.append(f"| {named(row)} | {' | '.join(cells)} |")
    return lines


def named(row: dict[str, Any]) -> str:
    """Return what a row is of."""
    return f"{row['corpus']}, `{row['encoding']}`, {row['seed']}"


def value(fact: dict[str, Any], pattern: str) -> str:
    """Return a number, a dash for none."""
    return "–" if fact["value"] is None else format(fact["value"], pattern)


def interval(fact: dict[str, Any], pattern: str) -> str:
    """Return a number's 95 % interval, a dash for none."""
    return " to ".join(format(bound, pattern) for bound in fact["interval"] or ()) or "–"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the tables with --table."""
    args = parse_args(argv)
    done = {tuple(row["run"]) for row in quality.rows(args.out)}
    how = (args.encoding, args.bpe, args.steps)
    for seed in args.seeds:
        for name, folders in (text.split("=", 1) for text in args.corpus):
            if (name, *how, seed) in done:
                continue
            corpus = load(folders, seed, args)
            row = {"run": [name, *how, seed], "corpus": name, "encoding": args.encoding}
            with tempfile.TemporaryDirectory() as scratch:
                place = (args.models or Path(scratch)) / "-".join(map(str, row["run"]))
                row |= {"seed": seed, **one_run(corpus, seed, place, args)}
            quality.add_row(args.out, row)
            print(f"{name}, {args.encoding}, seed {seed}: {row['seconds']['all']} s", flush=True)
    if args.table:
        rows = quality.rows(args.out)
        print(*nats_table(rows), "", *form_table(rows), "", *other_table(rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
