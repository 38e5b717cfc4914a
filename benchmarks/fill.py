"""Measure how well filled bars lead into what follows, and how much of them is copied.

    python benchmarks/fill.py --model-dir=band --data-dir=data

prints, for four bars removed from held-out pieces, the mean NLL of the two bars that follow; the
share of instruments whose first note after them is reached by an interval that is usual in the
piece; and the share of the bars of an instrument whose onsets and pitches also stand elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np
from tqdm import tqdm

from benchmarks.defaults import open_with_dataset
from benchmarks.results import markdown_head, markdown_row
from midilstm import tokenizers
from midilstm.config import SamplingConfig
from midilstm.evaluation.estimates import estimate_mean
from midilstm.evaluation.likelihood import score_network
from midilstm.generation.fill import Filler
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import open_source
from midilstm.midi import DRUMS
from midilstm.repetition.match_model import MatchModel
from midilstm.tokenizers.base import split
from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.order import by_instrument

BEFORE, FILLED, AFTER = 8, 4, 2  # bars
HIDDEN, SIZE = slice(BEFORE, BEFORE + FILLED), BEFORE + FILLED + AFTER
WAYS = {"true": 0, "from the left alone": 1, "32 candidates": 32}
SHARES = ("usual joins", "in the piece", "in training", "in training, any key")
Bar = list[str]  # tokens
Content = tuple[int, frozenset[tuple[int, int]]]  # a program, its positions and pitches in a bar
# Nats per token of the bars after filled ones by each model, and lists for each of SHARES
Row = tuple[list[float], list[list[bool]]]


def split_bars(tokens: Iterable[str]) -> list[Bar]:
    """Return the bars of a piece's unmerged tokens, which begin with a bar."""
    bars: list[Bar] = []
    for token in by_instrument(tokens):  # which names a solo's program in each bar
        bars += [[]] if parts(token)[0] == "Bar" else []
        bars[-1].append(token)
    return bars


def onsets_of(bars: Iterable[Bar]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return each program of each bar, with its positions and pitches, ascending."""
    onsets, position = list[tuple[int, list[tuple[int, int]]]](), 0
    for kind, value in map(parts, chain(*bars)):
        onsets += [(int(value), [])] if kind == "Program" else []
        position = int(value) if kind == "Position" else position
        if kind.startswith("Pitch"):
            onsets[-1][1].append((position, int(value)))
    return onsets


def draw(bars: Sequence[Bar], model: LoadedModel, seed: int, candidates: int) -> list[Bar]:
    """Return four bars that are drawn into others, whose instruments play."""
    numbers = f"{BEFORE + 1}-{BEFORE + FILLED}"
    config = SamplingConfig(fill=numbers, bars=len(bars), candidates=candidates)
    score = tokenizers.get("remi").decode([*chain(*bars)])
    source = open_source(score, config, model.vocabulary)
    source = replace(source, drawn=frozenset(program for program, _ in onsets_of(bars)))
    sampler = Sampler(model.network, model.vocabulary, config, model.match_weights)
    tokens = Filler(sampler, source, seed).draw().tokens
    return split_bars(split(tokens))[HIDDEN]


def nll_after(before: Sequence[Bar], after: Sequence[Bar], model: LoadedModel) -> float:
    """Return the nats per token of bars given those before them."""
    vocabulary = model.vocabulary
    given, both = (
        vocabulary.encoding.abbreviate([*chain(*x)]) for x in (before, [*before, *after])
    )
    merged = map(vocabulary.apply_merges, (given, both[len(given) :]))
    first, second = map(vocabulary.ids_of, merged)
    weights, ids = model.match_weights, np.append(first, second)
    memory = MatchModel.begin(vocabulary, weights) if weights else None
    assert ids.min() >= 0, "a model lacks tokens of the other's data"
    ((nats, _),) = score_network(model.network, [ids], memory)[-1]
    return float(nats[-len(second) :].mean())


def joins(piece: Sequence[Bar], filled: Sequence[Bar], after: Sequence[Bar]) -> list[bool]:
    """Return for each pitched program whether it goes on by one of the piece's usual intervals.

    These are the middle 95 % of the intervals between its highest pitches in the whole piece.
    """
    lines: list[dict[int, list[int]]] = [{}, {}, {}]
    for line, bars in zip(lines, (piece, filled, after), strict=True):
        for program, onsets in onsets_of(bars):
            line.setdefault(program, []).extend(dict(onsets).values())
    whole, old, new = lines
    usual = []
    for program in sorted(old.keys() & new.keys() - {DRUMS}):
        low, high = np.quantile(np.diff(whole[program]), [0.025, 0.975])
        usual.append(bool(low <= new[program][0] - old[program][-1] <= high))
    return usual


def contents(bars: Iterable[Bar], *, relative: bool) -> list[Content]:
    """Return what each program plays in each bar, `relative` to its lowest pitch."""
    sets = []
    for program, onsets in onsets_of(bars):
        lowest = min(pitch for _, pitch in onsets) if relative and program != DRUMS else 0
        sets.append((program, frozenset((x, pitch - lowest) for x, pitch in onsets)))
    return sets


def measure(
    piece: Sequence[Bar],
    start: int,
    models: Sequence[LoadedModel],
    training: Sequence[set[Content]],
    seed: int,
) -> dict[str, Row]:
    """Return what is measured for each way to fill four bars; the first model draws them."""
    bars, rows = piece[start : start + SIZE], {}
    others = [*piece[: start + HIDDEN.start], *piece[start + HIDDEN.stop :]]
    known = {*contents(others, relative=False)}, *training
    for name, candidates in WAYS.items():
        filled = draw(bars, models[0], seed, candidates) if candidates else bars[HIDDEN]
        before, after = [*bars[:BEFORE], *filled], bars[HIDDEN.stop :]
        exact, relative = (contents(filled, relative=x) for x in (False, True))
        copies = zip((exact, exact, relative), known, strict=True)
        flags = [joins(piece, filled, after), *([x in y for x in xs] for xs, y in copies)]
        rows[name] = [nll_after(before, after, model) for model in models], flags
    return rows


def format_table(places: Sequence[dict[str, Row]], n_models: int) -> list[str]:
    """Return a Markdown table with 95 % intervals over the places."""
    columns = ["NLL", "minus true", "minus left alone"] * n_models
    lines = markdown_head(["", *columns, *SHARES])
    nlls = {name: np.array([place[name][0] for place in places]).T for name in WAYS}
    for name in WAYS:
        cells = [name]
        for index, nll in enumerate(nlls[name]):
            gaps = [estimate_mean(nll - nlls[other][index]) for other in [*WAYS][:2]]
            cells += [f"{nll.mean():.3f}", *(x.format("+.3f") for x in gaps)]
        for flags in zip(*(place[name][1] for place in places), strict=True):
            share = estimate_mean([*map(sum, flags)], [*map(len, flags)])
            cells.append(share.format(".2f"))
        lines.append(markdown_row(cells))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, default=Path("model"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument(
        "--judge", type=Path, nargs="*", default=[], help="other models of the data, for the NLL"
    )
    parser.add_argument("--places", type=int, default=5, help="places per held-out piece")
    args = parser.parse_args(argv)
    model, dataset = open_with_dataset([str(args.model_dir), str(args.data_dir)])
    models = [model, *(open_model(folder, "best") for folder in args.judge)]

    def read(pieces: Mapping[str, np.ndarray]) -> list[list[Bar]]:
        tokens = model.vocabulary.tokens
        return [split_bars(split(tokens[i] for i in ids[:-1])) for ids in pieces.values()]

    bars = [bar for piece in read(dataset.training) for bar in piece]
    training = [{*contents(bars, relative=relative)} for relative in (False, True)]
    rng = np.random.default_rng(0)
    pieces = read(dataset.held_out)
    starts = [rng.permutation(max(0, len(piece) - SIZE)) for piece in pieces]
    places = [
        (piece, int(order[index]))
        for index in range(args.places)
        for piece, order in zip(pieces, starts, strict=True)
        if index < len(order)
    ]
    rows = [
        measure(piece, start, models, training, seed)
        for seed, (piece, start) in enumerate(tqdm(places, disable=None))
    ]
    print(f"{len(rows)} places", *format_table(rows, len(models)), sep="\n")


if __name__ == "__main__":
    main()
