"""Measure how much sets of pieces repeat themselves, from how far, and how many end in loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from midilstm.evaluation.estimates import Estimate, estimate_mean, estimate_median
from midilstm.evaluation.piece_sets import MAX_DESCRIBED, Pieces, subsample
from midilstm.repetition.metrics import in_loop, longest_loop, longest_repeat, repeat_lags

SPANS = (4, 8, 16, 32)


@dataclass(frozen=True)
class SpanStats:
    """How many runs of some tokens came earlier in their piece, and how long before.

    The share is the mean over pieces; distances in tokens and in bars are medians over all runs.
    """

    share: Estimate
    tokens: Estimate
    bars: Estimate


@dataclass(frozen=True)
class Extent(Estimate):
    """A mean over pieces, with the largest value."""

    max: int = 0


@dataclass(frozen=True)
class RepetitionStats:
    """How a set of pieces repeats itself; lengths are in tokens."""

    pieces: int
    spans: Mapping[str, SpanStats]  # by the number of tokens
    longest_repeat: Extent
    longest_loop: Extent
    n_ending_in_loop: int


def _measure_spans(
    pieces: Sequence[np.ndarray], starts: Sequence[np.ndarray], span: int, rng: np.random.Generator
) -> SpanStats:
    """Measure the runs of `span` ids of pieces int [n]; `starts` has the bars before each id."""
    lags = [repeat_lags(ids, span) for ids in pieces]
    repeats = [np.flatnonzero(lag) for lag in lags]
    bars = [
        np.round(start[repeat] - start[repeat - lag[repeat]], 6)
        for start, repeat, lag in zip(starts, repeats, lags, strict=True)
    ]
    return SpanStats(
        estimate_mean([np.mean(lag > 0) for lag in lags if len(lag)], rng=rng),
        estimate_median([lag[repeat] for lag, repeat in zip(lags, repeats, strict=True)], rng),
        estimate_median(bars, rng),
    )


def _extent(lengths: Sequence[int], rng: np.random.Generator) -> Extent:
    mean = estimate_mean(lengths, rng=rng)
    return Extent(mean.value, mean.interval, max(lengths))


def measure_repetition(
    pieces: Sequence[np.ndarray], bars: Sequence[float], rng: np.random.Generator
) -> RepetitionStats:
    """Measure pieces int [n]; `bars` [V] is by how many bars each id advances the music."""
    advances = np.asarray(bars, float)
    ends = [np.cumsum(advances[ids]) for ids in pieces]
    starts = [end - advances[ids] for end, ids in zip(ends, pieces, strict=True)]
    loops = [longest_loop(ids, end) for ids, end in zip(pieces, ends, strict=True)]
    bar = tqdm(pieces, "Measuring repetition", delay=1, leave=False, disable=None)
    repeats = [longest_repeat(ids) for ids in bar]
    return RepetitionStats(
        pieces=len(pieces),
        spans={str(span): _measure_spans(pieces, starts, span, rng) for span in SPANS},
        longest_repeat=_extent(repeats, rng),
        longest_loop=_extent(loops, rng),
        n_ending_in_loop=sum(in_loop(ids, end) for ids, end in zip(pieces, ends, strict=True)),
    )


def compare_repetition(
    sets: Mapping[str, Pieces], bars: Sequence[float], rng: np.random.Generator
) -> dict[str, RepetitionStats]:
    """Measure each set of pieces, or some of its pieces where there are very many."""
    chosen = {group: subsample(pieces, MAX_DESCRIBED, rng) for group, pieces in sets.items()}
    return {
        group: measure_repetition(list(pieces.values()), bars, rng)
        for group, pieces in chosen.items()
    }
