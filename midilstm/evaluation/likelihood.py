"""How well something predicts whole pieces: nats a token, a note, a quarter; the n-gram baseline.

Knows no files and not what a token means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.corpus.corpus import Corpus
from midilstm.evaluation.ngrams import NGram, count
from midilstm.evaluation.pieces import Pieces, some
from midilstm.evaluation.statistics import estimate
from midilstm.sampling.network import Network
from midilstm.tokens.vocabulary import END_ID, KEYS, Vocabulary

ORDER = 6  # of the longest n-grams
TOP = 5
GROUP = 64  # pieces side by side in the network
TRAINING_PIECES = 100  # scored at most: enough to see what is known by heart

Predicted = tuple[int, np.ndarray]  # a piece's number; float [2, n]: nats, how many are likelier


def by_network(network: Network, pieces: Sequence[np.ndarray]) -> Iterator[Predicted]:
    """Predict each piece from a state of zeros, the longest first, a group side by side."""
    order = np.argsort([-len(ids) for ids in pieces], kind="stable")
    for group in np.split(order, range(GROUP, len(order), GROUP)):
        lengths = np.array([len(pieces[number]) for number in group])
        ids = np.full((lengths[0] + 1, len(group)), END_ID)
        for lane, number in enumerate(group):
            ids[1 : lengths[lane] + 1, lane] = pieces[number]
        found = np.zeros((2, lengths[0], len(group)))
        lanes, alive = network.lanes(len(group)), len(group)
        for step, (fed, targets) in enumerate(pairwise(ids)):
            if (longer := int(np.count_nonzero(lengths > step))) < alive:
                lanes, alive = lanes.take(range(longer)), longer
            rows = lanes.step(fed[:alive])
            right = rows[np.arange(alive), targets[:alive], None]
            found[:, step, :alive] = -right[:, 0], (rows > right).sum(axis=1)
        for lane, number in enumerate(group):
            yield int(number), found[:, : lengths[lane], lane]


def by_ngram(ngram: NGram, pieces: Sequence[np.ndarray]) -> Iterator[Predicted]:
    """Predict each piece by counting."""
    for number, ids in enumerate(pieces):
        found, start = np.zeros((2, len(ids))), 0
        for rows in ngram.rows(ids):
            here = slice(start, start + len(rows))
            right = rows[np.arange(len(rows)), ids[here], None]
            found[:, here] = -np.log(right[:, 0]), (rows > right).sum(axis=1)
            start = here.stop
        yield number, found


def totals(label: str, number: int, results: Iterable[Predicted]) -> np.ndarray:
    """Return float [3, pieces], each piece's sums: nats, ids that are likeliest, or of the TOP."""
    sums = np.zeros((3, number))
    with tqdm(None, label, number, unit="piece", delay=1, leave=False, disable=None) as bar:
        for piece, (nats, likelier) in results:
            sums[:, piece] = nats.sum(), (likelier == 0).sum(), (likelier < TOP).sum()
            bar.update()
    return sums


def summary(
    sums: np.ndarray, pieces: Pieces, corpus: Corpus, rng: np.random.Generator
) -> dict[str, Any]:
    """Return totals divided once, each with its interval over pieces."""
    nats, right, top = sums
    tokens = np.array([len(ids) for ids in pieces.values()])
    sizes = [corpus.sizes[name] for name in pieces]
    notes, quarters = np.array([(size.notes, size.quarters) for size in sizes]).T
    a_token = estimate(nats, tokens, rng=rng)
    interval = a_token["interval"] and np.exp(a_token["interval"]).tolist()
    return {
        "pieces": len(tokens),
        "tokens": int(tokens.sum()),
        "nats_a_token": a_token,
        "nats_a_note": estimate(nats, notes, rng=rng),
        "nats_a_quarter": estimate(nats, quarters, rng=rng),
        "perplexity": {"value": float(np.exp(a_token["value"])), "interval": interval},
        "accuracy": estimate(right, tokens, rng=rng),
        f"top_{TOP}": estimate(top, tokens, rng=rng),
    }


def ngrams(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray], tables: Sequence[np.ndarray]
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return what each n-gram is, and its totals on the held-out pieces.

    Training pieces are counted as written, and by each of the tables: the new id int [V] of each.
    """
    found, size = [], len(tables[0])
    for keys in ([np.arange(size)], tables):
        pieces = [table[ids] for table in keys for ids in training]
        for order, ngram in enumerate(count(pieces, size, ORDER), 1):
            name = "unigram" if order == 1 else f"{order}-gram"
            sums = totals(f"{name}, {len(keys)} keys", len(held_out), by_ngram(ngram, held_out))
            facts = {"name": name, "order": order, "keys": len(keys)}
            facts["nats_a_token"] = float(sums[0].sum() / sum(map(len, held_out)))
            found.append((facts, sums))
    return found


def score(
    network: Network, corpus: Corpus, vocabulary: Vocabulary, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the network's scores and, where there is something to count, the n-gram baseline's.

    The best n-gram is chosen by its held-out score itself: none could be harder to beat.
    """
    result: dict[str, Any] = {"scores": {}}
    few = some(corpus.training, TRAINING_PIECES, rng)
    for name, pieces in (("training", few), ("held_out", corpus.held_out)):
        if pieces:
            found = by_network(network, list(pieces.values()))
            model = totals(f"Scoring {name.replace('_', '-')} pieces", len(pieces), found)
            scores = summary(model, pieces, corpus, rng)
            result["scores"][name] = {**scores, "of": len(getattr(corpus, name))}
    training, held_out = list(corpus.training.values()), list(corpus.held_out.values())
    if training and held_out:
        every = ngrams(training, held_out, [vocabulary.transposed(shift) for shift in KEYS])
        best, sums = min(every, key=lambda one: float(one[0]["nats_a_token"]))
        tokens = np.array([len(ids) for ids in held_out])
        result["ngram_baseline"] = {
            "all": [facts for facts, _ in every],
            "best": {**best, **summary(sums, corpus.held_out, corpus, rng)},
            "model_minus_best": estimate(model[0] - sums[0], tokens, rng=rng),
        }
    return result
