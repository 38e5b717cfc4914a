"""Measure how well filled bars lead into what follows, and how well parts fit a bass that is kept.

    python benchmarks/fill.py --model-dir=band --data-dir=data

prints, for four bars removed from held-out pieces, the mean NLL of the two bars that follow, and
the share of kept bass notes on beats that belong to the harmony of the other instruments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import numpy as np
from tqdm import tqdm

from midilstm import tokenizers
from midilstm.config import SamplingConfig
from midilstm.generation.fill import Filler
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.primer import nearest_tokens
from midilstm.generation.sampler import Sampler
from midilstm.generation.source_piece import open_source
from midilstm.model_dir import load_settings
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.tokenizers.base import split
from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.order import BASS
from midilstm.tokenizers.vocabulary import END_ID

BEFORE, FILLED, AFTER = 8, 4, 2  # bars
WINDOW = 8  # bars of a bass part


class Bar(NamedTuple):
    """A bar's tokens: those before the first program, and by program."""

    header: list[str]
    blocks: dict[int, list[str]]


def split_bars(tokens: Iterable[str]) -> list[Bar]:
    """Return the bars of a piece's unmerged tokens, which begin with a bar."""
    bars: list[Bar] = []
    for token in tokens:
        kind, value = parts(token)
        if kind == "Bar":
            bars.append(Bar([], {}))
            block = bars[-1].header
        elif kind == "Program":
            block = bars[-1].blocks.setdefault(int(value), [])
        block.append(token)
    return bars


def tokens_of(bars: Sequence[Bar]) -> list[str]:
    """Return the tokens of bars."""
    return [x for bar in bars for part in (bar.header, *bar.blocks.values()) for x in part]


def draw(
    bars: Sequence[Bar], config: SamplingConfig, model: LoadedModel, seed: int, **options: float
) -> list[Bar]:
    """Return bars with what is drawn into them; only their instruments play."""
    config = replace(config, bars=len(bars))
    score = tokenizers.get("remi").decode(tokens_of(bars))
    source = open_source(score, config, model.vocabulary)
    programs = {program for bar in bars for program in bar.blocks}
    kept = {program for program, _ in source.kept}
    source = replace(source, drawn=frozenset(programs - kept))
    sampler = Sampler(model.network, model.vocabulary, config, model.match_weights)
    return split_bars(split(Filler(sampler, source, seed, **options).draw().tokens))


def nll_after(before: Sequence[Bar], after: Sequence[Bar], model: LoadedModel) -> float:
    """Return the nats per token of bars given those before them."""
    vocabulary = model.vocabulary
    first, second = (
        vocabulary.ids_of(vocabulary.apply_merges(tokens_of(bars))).tolist()
        for bars in (before, after)
    )
    state, match = model.network.initial_state(), None
    if model.match_weights:
        match = MatchModel.begin(vocabulary, model.match_weights)
    ids, total = [END_ID, *first, *second], 0.0
    for index, token_id in enumerate(ids[:-1]):
        log_probs = state.step(np.array([token_id]))
        if match:
            match.update(np.array([token_id]))
            add_match_bias(log_probs, match)
        if index >= len(first):
            total -= float(log_probs[0, ids[index + 1]])
    return total / len(second)


def fill_row(bars: Sequence[Bar], model: LoadedModel, seed: int) -> dict[str, float]:
    """Return the NLL of the last bars given each way to fill the bars before them."""
    config = SamplingConfig(fill=f"{BEFORE + 1}-{BEFORE + FILLED}")
    ways: dict[str, Callable[[], list[Bar]]] = {
        "true bars": lambda: list(bars),
        "fill, 32 candidates": lambda: draw(bars, config, model, seed),
        "fill, never resampled": lambda: draw(bars, config, model, seed, min_ess=0),
        "from the left alone": lambda: draw(bars, replace(config, candidates=1), model, seed),
    }
    row = {}
    for name, way in ways.items():
        filled = [*bars[:BEFORE], *way()[BEFORE : BEFORE + FILLED]]
        row[name] = nll_after(filled, bars[BEFORE + FILLED :], model)
    return row


def bass_share(bass: Sequence[Bar], others: Sequence[Bar]) -> float | None:
    """Return the share of bass notes on beats whose pitch class others play then, None without."""
    encoding = tokenizers.get("remi")
    lines, chords = (encoding.timed_notes(tokens_of(x)) for x in (bass, others))
    inside = []
    for note in lines:
        if abs(note.start - round(note.start)) < 1e-6 and note.program in BASS:
            sounding = {
                x.pitch % 12
                for x in chords
                if x.start <= note.start < x.start + x.length and x.program >= 0
            }
            inside += [note.pitch % 12 in sounding] if sounding else []
    return sum(inside) / len(inside) if inside else None


def keep_row(
    bars: Sequence[Bar], other: Sequence[Bar], model: LoadedModel, seed: int
) -> dict[str, float]:
    """Return the shares of a bass with its own, a drawn, and another tune's accompaniment."""

    def only(source: Sequence[Bar], is_bass: bool) -> list[Bar]:
        return [
            Bar(x.header, {p: block for p, block in x.blocks.items() if (p in BASS) == is_bass})
            for x in source
        ]

    bass, others = only(bars, is_bass=True), only(bars, is_bass=False)
    if not any(bar.blocks for bar in bass) or not any(bar.blocks for bar in others):
        return {}
    drawn = only(draw(bars, SamplingConfig(keep="bass"), model, seed), is_bass=False)
    shares = {
        "true": bass_share(bass, others),
        "drawn": bass_share(bass, drawn),
        "another tune's": bass_share(bass, only(other, is_bass=False)),
    }
    return {name: share for name, share in shares.items() if share is not None}


def summary(rows: Sequence[dict[str, float]]) -> list[str]:
    """Return the mean of each column, and the difference from the first, with 95 % intervals."""
    names, rng = [*max(rows, key=len)], np.random.default_rng(0)
    table = np.array([[row[name] for name in names] for row in rows if len(row) == len(names)])
    means = table[rng.integers(len(table), size=(2000, len(table)))].mean(axis=1)
    lines = []
    for column, name in enumerate(names):
        low, high = np.percentile(means[:, column] - means[:, 0], [2.5, 97.5])
        mean = table[:, column].mean()
        lines.append(f"{name:24} {mean:6.3f}   minus {names[0]}: {low:+.3f} to {high:+.3f}")
    return [*lines, f"{len(table)} places"]


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, default=Path("model"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--places", type=int, default=5, help="places per held-out piece")
    arguments = parser.parse_args(argv)
    model = open_model(arguments.model_dir, "best")
    model = replace(model, openings=())
    pieces = []
    for name in load_settings(arguments.model_dir).dataset.held_out:
        tokens = tokenizers.read(arguments.data_dir / name, "remi", pedal=model.pedal)
        pieces.append(split_bars(nearest_tokens(tokens, model.vocabulary)))
    rng, size = np.random.default_rng(0), BEFORE + FILLED + AFTER
    places = [
        (index, int(start))
        for index, bars in enumerate(pieces)
        for start in rng.permutation(max(0, len(bars) - size))[: arguments.places]
    ]
    fills, keeps = [], []
    for seed, (index, start) in enumerate(tqdm(places, disable=None)):
        bars, other = pieces[index], pieces[(index + 1) % len(pieces)]
        fills.append(fill_row(bars[start : start + size], model, seed))
        keeps.append(keep_row(bars[start:][:WINDOW], other[start % 8 :][:WINDOW], model, seed))
    print(*summary(fills), "", *summary([row for row in keeps if "true" in row]), sep="\n")


if __name__ == "__main__":
    main()
