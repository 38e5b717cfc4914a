"""Measure how much sets of pieces repeat themselves, from how far, and how many end in loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from midilstm.evaluation.estimates import Estimate, estimate_mean, estimate_median
from midilstm.evaluation.piece_sets import Pieces
from midilstm.repetition.metrics import in_loop, longest_loop, longest_repeat, repeat_lags

SPANS = (4, 8, 16, 32)


@dataclass(frozen=True)
class Extent(Estimate):
    """A mean over pieces, with the largest value."""

    max: int = 0


@dataclass(frozen=True)
class RepetitionStats:
    """How a set of pieces repeats itself; lengths are in tokens.

    `spans` has, by the number of tokens of a run, the mean over pieces of the `share` of runs that
    came earlier in the piece, and the median distance to them in `tokens` and in `bars`.
    """

    pieces: int
    spans: Mapping[str, Mapping[str, Estimate]]
    longest_repeat: Extent
    longest_loop: Extent
    n_ending_in_loop: int


def _measure_spans(
    pieces: Sequence[np.ndarray], starts: Sequence[np.ndarray], span: int
) -> dict[str, Estimate]:
    """Measure the runs of `span` ids of pieces int [n]; `starts` has the bars before each id."""
    lags = [repeat_lags(ids, span) for ids in pieces]
    repeats = [np.flatnonzero(lag) for lag in lags]
    bars = [
        np.round(start[repeat] - start[repeat - lag[repeat]], 6)
        for start, repeat, lag in zip(starts, repeats, lags, strict=True)
    ]
    return {
        "share": estimate_mean([np.mean(lag > 0) for lag in lags if len(lag)]),
        "tokens": estimate_median([lag[lag > 0] for lag in lags]),
        "bars": estimate_median(bars),
    }


def measure_repetition(pieces: Sequence[np.ndarray], bars: Sequence[float]) -> RepetitionStats:
    """Measure pieces int [n]; `bars` [V] is by how many bars each id advances the music."""
    advances = np.asarray(bars, float)
    ends = [np.cumsum(advances[ids]) for ids in pieces]
    starts = [end - advances[ids] for end, ids in zip(ends, pieces, strict=True)]
    loops = [longest_loop(ids, end) for ids, end in zip(pieces, ends, strict=True)]
    bar = tqdm(pieces, "Measuring repetition", delay=1, leave=False, disable=None)
    repeats = [longest_repeat(ids) for ids in bar]
    return RepetitionStats(
        pieces=len(pieces),
        spans={str(span): _measure_spans(pieces, starts, span) for span in SPANS},
        longest_repeat=Extent(**vars(estimate_mean(repeats)), max=max(repeats)),
        longest_loop=Extent(**vars(estimate_mean(loops)), max=max(loops)),
        n_ending_in_loop=sum(map(in_loop, pieces, ends)),
    )


def compare_repetition(
    sets: Mapping[str, Pieces], bars: Sequence[float]
) -> dict[str, RepetitionStats]:
    """Measure each set of pieces; `bars` as for `measure_repetition`."""
    return {group: measure_repetition([*pieces.values()], bars) for group, pieces in sets.items()}
