"""Repetition metrics against plain searches."""

import numpy as np
import pytest

from midilstm.repetition.metrics import (
    bar_lags,
    in_loop,
    longest_loop,
    longest_repeat,
    repeat_lags,
    repeated_mask,
)

IDS = np.random.default_rng(3).integers(0, 3, 200)


def test_a_lag_counts_from_the_latest_occurrence() -> None:
    ids = np.array([1, 2, 3, 9, 1, 2, 3, 8, 7, 1, 2, 3])
    assert repeat_lags(ids, 3).tolist() == [0, 0, 0, 0, 4, 0, 0, 0, 0, 5]
    assert repeat_lags(ids[:2], 3).tolist() == []


@pytest.mark.parametrize("span", [1, 2, 3, 5, 8])
def test_lags_and_repeated_ids_equal_those_of_a_search(span: int) -> None:
    spans = [tuple(IDS[i : i + span]) for i in range(len(IDS) - span + 1)]
    lags = [
        next((lag for lag in range(1, i + 1) if spans[i - lag] == spans[i]), 0)
        for i in range(len(spans))
    ]
    assert repeat_lags(IDS, span).tolist() == lags
    mask = [any(lags[max(0, i - span + 1) : i + 1]) for i in range(len(IDS))]
    assert repeated_mask(IDS, span).tolist() == mask


def test_a_bar_is_repeated_whatever_its_velocities_and_durations() -> None:
    def bar(program: int, pitch: int, loud: int, length: str) -> list[str]:
        note = [f"Pitch_{pitch}", f"Velocity_{loud}", f"Duration_{length}"]
        return [f"Program_{program}", "Position_0", *note, "Position_12", *note]

    first = ["Bar_None", "TimeSig_4/4", *bar(33, 40, 79, "1.0.12"), *bar(0, 60, 79, "1.0.12")]
    second = ["Bar_None", *bar(33, 41, 79, "1.0.12"), *bar(0, 60, 95, "2.0.12")]
    third = ["Bar_None", *bar(33, 40, 63, "1.0.12"), *bar(1, 60, 79, "1.0.12")]
    by_instrument, whole = bar_lags([*first, *second, *third, *first])
    assert by_instrument.tolist() == [0, 0, 0, 1, 2, 0, 1, 2] and whole.tolist() == [0, 0, 0, 3]
    assert [lags.tolist() for lags in bar_lags([])] == [[], []]


def test_the_longest_repeat_is_the_longest_span_with_a_lag() -> None:
    longest = max(span for span in range(len(IDS)) if repeat_lags(IDS, span).any())
    assert longest_repeat(IDS) == longest
    assert longest_repeat(np.arange(9)) == longest_repeat(np.arange(0)) == 0


def test_a_loop_has_a_short_period_and_three_rounds() -> None:
    ids, quarter_bars = np.array([9, *[1, 2, 3] * 3, 8]), np.arange(1, 12) / 4
    assert longest_loop(ids, quarter_bars) == 9
    assert longest_loop(ids[:9], quarter_bars[:9]) == 0  # two rounds and a part
    assert longest_loop(ids, quarter_bars * 4) == 0  # a period of three bars


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([9, *[1, 2] * 8], True),
        ([9, *[1, 2] * 7], False),  # less than four bars
        ([*[1, 2] * 8, 9], False),  # it ends otherwise
        ([9, *range(1, 9), *range(1, 9)], True),
        ([9, *range(1, 10), *range(1, 10)], False),  # the period exceeds two bars
    ],
)
def test_a_piece_is_stuck_if_it_ends_with_four_bars_of_a_loop(
    ids: list[int], expected: bool
) -> None:
    assert in_loop(np.array(ids), np.full(len(ids), 0.25).cumsum()) == expected
