"""Form against brute force, and on pieces whose form is known."""

import json
from typing import Any

import numpy as np
import pytest
from made_pieces import BAR

from midilstm.evaluation import repetition_stats as form
from midilstm.repetition.metrics import repeated_mask

RNG = np.random.default_rng(0)


def some_ids(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4, length)


def spans_of(ids: np.ndarray, span: int) -> list[tuple[int, ...]]:
    return [tuple(ids[at : at + span].tolist()) for at in range(len(ids) - span + 1)]


def came_earlier(ids: np.ndarray, span: int) -> list[tuple[int, int]]:
    """Return (place, tokens since) of each span that came earlier in the piece, by searching."""
    spans = spans_of(ids, span)
    return [
        (at, at - max(before for before in range(at) if spans[before] == spans[at]))
        for at in range(len(spans))
        if spans[at] in spans[:at]
    ]


@pytest.mark.parametrize("span", [4, 8])
def test_shares_and_distances_are_those_that_a_search_finds(span: int) -> None:
    pieces = [some_ids(length, length) for length in (60, 90, 5, 41)]
    found = form.of_pieces(pieces, BAR, RNG)["spans"][str(span)]
    every = [came_earlier(ids, span) for ids in pieces]
    counts = [len(spans_of(ids, span)) for ids in pieces]
    shares = [
        len(subsample) / count for subsample, count in zip(every, counts, strict=True) if count
    ]
    assert found["share"]["value"] == pytest.approx(np.mean(shares))
    since = sorted(tokens for piece in every for _, tokens in piece)
    assert found["tokens"]["value"] == since[(len(since) - 1) // 2]  # the lower of two
    assert found["bars"]["value"] == found["tokens"]["value"] / 4  # every id is a quarter
    low, high = found["share"]["interval"]
    assert low <= found["share"]["value"] <= high
    low, high = found["tokens"]["interval"]
    assert low <= found["tokens"]["value"] <= high


def test_bars_are_counted_where_ids_last_differently_long() -> None:
    clock = [0.0, 1.0, 0.0, 0.25]
    ids = np.array([1, 2, 3, 3, 2, 1, 2, 3, 3])  # 1 2 3 3 comes again, five tokens later
    found = form.of_pieces([ids], clock, RNG)["spans"]["4"]
    assert (found["tokens"]["value"], found["bars"]["value"]) == (5, 1.5)


def test_what_comes_back_late_stands_in_the_last_third() -> None:
    ids = np.append(np.arange(100), np.arange(20))
    thirds = form.of_pieces([ids], [0.25] * 100, RNG)["spans"]["8"]["thirds"]
    assert thirds == pytest.approx([0, 0, 13 / 37])


@pytest.mark.parametrize("span", [2, 4, 8])
def test_a_token_is_in_a_repeat_where_any_span_over_it_came_earlier(span: int) -> None:
    ids = some_ids(80, 7)
    wanted = np.zeros(len(ids), bool)
    for at, _ in came_earlier(ids, span):
        wanted[at : at + span] = True
    assert repeated_mask(ids, span).tolist() == wanted.tolist()
    assert not repeated_mask(ids[: span - 1], span).any()


def test_longest_return_and_loop_and_pieces_that_end_in_one() -> None:
    new = np.arange(8) + 1
    looping = np.concatenate([new, np.tile([3, 5, 7], 8)])  # 24 ids: six bars of a loop
    returning = np.concatenate([new, [5], new])
    clock = [0.25] * 9
    found = form.of_pieces([looping, returning], clock, RNG)
    assert found["n_ending_in_loop"] == 1
    assert found["longest_repeat"]["most"] == 21
    assert found["longest_repeat"]["value"] == (21 + 8) / 2
    assert (found["longest_loop"]["most"], found["longest_loop"]["value"]) == (24, 12)
    # What goes round in more than two bars is no loop but form.
    assert form.of_pieces([looping], [1.0] * 9, RNG)["longest_loop"]["most"] == 0


def naive_median(values: list[np.ndarray], draws: np.ndarray) -> list[float]:
    found = []
    for row in draws:
        drawn = np.sort(np.concatenate([np.repeat(v, n) for v, n in zip(values, row, strict=True)]))
        if len(drawn):
            found.append(float(drawn[(len(drawn) - 1) // 2]))
    return found


def test_a_medians_interval_is_that_of_pieces_drawn_again() -> None:
    values = [some_ids(length, length) * 1.5 for length in (3, 8, 1, 4)] + [np.empty(0)]
    found = form.median(values, np.random.default_rng(1))
    draws = np.random.default_rng(1).multinomial(5, np.full(5, 1 / 5), form.RESAMPLES)
    assert found["value"] == naive_median(values, np.ones((1, 5), int))[0]
    assert found["interval"] == form.middle(np.array(naive_median(values, draws)))


@pytest.mark.parametrize("ids", [[1], [1, 2], [1, 2, 3, 1]])
def test_short_pieces_have_no_form(ids: list[int]) -> None:
    found: Any = form.compare({"generated": {"a": np.array(ids)}}, BAR, RNG)
    json.dumps(found, allow_nan=False)
    spans = found["generated"]["spans"]
    assert spans["8"]["share"] == {"value": None, "interval": None}
    assert spans["8"]["tokens"] == {"value": None, "interval": None}
    assert found["generated"]["n_ending_in_loop"] == 0


@pytest.mark.parametrize(
    ("tail", "bars", "caught"),
    [
        ([3, 5, 7, 4] * 5, 0.25, True),
        ([3, 5, 7, 4] * 2, 0.25, False),  # a repeat, for two bars
        ([3] * 20, 0.25, True),
        ([3, 5, 7, 4] * 5, 1.0, False),  # four bars come back: form
        ([3, 5, 7, 4] * 5 + [1], 0.25, False),  # it has found its way out
    ],
)
def test_a_piece_is_caught_where_it_ends_with_four_bars_of_a_short_loop(
    tail: list[int], bars: float, caught: bool
) -> None:
    ids = np.concatenate([np.arange(1, 9), tail])
    assert form.of_pieces([ids], [bars] * 9, RNG)["n_ending_in_loop"] == caught
