"""The form of generated pieces beside people's: what comes back, from how far, and loops.

Knows ids and by how many bars each moves on, no tokens, no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.evaluation.features import RESAMPLES, estimate, middle
from midilstm.evaluation.piece_sets import LISTENED, Pieces, subsample
from midilstm.repetition.metrics import in_loop, longest_loop, longest_repeat, repeat_lags

SPANS = (4, 8, 16, 32)


def median(pieces: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """Return {value, interval} of the median of all values of all pieces, float [n] each.

    Of two in the middle it is the lower one. The interval is the bootstrap's, over pieces.
    """
    kinds, which = np.unique(np.concatenate(pieces), return_inverse=True)
    if not len(kinds):
        return {"value": None, "interval": None}
    ends = np.cumsum([len(values) for values in pieces])
    counts = [np.bincount(part, minlength=len(kinds)) for part in np.split(which, ends[:-1])]
    drawn = rng.multinomial(len(pieces), np.full(len(pieces), 1 / len(pieces)), RESAMPLES)
    draws = np.vstack([np.ones(len(pieces)), drawn if len(pieces) > 1 else drawn[:0]])
    sums = (draws @ np.array(counts, float)).cumsum(axis=1)
    sums = sums[sums[:, -1] > 0]  # some draws may have nothing but pieces without values
    medians = kinds[(2 * sums >= sums[:, -1:]).argmax(axis=1)]
    return {"value": float(medians[0]), "interval": middle(medians[1:])}


def _of_span(
    pieces: Sequence[np.ndarray], begins: Sequence[np.ndarray], span: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return what share of a piece's spans came earlier, in all and by thirds, and from how far.

    Shares are means over pieces, so that each counts as much; distances are medians over all spans.
    """
    found = [repeat_lags(ids, span) for ids in pieces]
    places = [np.flatnonzero(back) for back in found]
    bars = [
        np.round(begin[at] - begin[at - back[at]], 6)
        for begin, at, back in zip(begins, places, found, strict=True)
    ]
    thirds = [np.array_split(back > 0, 3) for back in found if len(back) >= 3]
    return {
        "share": estimate([np.mean(back > 0) for back in found if len(back)], rng=rng),
        "thirds": [
            float(np.mean([np.mean(p) for p in part])) for part in zip(*thirds, strict=True)
        ],
        "tokens": median([back[at] for back, at in zip(found, places, strict=True)], rng),
        "bars": median(bars, rng),
    }


def of_pieces(
    pieces: Sequence[np.ndarray], clock: Sequence[float], rng: np.random.Generator
) -> dict[str, Any]:
    """Return the form of pieces int [n]; `clock` has the bars that each id moves on."""
    bars = np.asarray(clock, float)
    ends = [np.cumsum(bars[ids]) for ids in pieces]
    begins = [end - bars[ids] for end, ids in zip(ends, pieces, strict=True)]
    loops = [longest_loop(ids, end) for ids, end in zip(pieces, ends, strict=True)]
    caught = [in_loop(ids, end) for ids, end in zip(pieces, ends, strict=True)]
    bar = tqdm(pieces, "Measuring form", unit="piece", delay=1, leave=False, disable=None)
    lengths = [longest_repeat(ids) for ids in bar]
    return {
        "pieces": len(pieces),
        "spans": {str(span): _of_span(pieces, begins, span, rng) for span in SPANS},
        "longest_repeat": {**estimate(lengths, rng=rng), "most": max(lengths)},
        "longest_loop": {**estimate(loops, rng=rng), "most": max(loops)},
        "n_ending_in_loop": sum(caught),
    }


def compare(
    sets: Mapping[str, Pieces], clock: Sequence[float], rng: np.random.Generator
) -> dict[str, Any]:
    """Return the form of each set of pieces; of very many, some are drawn."""
    chosen = {group: subsample(pieces, LISTENED, rng) for group, pieces in sets.items()}
    return {group: of_pieces(list(of.values()), clock, rng) for group, of in chosen.items()}
