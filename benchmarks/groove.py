"""Compare how bands groove in human-written pieces and in those that models draw.

    python benchmarks/groove.py --out groove.jsonl --table --human tunes=FOLDER \\
        --model bands=MODEL,DATA

The statistics are those of midilstm/evaluation/groove.py over the first 24 bars. Human pieces are
those of a folder, and the held-out ones of a model. For these and for the pieces that a model
draws, with the seeds from 0, `copied` is the share of an instrument's bars that it also plays in a
training piece. Rows are JSON lines; those already in the file are not measured again. `--table`
prints means over pieces: of human pieces with the 95 % interval, of models with the same name with
the mean of each model.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
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
from midilstm.evaluation.groove import (
    GROOVE,
    N_BARS,
    Bars,
    InstrumentBar,
    instrument_bars,
    to_bars,
)
from midilstm.evaluation.piece_sets import Pieces, decode
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.sampler import Sampler
from midilstm.tokenizers.vocabulary import Vocabulary

COPIED = ("copied drum bars", "copied pitched bars")
Values = dict[str, list[float | None]]  # by statistic, one per piece


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="results, one JSON line per row")
    add("--human", action="append", default=[], metavar="NAME=FOLDER", help="MIDI files")
    add("--model", action="append", default=[], metavar="NAME=MODEL,DATA", help="its two folders")
    add("--pieces", type=int, default=64, help="pieces to draw from each model (64)")
    add("--top-p", type=float, nargs="+", default=[1, 0.95], help="as in sample.py (1 0.95)")
    add("--opening", action=argparse.BooleanOptionalAction, default=True, help="as in sample.py")
    add("--temperature", type=float, default=SamplingConfig().temperature, help="as in sample.py")
    add("--table", action="store_true", help="print the table of --out")
    return parser.parse_args(argv)


def decode_pieces(pieces: Pieces, vocabulary: Vocabulary, n_bars: int) -> list[Bars]:
    """Return the first bars of pieces of a dataset."""
    return [to_bars(decode(ids[:-1], vocabulary), n_bars) for ids in pieces.values()]


def copied_share(played: Sequence[InstrumentBar], training: Set[InstrumentBar]) -> float:
    """Return the share of bars that the same instrument plays in a training piece."""
    return float(np.mean([bar in training for bar in played])) if played else np.nan


def describe(pieces: Sequence[Bars], training: Sequence[Bars] = ()) -> Values:
    """Return each statistic of each piece, None for one that it lacks."""
    rows = {name: [float(value(piece)) for piece in pieces] for name, value in GROOVE.items()}
    if training:
        known = {bar for piece in training for bar in instrument_bars(piece)}
        played = [instrument_bars(piece) for piece in pieces]
        for name, is_drum in zip(COPIED, (True, False), strict=True):
            rows[name] = [
                copied_share([bar for bar in bars if (bar[0] == midi.DRUMS) is is_drum], known)
                for bars in played
            ]
    return {name: [x if np.isfinite(x) else None for x in row] for name, row in rows.items()}


def describe_files(folder: str) -> Values:
    """Describe the MIDI files of a folder."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() == ".mid")
    return describe([to_bars(midi.read(path)) for path in paths])


def describe_drawn(
    model: LoadedModel, config: SamplingConfig, count: int, training: Sequence[Bars]
) -> Values:
    """Draw pieces from a model and describe them."""
    sampler = Sampler(
        model.network, model.vocabulary, config, model.match_weights, openings=model.openings
    )
    pieces = sampler.draw(range(count))
    scores = [decode(np.array(piece.ids), model.vocabulary) for piece in pieces]
    return describe([to_bars(score, pad=True) for score in scores], training)


def measure(args: argparse.Namespace) -> None:
    """Measure the pieces that are not yet in the file of --out."""
    finished = [row["run"] for row in read_rows(args.out)]

    def add(kind: str, name: str, run: list[Any], get_values: Callable[[], Values]) -> None:
        if run not in finished:
            start = time.perf_counter()
            row = {"run": run, "kind": kind, "name": name, "values": get_values()}
            append_row(args.out, {**row, "seconds": round(time.perf_counter() - start)})
            print(f"{name}: {run}", flush=True)

    for name, (folder,) in map(split_pair, args.human):
        add("human", name, [folder], partial(describe_files, folder))
    for name, folders in map(split_pair, args.model):
        model, dataset = open_with_dataset(folders)
        vocabulary = model.vocabulary
        training = decode_pieces(dataset.training, vocabulary, n_bars=10_000)
        held_out = decode_pieces(dataset.held_out, vocabulary, N_BARS)
        run = [folders[0], "held out"]
        add("human", "held out", run, partial(describe, held_out, training))
        for top_p in args.top_p:
            config = SamplingConfig(
                bars=N_BARS, top_p=top_p, temperature=args.temperature, opening=args.opening
            )
            settings = [args.pieces, args.temperature, top_p, args.opening]
            run = [folders[0], model.checkpoint_path.name, *settings]
            drawn = partial(describe_drawn, model, config, args.pieces, training)
            add("model", f"{name}, top-p {top_p:g}", run, drawn)


def format_cell(rows: Sequence[Mapping[str, Any]], statistic: str) -> str:
    """Return the mean of a statistic, with the interval or, of several models, each mean."""
    values = [[x for x in row["values"].get(statistic, []) if x is not None] for row in rows]
    if rows[0]["kind"] == "human":
        pooled = [x for row in values for x in row]
        return estimate_mean(pooled).format(".3g")
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
    for statistic in (*GROOVE, *COPIED):
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
