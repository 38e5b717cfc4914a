"""Ask which temperature and top-p give pieces that are nearest to people's.

    taskset -c 1 python benchmarks/defaults.py --out defaults.jsonl --model rags=MODEL,DATA

Each setting draws the same seeds from each model, with its memory, and sets them beside all of
people's pieces, cut to one length: MGEval's mean overlap, how far the means of all statistics lie
from people's in standard deviations of people's pieces, and what comes back. A line of JSON a
setting; settings already in the file are not run again. `--table` prints a file's table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks import quality
from midilstm import model_dir as runs
from midilstm.data.dataset import Dataset
from midilstm.evaluation import features as statistics
from midilstm.evaluation import piece_sets as pieces
from midilstm.evaluation import repetition_stats as form
from midilstm.evaluation import similarity
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.repetition.match_model import MatchModel, bars_per_token

GRID: tuple[dict[str, float], ...] = (
    {},
    {"temperature": 0.95},
    {"temperature": 0.9},
    {"top_p": 0.98},
    {"top_p": 0.95},
    {"top_p": 0.9},
    # Rarer tokens left out alone; and with less of the memory, which was fitted at 1 / 1.
    {"top_p": 0.995},
    {"top_p": 0.98, "memory": 0.8},
    {"top_p": 0.95, "memory": 0.7},
    {"temperature": 0.95, "memory": 0.9},
)
SHOWN = ("pitch range (semitones)", "pitch-class entropy (bits)", "scale consistency")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, a JSON line each")
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add("--pieces", type=int, default=60, help="pieces a setting (60)")
    add("--length", type=int, default=0, help="tokens of each (0 = as is typical)")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def open_checkpoint(model: str, data: str) -> tuple[LoadedModel, Dataset]:
    """Open a model folder and the music it was trained on."""
    trained = open_model(Path(model), None)
    settings = runs.load_settings(Path(model))
    config = replace(settings.data, data_dir=Path(data), jobs=1)
    return trained, pieces.load_music(config, settings, trained.vocabulary)[0]


def people_of(corpus: Dataset, length: int) -> pieces.Pieces:
    """Return all of people's pieces, held out or not, cut to a length, without ends."""
    return {name: ids[:-1][:length] for name, ids in {**corpus.held_out, **corpus.training}.items()}


def drawn(
    trained: LoadedModel, knobs: Mapping[str, float], count: int, length: int
) -> pieces.Pieces:
    """Return pieces drawn with knobs, of which `memory` is the strength of the memory."""
    knobs, past = dict(knobs), None
    strength = knobs.pop("memory", 1)
    if trained.match_weights:
        past = MatchModel.begin(bars_per_token(trained.vocabulary), trained.match_weights, strength)
    return pieces.sampled(trained.network, trained.vocabulary, range(count), length, past, **knobs)


def beside(
    trained: LoadedModel, corpus: Dataset, made: pieces.Pieces, length: int
) -> dict[str, Any]:
    """Return what there is to say of drawn pieces beside people's."""
    vocabulary, clock = trained.vocabulary, bars_per_token(trained.vocabulary)
    sets = {"generated": made, "training": people_of(corpus, length)}
    rng = np.random.default_rng(0)
    found = similarity.compare(sets, vocabulary, rng)
    rhythm = vocabulary.encoding.keeps_rhythm
    features = statistics.OF_PITCHES | (statistics.OF_RHYTHM if rhythm else {})
    heard = {group: pieces.listen(of, vocabulary, rng) for group, of in sets.items()}
    ours, theirs = (statistics.feature_matrix(features, heard[group]) for group in sets)
    far = {}
    for name in features:
        if spread := float(np.nanstd(theirs[name])):
            far[name] = abs(float(np.nanmean(ours[name]) - np.nanmean(theirs[name]))) / spread
    return {
        "length": length,
        "mgeval": found["similarity"]["mean_overlap"],
        "statistics": found["statistics"]["values"],
        "far": far,
        "repetition": form.compare(sets, clock, rng),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table, a row a setting."""
    heads = ["MGEval", "off by (sd)", "range", "entropy", "scale", "8-token returns", "16", "loops"]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for model in dict.fromkeys(row["model"] for row in rows):
        here = [row for row in rows if row["model"] == model]
        for row, of in ((here[0], "training"), *((row, "generated") for row in here)):
            knobs = ", ".join(f"{key.replace('_', '-')} {v:g}" for key, v in row["knobs"].items())
            known = row["repetition"][of]
            mine = of == "generated"
            cells = [f"{row['mgeval']['value']:.3f}" if mine else "–"]
            cells += [f"{np.mean(list(row['far'].values())):.2f}" if mine else "–"]
            cells += [f"{row['statistics'][name][of]['value']:.3g}" for name in SHOWN]
            cells += [f"{known['spans'][span]['share']['value']:.3f}" for span in ("8", "16")]
            cells += [f"{known['n_ending_in_loop']} of {known['pieces']}"]
            what = (knobs or "1 / 1") if mine else "people"
            lines.append(f"| {model}: {what} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table if asked for."""
    args = parse_args(argv)
    done = [(row["model"], row["knobs"]) for row in quality.rows(args.out)]
    for name, folders in (text.split("=", 1) for text in args.model):
        trained, corpus = open_checkpoint(*folders.split(","))
        for knobs in GRID:
            if (name, knobs) in done:
                continue
            began = time.perf_counter()
            length = args.length or pieces.typical_length(corpus)
            made = drawn(trained, knobs, args.pieces, length)
            row = {"model": name, "knobs": knobs, **beside(trained, corpus, made, length)}
            quality.add_row(args.out, row)
            print(f"{name} {knobs}: {time.perf_counter() - began:.0f} s", flush=True)
    if args.table:
        print(*table(quality.rows(args.out)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
