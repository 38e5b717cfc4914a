"""How well something predicts whole pieces: nats a token, a note, a quarter.

Without and with the memory of the piece. Knows no files and not what a token means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.data.dataset import Dataset
from midilstm.evaluation.features import estimate
from midilstm.evaluation.ngram import NGram
from midilstm.evaluation.piece_sets import Pieces
from midilstm.generation.network import Network
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.repetition.metrics import repeated_mask
from midilstm.tokenizers.vocabulary import END_ID

TOP = 5
GROUP = 64  # pieces side by side in the network
THIRDS = ("first third", "second third", "last third")
REPEATS = (8, 32)  # tokens: inside and outside of verbatim repeats of so many

# A piece's number; float32 [ways, 2, n]: nats and how many ids are likelier, at each place, without
# memory and, where there is one, with it.
Predicted = tuple[int, np.ndarray]


def _costs(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return float [2, B] of log probabilities [B, V]: the targets' nats, and the likelier ids."""
    right = rows[np.arange(len(rows)), targets, None]
    return np.stack([-right[:, 0], (rows > right).sum(axis=1)])


def by_network(
    network: Network, pieces: Sequence[np.ndarray], memory: MatchModel | None = None
) -> Iterator[Predicted]:
    """Predict each piece from a state of zeros, the longest first, a group side by side.

    `memory` is of one piece, not begun, as sampling takes it.
    """
    order = np.argsort([-len(ids) for ids in pieces], kind="stable")
    for group in np.split(order, range(GROUP, len(order), GROUP)):
        lengths = np.array([len(pieces[number]) for number in group])
        ids = np.full((lengths[0] + 1, len(group)), END_ID)
        for lane, number in enumerate(group):
            ids[1 : lengths[lane] + 1, lane] = pieces[number]
        found = np.zeros((2 if memory else 1, 2, lengths[0], len(group)), np.float32)
        lanes, alive = network.initial_state(len(group)), len(group)
        remembered = memory and memory.select_rows([0] * alive)
        for step, (fed, targets) in enumerate(pairwise(ids)):
            if (longer := int(np.count_nonzero(lengths > step))) < alive:
                lanes, alive = lanes.select_rows(range(longer)), longer
                if remembered:
                    remembered = replace(remembered, histories=remembered.histories[:longer])
            rows, targets = lanes.step(fed[:alive]), targets[:alive]
            found[0, :, step, :alive] = _costs(rows, targets)
            if remembered:
                remembered.update(fed[:alive])
                add_match_bias(rows, remembered)
                found[1, :, step, :alive] = _costs(rows, targets)
        for lane, number in enumerate(group):
            yield int(number), found[:, :, : lengths[lane], lane]


def by_ngram(
    ngram: NGram, pieces: Sequence[np.ndarray], memory: MatchModel | None = None
) -> Iterator[Predicted]:
    """Predict each piece by counting."""
    for number, ids in enumerate(pieces):
        found, start = np.zeros((2 if memory else 1, 2, len(ids)), np.float32), 0
        remembered, fed = memory and memory.select_rows([0]), np.append(END_ID, ids[:-1])
        for rows in map(np.log, ngram.rows(ids)):
            here = slice(start, start + len(rows))
            found[0, :, here] = _costs(rows, ids[here])
            if remembered:
                for place in range(len(rows)):
                    remembered.update(fed[start + place :][:1])
                    add_match_bias(rows[place : place + 1], remembered)
                found[1, :, here] = _costs(rows, ids[here])
            start = here.stop
        yield number, found


def predicted(label: str, number: int, results: Iterable[Predicted]) -> list[np.ndarray]:
    """Return the predictions of so many pieces, in the pieces' order."""
    found = [np.empty(0)] * number
    with tqdm(None, label, number, unit="piece", delay=1, leave=False, disable=None) as bar:
        for piece, costs in results:
            found[piece] = costs
            bar.update()
    return found


def nats_of(found: Sequence[np.ndarray], way: int) -> np.ndarray:
    """Return float [pieces], each piece's nats in one of the ways it was predicted."""
    return np.array([costs[way, 0].sum(dtype=float) for costs in found])


def summary(
    found: Sequence[np.ndarray], way: int, pieces: Pieces, corpus: Dataset, rng: np.random.Generator
) -> dict[str, Any]:
    """Return totals divided once, each with its interval over pieces."""
    nats, likelier = nats_of(found, way), [costs[way, 1] for costs in found]
    tokens = np.array([len(ids) for ids in pieces.values()])
    sizes = [corpus.pieces[name] for name in pieces]
    notes, quarters = np.array([(size.notes, size.quarters) for size in sizes]).T
    a_token = estimate(nats, tokens, rng=rng)
    interval = a_token["interval"] and np.exp(a_token["interval"]).tolist()
    return {
        "pieces": len(tokens),
        "tokens": int(tokens.sum()),
        "nll_per_token": a_token,
        "nll_per_note": estimate(nats, notes, rng=rng),
        "nll_per_quarter": estimate(nats, quarters, rng=rng),
        "perplexity": {"value": float(np.exp(a_token["value"])), "interval": interval},
        "accuracy": estimate([(more == 0).sum() for more in likelier], tokens, rng=rng),
        f"top_{TOP}": estimate([(more < TOP).sum() for more in likelier], tokens, rng=rng),
    }


def parts_of(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parts of a piece, bool [n] each: thirds, inside and outside of repeats."""
    third = np.arange(len(ids)) * 3 // len(ids)
    parts = {name: third == number for number, name in enumerate(THIRDS)}
    for span in REPEATS:
        parts[f"in repeats of {span}"] = repeated = repeated_mask(ids, span)
        parts[f"outside repeats of {span}"] = ~repeated
    return parts


def by_section(
    pieces: Sequence[np.ndarray], predictions: Mapping[str, tuple[Sequence[np.ndarray], int]]
) -> dict[str, Any]:
    """Return each part's share of all tokens, and its nats a token by each of the predictions.

    `predictions` maps a name to pieces' costs and which of their ways is meant. None for nothing.
    """
    masks = [parts_of(ids) for ids in pieces]
    every = sum(map(len, pieces))
    rows: dict[str, Any] = {}
    for part in masks[0]:
        size = sum(int(mask[part].sum()) for mask in masks)
        rows[part] = {"share": size / every}
        for name, (found, way) in predictions.items():
            pairs = zip(found, masks, strict=True)
            nats = sum(float(costs[way, 0, mask[part]].sum(dtype=float)) for costs, mask in pairs)
            rows[part][name] = nats / size if size else None
    return rows
