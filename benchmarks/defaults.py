"""Compare temperatures and top-p by how similar their pieces are to human-written ones.

    taskset -c 1 python benchmarks/defaults.py --out defaults.jsonl --model rags=MODEL,DATA

Each setting draws the same seeds from each model, with its match model, and compares them with all
pieces of the dataset, cut to one length: MGEval's mean overlap, the mean distance of the statistics
in standard deviations of the dataset's pieces, and repetition. Results are JSON lines, one per
setting; settings already in the file are not run again. `--table` prints the file's table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm.config import SamplingConfig
from midilstm.data.dataset import Dataset
from midilstm.evaluation import piece_sets
from midilstm.evaluation.features import RHYTHM_STATISTICS, STATISTICS, feature_matrix
from midilstm.evaluation.piece_sets import Pieces
from midilstm.evaluation.repetition_stats import compare_repetition
from midilstm.evaluation.similarity import compare_music
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.model_dir import load_settings
from midilstm.repetition.match_model import bars_per_token
from midilstm.schema import from_json, to_json

GRID: tuple[dict[str, float], ...] = (
    {},
    {"temperature": 0.95},
    {"temperature": 0.9},
    {"top_p": 0.98},
    {"top_p": 0.95},
    {"top_p": 0.9},
    # Only the rarest tokens excluded; and a weaker match model, which was fitted at 1 / 1.
    {"top_p": 0.995},
    {"top_p": 0.98, "memory": 0.8},
    {"top_p": 0.95, "memory": 0.7},
    {"temperature": 0.95, "memory": 0.9},
)
SHOWN = ("pitch range (semitones)", "pitch-class entropy (bits)", "scale consistency")
HEADS = [
    *("MGEval", "off by (sd)", "range", "entropy", "scale", "8-token repeats", "16"),
    *("loops at end", "longest loop"),
]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, one JSON line per setting")
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add("--pieces", type=int, default=60, help="pieces per setting (60)")
    add("--length", type=int, default=0, help="tokens per piece (0 = the median of the dataset)")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def open_with_dataset(folders: Sequence[str]) -> tuple[LoadedModel, Dataset]:
    """Open a model folder and the dataset that it was trained on, whose folder follows it."""
    model_dir, data_dir = folders
    model = open_model(Path(model_dir), None)
    settings = load_settings(Path(model_dir))
    config = replace(settings.data, data_dir=Path(data_dir), jobs=1)
    return model, piece_sets.load_music(config, settings, model.vocabulary)[0]


def reference_pieces(dataset: Dataset, length: int) -> Pieces:
    """Return all pieces of a dataset, cut to a length, without ends."""
    pieces = {**dataset.held_out, **dataset.training}
    return {name: ids[:-1][:length] for name, ids in pieces.items()}


def draw(model: LoadedModel, settings: Mapping[str, float], count: int, length: int) -> Pieces:
    """Draw pieces with some settings of SamplingConfig."""
    config = from_json(SamplingConfig, {**to_json(SamplingConfig()), **settings, "chars": length})
    sampler = Sampler(model.network, model.vocabulary, config, model.match_weights)
    return piece_sets.sample_pieces(sampler, range(count))


def compare(model: LoadedModel, dataset: Dataset, pieces: Pieces, length: int) -> dict[str, Any]:
    """Compare drawn pieces with those of the dataset."""
    vocabulary = model.vocabulary
    sets = {"generated": pieces, "training": reference_pieces(dataset, length)}
    statistics, similarity = compare_music(sets, vocabulary, np.random.default_rng(0))
    assert similarity
    has_rhythm = vocabulary.encoding.keeps_rhythm
    features = STATISTICS | (RHYTHM_STATISTICS if has_rhythm else {})
    generated, reference = (
        feature_matrix(features, piece_sets.to_note_arrays(part, vocabulary))
        for part in sets.values()
    )
    distances = {}
    for name in features:
        if spread := float(np.nanstd(reference[name])):
            distance = abs(float(np.nanmean(generated[name]) - np.nanmean(reference[name])))
            distances[name] = distance / spread
    repetition = compare_repetition(sets, bars_per_token(vocabulary))
    return {
        "length": length,
        "mgeval": asdict(similarity.mean_overlap),
        "statistics": asdict(statistics)["values"],
        "distances": distances,
        "repetition": {group: asdict(stats) for group, stats in repetition.items()},
    }


def format_cells(result: Mapping[str, Any], group: str) -> list[str]:
    """Return the cells under HEADS for the drawn pieces or, as group "training", the dataset's."""
    cells = ["–", "–"]
    if group == "generated":
        low, high = result["mgeval"]["interval"]
        cells = [f"{result['mgeval']['value']:.3f} ({low:.3f} to {high:.3f})"]
        cells.append(f"{np.mean(list(result['distances'].values())):.2f}")
    cells += [f"{result['statistics'][name][group]['value']:.3g}" for name in SHOWN]
    repetition = result["repetition"][group]
    cells += [f"{repetition['spans'][span]['share']['value']:.3f}" for span in ("8", "16")]
    return [*cells, f"{repetition['n_ending_in_loop']}", f"{repetition['longest_loop']['max']}"]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a row per setting."""
    lines = markdown_head(["", *HEADS])
    for model in dict.fromkeys(row["model"] for row in rows):
        rows_of_model = [row for row in rows if row["model"] == model]
        lines.append(
            markdown_row([f"{model}: dataset", *format_cells(rows_of_model[0], "training")])
        )
        for row in rows_of_model:
            settings = row["settings"].items()
            words = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in settings)
            label = f"{model}: {words or '1 / 1'}"
            lines.append(markdown_row([label, *format_cells(row, "generated")]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; print the table if --table is given."""
    args = parse_args(argv)
    finished = [(row["model"], row["settings"]) for row in read_rows(args.out)]
    for name, folders in map(split_pair, args.model):
        model, dataset = open_with_dataset(folders)
        length = args.length or piece_sets.typical_length(dataset)
        for settings in GRID:
            if (name, settings) in finished:
                continue
            start = time.perf_counter()
            pieces = draw(model, settings, args.pieces, length)
            row = {"model": name, "settings": settings, **compare(model, dataset, pieces, length)}
            append_row(args.out, row)
            print(f"{name} {settings}: {time.perf_counter() - start:.0f} s", flush=True)
    if args.table:
        print(format_table(read_rows(args.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
