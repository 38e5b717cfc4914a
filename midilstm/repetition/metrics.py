"""What comes back in a piece, and from how far; knows ids and no tokens."""

from __future__ import annotations

import numpy as np

LOOP = 2.0  # bars: what goes round for longer is form


def returns(ids: np.ndarray, span: int) -> np.ndarray:
    """Return how many ids ago each span of a piece int [n] last began, int [n - span + 1].

    It is 0 where the span is new. The time grows as n log n.
    """
    count = max(0, len(ids) - span + 1)
    names, size = np.unique(ids, return_inverse=True)[1].astype(np.int64), 1
    while count and size < span:  # names of spans twice as long, or of those asked for
        step = min(size, span - size)
        pairs = names[: len(names) - step] * len(ids) + names[step:]
        names, size = np.unique(pairs, return_inverse=True)[1].astype(np.int64), size + step
    order = np.argsort(names[:count], kind="stable")
    back = np.zeros(count, int)
    same = np.diff(names[:count][order]) == 0
    back[order[1:][same]] = np.diff(order)[same]
    return back


def longest_loop(ids: np.ndarray, ends: np.ndarray) -> int:
    """Return the length of the longest stretch of at most LOOP bars going round, 0 for none.

    It goes round three times or more. `ends` float [n] has the bars after each id.
    """
    best = 0
    within = np.searchsorted(ends, ends + LOOP, side="right") - np.arange(len(ids))
    for period in range(1, min(int(within.max(initial=1)), len(ids))):
        breaks = np.flatnonzero(ids[period:] != ids[:-period])
        edges = np.concatenate([[-1], breaks, [len(ids) - period]])
        length = int(np.diff(edges).max()) - 1 + period
        best = max(best, length) if length >= 3 * period else best
    return best
