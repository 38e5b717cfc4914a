"""Compare how bands groove in human-written pieces and in those that models draw.

    python benchmarks/groove.py --out groove.jsonl --table --human tunes=FOLDER \\
        --model "seed 0=MODEL,DATA" --top-p 0.95

The statistics are those of midilstm/evaluation/groove.py over the first 24 bars. Human pieces are
those of a folder, and the held-out ones of a model whose second folder holds the music that it was
trained on. Rows are JSON lines; those already in the file are not measured again. A model's pieces
are drawn with the seeds from 0. `--table` prints means over pieces: of human pieces with the 95 %
interval, of models that have the same name with the mean of each.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np

from benchmarks.defaults import open_with_dataset
from benchmarks.results import append_row, markdown_head, markdown_row, read_rows, split_pair
from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.evaluation.estimates import estimate_mean
from midilstm.evaluation.groove import GROOVE, N_BARS, Bars, to_bars
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import Vocabulary


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, one JSON line per row")
    add("--human", action="append", default=[], metavar="NAME=FOLDER", help="MIDI files")
    add("--model", action="append", default=[], metavar="NAME=MODEL[,DATA]", help="its folders")
    add("--checkpoint", help="latest, best or an epoch (the best, if there is one)")
    add("--pieces", type=int, default=64, help="pieces to draw from each model (64)")
    add("--top-p", type=float, default=SamplingConfig().top_p, help="as in sample.py")
    add("--temperature", type=float, default=SamplingConfig().temperature, help="as in sample.py")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def decode(tokens: Sequence[str], vocabulary: Vocabulary) -> midi.Score:
    """Return the score of tokens, some of which may be invalid."""
    encoding = vocabulary.encoding
    return encoding.decode(encoding.drop_invalid(tokens))


def draw(model: LoadedModel, args: argparse.Namespace) -> list[Bars]:
    """Draw pieces from a model."""
    config = SamplingConfig(bars=N_BARS, top_p=args.top_p, temperature=args.temperature)
    sampler = Sampler(model.network, model.vocabulary, config, model.match_weights)
    pieces = sampler.draw(range(args.pieces))
    return [to_bars(decode(piece.tokens, model.vocabulary), pad=True) for piece in pieces]


def held_out(folders: Sequence[str]) -> list[Bars]:
    """Return the held-out pieces of a model."""
    model, dataset = open_with_dataset(folders)
    tokens = model.vocabulary.tokens
    pieces = ([tokens[i] for i in ids[:-1]] for ids in dataset.held_out.values())
    return [to_bars(decode(piece, model.vocabulary)) for piece in pieces]


def read_files(folder: str) -> list[Bars]:
    """Read the MIDI files of a folder."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() == ".mid")
    return [to_bars(midi.read(path)) for path in paths]


def describe(pieces: Sequence[Bars]) -> dict[str, list[float | None]]:
    """Return each statistic of each piece, None for one that it lacks."""
    rows = {
        name: [float(statistic(piece)) for piece in pieces] for name, statistic in GROOVE.items()
    }
    return {name: [x if np.isfinite(x) else None for x in row] for name, row in rows.items()}


def measure(args: argparse.Namespace) -> None:
    """Measure the pieces that are not yet in the file of --out."""
    finished = [row["run"] for row in read_rows(args.out)]

    def add(kind: str, name: str, run: list[Any], get_pieces: Callable[[], list[Bars]]) -> None:
        if run not in finished:
            start = time.perf_counter()
            row = {"run": run, "kind": kind, "name": name, "values": describe(get_pieces())}
            append_row(args.out, {**row, "seconds": round(time.perf_counter() - start)})
            print(f"{name}: {run}", flush=True)

    for name, (folder,) in map(split_pair, args.human):
        add("human", name, [folder], partial(read_files, folder))
    for name, folders in map(split_pair, args.model):
        if len(folders) > 1:
            add("human", "held out", [folders[0]], partial(held_out, folders))
        model = open_model(Path(folders[0]), args.checkpoint)
        settings = [args.pieces, args.temperature, args.top_p]
        run = [folders[0], model.checkpoint_path.name, *settings]
        add("model", f"{name}, top-p {args.top_p:g}", run, partial(draw, model, args))


def format_cell(rows: Sequence[Mapping[str, Any]], statistic: str) -> str:
    """Return the mean of a statistic, with the interval or, of several models, each mean."""
    values = [[x for x in row["values"][statistic] if x is not None] for row in rows]
    if rows[0]["kind"] == "human":
        pooled = [x for row in values for x in row]
        return estimate_mean(pooled, rng=np.random.default_rng(0)).format(".3g")
    means = [fmean(row) for row in values if row]
    each = ", ".join(format(mean, ".3g") for mean in means)
    return f"**{fmean(means):.3g}** ({each})" if means else "–"


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a column per name."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    columns = [[row for row in rows if row["name"] == name] for name in names]
    lines = markdown_head(["", *names])
    sizes = [sum(len(row["values"]["silence"]) for row in column) for column in columns]
    lines.append(markdown_row(["pieces", *sizes]))
    for statistic in GROOVE:
        lines.append(markdown_row([statistic, *(format_cell(x, statistic) for x in columns)]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing; print the table if --table is given."""
    args = parse_args(argv)
    measure(args)
    if args.table:
        print(format_table(read_rows(args.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
