"""The network's held-out score beside the n-gram baseline's, both without and with memory.

Knows no files and not what a token means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midilstm.data.dataset import Dataset
from midilstm.evaluation.features import estimate
from midilstm.evaluation.likelihood import (
    by_network,
    by_ngram,
    by_section,
    nats_of,
    predicted,
    summary,
)
from midilstm.evaluation.ngram import NGram, count
from midilstm.evaluation.piece_sets import subsample
from midilstm.generation.network import Network
from midilstm.repetition.fit import collect_examples, fit_weights
from midilstm.repetition.match_model import MatchModel, MatchWeights, bars_per_token
from midilstm.tokenizers.vocabulary import KEYS, Vocabulary

ORDER = 6  # of the longest n-grams
TRAINING_PIECES = 100  # scored at most: enough to see what is known by heart
FITTED = 40_000  # tokens on which the n-gram's memory is fitted, at least


@dataclass(frozen=True)
class Baseline:
    """An n-gram, what it is, and what it predicts."""

    facts: dict[str, Any]
    ngram: NGram
    found: list[np.ndarray]


def ngrams(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray], tables: Sequence[np.ndarray]
) -> Iterator[Baseline]:
    """Yield the n-grams, each with its predictions of the held-out pieces.

    Training pieces are counted as written, and by each of the tables: the new id int [V] of each.
    """
    size = len(tables[0])
    for keys in ([np.arange(size)], tables):
        pieces = [table[ids] for table in keys for ids in training]
        for order, ngram in enumerate(count(pieces, size, ORDER), 1):
            name = "unigram" if order == 1 else f"{order}-gram"
            results = by_ngram(ngram, held_out)
            found = predicted(f"{name}, {len(keys)} keys", len(held_out), results)
            facts = {"name": name, "order": order, "keys": len(keys)}
            facts["nll_per_token"] = float(nats_of(found, 0).sum() / sum(map(len, held_out)))
            yield Baseline(facts, ngram, found)


def best_ngram(every: Iterable[Baseline]) -> tuple[Baseline, list[dict[str, Any]]]:
    """Return the n-gram with the lowest nats, and the facts of all.

    It is chosen by its held-out score itself: none could be harder to beat.
    """
    rows: list[dict[str, Any]] = []
    best = None
    for one in every:
        rows.append(one.facts)
        if not best or one.facts["nll_per_token"] < best.facts["nll_per_token"]:
            best = one
    assert best
    return best, rows


def weights_for_ngram(
    training: Sequence[np.ndarray],
    tables: Sequence[np.ndarray],
    order: int,
    clock: Sequence[float],
    delay: float,
) -> MatchWeights:
    """Return the weights of the memory that serves an n-gram best.

    It is counted on half of the training pieces and the weights fitted on others, whose notes it
    does not know by heart.
    """
    counted = [table[ids] for table in tables for ids in training[::2]]
    *_, ngram = count(counted, len(clock), order)
    lengths = np.cumsum([len(ids) for ids in training[1::2]])
    others = training[1::2][: int(np.searchsorted(lengths, FITTED)) + 1]

    def scores_of(ids: np.ndarray) -> np.ndarray:
        return np.concatenate([np.log(rows, dtype=np.float32) for rows in ngram.rows(ids)])

    return fit_weights(collect_examples(others, scores_of, clock, delay), delay)


def _beside(
    mine: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    facts: dict[str, Any],
    corpus: Dataset,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Set an n-gram beside the network, both without memory or both with it."""
    way = len(theirs[0]) - 1
    tokens = np.array([len(costs[0, 0]) for costs in mine])
    return {
        "best": {**facts, **summary(theirs, way, corpus.held_out, corpus, rng)},
        "model_minus_baseline": estimate(
            nats_of(mine, way) - nats_of(theirs, way), tokens, rng=rng
        ),
    }


def score(
    network: Network,
    corpus: Dataset,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    weights: MatchWeights | None = None,
) -> dict[str, Any]:
    """Return the network's scores and, where there is something to count, the n-gram baseline's.

    With `weights` each stands there with the memory of the piece mixed in, too.
    """
    clock = bars_per_token(vocabulary)
    memory = MatchModel.begin(clock, weights) if weights else None
    result: dict[str, Any] = {"scores": {}}
    few = subsample(corpus.training, TRAINING_PIECES, rng)
    for name, pieces in (("training", few), ("held_out", corpus.held_out)):
        if pieces:
            results = by_network(network, list(pieces.values()), memory)
            mine = predicted(f"Scoring {name.replace('_', '-')} pieces", len(pieces), results)
            scores = summary(mine, 0, pieces, corpus, rng)
            result["scores"][name] = {**scores, "of": len(getattr(corpus, name))}
            if memory:
                with_memory = summary(mine, 1, pieces, corpus, rng)
                result["scores"][name]["with_memory"] = with_memory
    if not corpus.held_out:
        return result
    held_out = list(corpus.held_out.values())
    ways = {"network": (mine, 0)} | ({"network_with_memory": (mine, 1)} if memory else {})
    if training := list(corpus.training.values()):
        tables = [vocabulary.transposed(shift) for shift in KEYS]
        best, every = best_ngram(ngrams(training, held_out, tables))
        facts = {"all": every, **_beside(mine, best.found, best.facts, corpus, rng)}
        ways["ngram"] = best.found, 0
        if weights and len(training) > 1:
            keys = tables if best.facts["keys"] > 1 else [np.arange(len(vocabulary))]
            own = weights_for_ngram(
                training, keys, best.facts["order"], clock, weights.min_lag_bars
            )
            results = by_ngram(best.ngram, held_out, MatchModel.begin(clock, own))
            theirs = predicted("N-gram with memory", len(held_out), results)
            ways["ngram_with_memory"] = theirs, 1
            facts["with_memory"] = _beside(mine, theirs, best.facts, corpus, rng)
            facts["with_memory"]["weights"] = own.to_json()
        result["ngram_baseline"] = facts
    result["parts"] = by_section(held_out, ways)
    return result
