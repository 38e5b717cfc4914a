"""Measure how much of a piece repeats, from how far, and whether it loops."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.order import Place, next_place

LOOP_BARS = 2.0  # the longest period that counts as a loop; longer ones are musical form
ENDING_BARS = 4.0  # how much of a loop a piece must end with to count as stuck in it


def repeat_lags(ids: np.ndarray, span: int) -> np.ndarray:
    """Return how many ids ago each span of a piece int [n] last began, int [n - span + 1].

    It is 0 where the span is new. The time grows as n log n.
    """
    count = max(0, len(ids) - span + 1)
    names, size = np.unique(ids, return_inverse=True)[1].astype(np.int64), 1
    while count and size < span:  # number the spans that are twice as long, or `span` long
        step = min(size, span - size)
        pairs = names[: len(names) - step] * len(ids) + names[step:]
        names, size = np.unique(pairs, return_inverse=True)[1].astype(np.int64), size + step
    order = np.argsort(names[:count], kind="stable")
    lags = np.zeros(count, int)
    same = np.diff(names[:count][order]) == 0
    lags[order[1:][same]] = np.diff(order)[same]
    return lags


def bar_lags(tokens: Iterable[str]) -> list[np.ndarray]:
    """Return how many bars ago each bar of an instrument was last played, and each whole bar.

    There are two int [N], with 0 for what is new. Bars are the same if their positions and pitches
    are. The tokens are unmerged and have places (order.py).
    """
    place, bar = Place(), 0
    contents: list[dict[tuple[int, ...], set[Place]]] = [defaultdict(set), defaultdict(set)]
    for token in tokens:
        kind, value = parts(token)
        bar += kind == "Bar"
        place = next_place(place, kind, value)
        if kind.startswith("Pitch"):
            contents[0][bar, place.rank[-1]].add(place)
            contents[1][bar,].add(place)
    lags: list[list[int]] = [[], []]
    for column, sets in zip(lags, contents, strict=True):
        latest: dict[frozenset[Place], int] = {}
        for (bar, *_), content in sets.items():
            key = frozenset(content)
            column.append(bar - latest.get(key, bar))
            latest[key] = bar
    return [np.array(column, int) for column in lags]


def repeated_mask(ids: np.ndarray, span: int) -> np.ndarray:
    """Return bool [n]: which ids of a piece lie in a span that came earlier in it."""
    changes = np.zeros(len(ids) + 1, int)
    starts = np.flatnonzero(repeat_lags(ids, span))
    np.add.at(changes, starts, 1)
    np.add.at(changes, starts + span, -1)
    return changes.cumsum()[:-1] > 0


def longest_repeat(ids: np.ndarray) -> int:
    """Return the length of the longest span that came earlier in the piece."""
    spans = range(1, max(1, len(ids)))
    return bisect_left(spans, True, key=lambda span: not repeat_lags(ids, span).any())


def longest_loop(ids: np.ndarray, ends: np.ndarray) -> int:
    """Return the length of the longest run of one loop of at most LOOP_BARS, 0 for none.

    It must repeat three times or more. `ends` float [n] has the bars after each id.
    """
    longest = 0
    within = np.searchsorted(ends, ends + LOOP_BARS, side="right") - np.arange(len(ids))
    for period in range(1, min(int(within.max(initial=1)), len(ids))):
        breaks = np.flatnonzero(ids[period:] != ids[:-period])
        edges = np.concatenate([[-1], breaks, [len(ids) - period]])
        length = int(np.diff(edges).max()) - 1 + period
        longest = max(longest, length) if length >= 3 * period else longest
    return longest


def in_loop(ids: np.ndarray, ends: np.ndarray) -> bool:
    """Tell whether a piece ends with ENDING_BARS bars of a loop of at most LOOP_BARS bars.

    The loop must have been repeated once. `ends` float [n] has the bars after each id.
    """
    for period in range(1, len(ids) // 2 + 1):
        if ends[-1] - ends[-1 - period] > LOOP_BARS + 1e-9:
            break
        breaks = np.flatnonzero(ids[period:][::-1] != ids[:-period][::-1])
        length = int(breaks[0]) if len(breaks) else len(ids) - period
        start = len(ids) - length - period
        bars = ends[-1] - (ends[start - 1] if start else 0.0)
        if length >= period and bars >= ENDING_BARS:
            return True
    return False
