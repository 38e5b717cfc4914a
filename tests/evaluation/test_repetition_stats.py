"""Repetition of sets of pieces against a naive search, and of pieces with known repetition."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from made_pieces import BAR

from midilstm.evaluation.estimates import Estimate
from midilstm.evaluation.repetition_stats import compare_repetition, measure_repetition


def search(ids: np.ndarray, span: int) -> list[int]:
    """Return for each run how many tokens ago it last began, 0 for a new one, by searching."""
    runs = [tuple(ids[i : i + span].tolist()) for i in range(len(ids) - span + 1)]
    earlier = ([j for j in range(i) if runs[j] == run] for i, run in enumerate(runs))
    return [i - max(starts) if starts else 0 for i, starts in enumerate(earlier)]


@pytest.mark.parametrize("span", [4, 8])
def test_shares_and_distances_equal_those_of_a_search(span: int) -> None:
    lengths = (60, 90, 5, 41)
    pieces = [np.random.default_rng(length).integers(1, 4, length) for length in lengths]
    share, tokens, bars = measure_repetition(pieces, BAR).spans[str(span)].values()
    lags = [search(ids, span) for ids in pieces]
    shares = [np.mean([lag > 0 for lag in piece]) for piece in lags if piece]
    assert share.value == pytest.approx(np.mean(shares))
    since = sorted(lag for piece in lags for lag in piece if lag)
    assert tokens.value == since[(len(since) - 1) // 2]  # the lower median
    assert bars.value == tokens.value / 4  # every id is a quarter note long
    for estimate in (share, tokens):
        low, high = estimate.interval or (1, 0)
        assert low <= (estimate.value or 0) <= high


def test_bars_are_sums_of_the_advances_of_ids() -> None:
    ids = np.array([1, 2, 3, 3, 2, 1, 2, 3, 3])  # 1 2 3 3 is repeated after five tokens
    _, tokens, bars = measure_repetition([ids], [0.0, 1.0, 0.0, 0.25]).spans["4"].values()
    assert (tokens.value, bars.value) == (5, 1.5)


def test_longest_repeats_and_loops_have_a_mean_and_a_maximum() -> None:
    new = np.arange(8) + 1
    looping = np.concatenate([new, np.tile([3, 5, 7], 8)])  # 24 ids: six bars of a loop
    repeating = np.concatenate([new, [5], new])
    stats = measure_repetition([looping, repeating], [0.25] * 9)
    assert stats.n_ending_in_loop == 1
    assert (stats.longest_repeat.max, stats.longest_repeat.value) == (21, (21 + 8) / 2)
    assert (stats.longest_loop.max, stats.longest_loop.value) == (24, 12)


@pytest.mark.parametrize("ids", [[1], [1, 2], [1, 2, 3, 1]])
def test_short_pieces_have_no_repetition(ids: list[int]) -> None:
    stats = compare_repetition({"generated": {"a": np.array(ids)}}, BAR)["generated"]
    json.dumps(asdict(stats), allow_nan=False)
    assert set(stats.spans["8"].values()) == {Estimate()}
    assert stats.n_ending_in_loop == 0
