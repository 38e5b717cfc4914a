"""Compare a network's held-out likelihood with the best n-gram's, both with a match model too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from midilstm.data.dataset import Dataset
from midilstm.evaluation.estimates import Estimate, estimate_mean
from midilstm.evaluation.likelihood import (
    Likelihood,
    Predictions,
    Sections,
    by_section,
    nll_per_piece,
    score_network,
    score_ngram,
    summarize,
)
from midilstm.evaluation.ngram import NGram, count_ngrams
from midilstm.evaluation.piece_sets import subsample
from midilstm.generation.network import Network
from midilstm.repetition.fit import collect_examples, fit_weights
from midilstm.repetition.match_model import MatchModel, MatchWeights, bars_per_token
from midilstm.tokenizers.vocabulary import KEYS, Vocabulary

ORDER = 6  # of the longest n-grams
MAX_TRAINING_PIECES = 100  # scored; enough to see overfitting
MIN_FIT_TOKENS = 40_000  # on which the n-gram's match model is fitted


@dataclass(frozen=True)
class NGramSummary:
    """An n-gram: its order, in how many keys training pieces were counted, its held-out loss."""

    name: str
    order: int
    keys: int
    nll_per_token: float

    @property
    def title(self) -> str:
        """Return the name with the number of keys."""
        return self.name + (f" in {self.keys} keys" if self.keys > 1 else "")


@dataclass(frozen=True)
class ScoredNGram:
    """An n-gram and its predictions of the held-out pieces."""

    summary: NGramSummary
    ngram: NGram
    predictions: Predictions


@dataclass(frozen=True)
class Comparison:
    """The likelihood of the best n-gram, and how many nats per token the network needs more."""

    best: Likelihood
    model_minus_baseline: Estimate
    weights: MatchWeights | None = None  # of the n-gram's match model


@dataclass(frozen=True, kw_only=True)
class BaselineStats(Comparison):
    """All n-grams, and the network beside the best of them, without and with match models."""

    all: tuple[NGramSummary, ...]
    best_ngram: NGramSummary
    with_memory: Comparison | None


@dataclass(frozen=True)
class PredictionStats:
    """How well a network predicts training and held-out pieces, beside the best n-gram."""

    scores: dict[str, Likelihood]
    ngram_baseline: BaselineStats | None = None
    by_section: Sections | None = None


def score_ngrams(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray], tables: Sequence[np.ndarray]
) -> Iterator[ScoredNGram]:
    """Yield n-grams of all orders with their predictions of the held-out pieces.

    Training pieces are counted as written and then by each table, int [V], of transposed ids.
    """
    size = len(tables[0])
    for keys in ([np.arange(size)], tables):
        pieces = [table[ids] for table in keys for ids in training]
        for order, ngram in enumerate(count_ngrams(pieces, size, ORDER), 1):
            name = "unigram" if order == 1 else f"{order}-gram"
            predictions = score_ngram(ngram, held_out, label=f"{name}, {len(keys)} keys")
            nll = float(nll_per_piece(predictions, 0).sum() / sum(map(len, held_out)))
            yield ScoredNGram(NGramSummary(name, order, len(keys), nll), ngram, predictions)


def best_ngram(ngrams: Iterable[ScoredNGram]) -> tuple[ScoredNGram, list[NGramSummary]]:
    """Return the n-gram with the lowest held-out loss, and the summaries of all.

    The choice by the held-out pieces themselves makes the baseline as strong as it can be.
    """
    summaries: list[NGramSummary] = []
    best = None
    for ngram in ngrams:
        summaries.append(ngram.summary)
        if not best or ngram.summary.nll_per_token < best.summary.nll_per_token:
            best = ngram
    assert best
    return best, summaries


def fit_ngram_weights(
    training: Sequence[np.ndarray],
    tables: Sequence[np.ndarray],
    order: int,
    bars: Sequence[float],
    min_lag_bars: float,
) -> MatchWeights:
    """Return the weights of the match model that suits an n-gram best.

    One half of the training pieces is counted and the weights are fitted on the other, which the
    n-gram does not know.
    """
    counted = [table[ids] for table in tables for ids in training[::2]]
    *_, ngram = count_ngrams(counted, len(bars), order)
    lengths = np.cumsum([len(ids) for ids in training[1::2]])
    fitted = training[1::2][: int(np.searchsorted(lengths, MIN_FIT_TOKENS)) + 1]

    def predict(ids: np.ndarray) -> np.ndarray:
        rows = ngram.probabilities(ids)
        return np.concatenate([np.log(row, dtype=np.float32) for row in rows])

    return fit_weights(collect_examples(fitted, predict, bars, min_lag_bars), min_lag_bars)


def measure_prediction(
    network: Network,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    weights: MatchWeights | None = None,
) -> PredictionStats:
    """Return a network's likelihood of the dataset, with `weights` also with the match model."""
    memory = MatchModel.begin(bars_per_token(vocabulary), weights) if weights else None
    scores: dict[str, Likelihood] = {}
    training = subsample(dataset.training, MAX_TRAINING_PIECES, rng)
    predictions: Predictions = []
    for name, pieces in (("training", training), ("held_out", dataset.held_out)):
        if pieces:
            label = f"Scoring {name.replace('_', '-')} pieces"
            predictions = score_network(network, list(pieces.values()), memory, label)
            scores[name] = summarize(predictions, 0, pieces, dataset, rng)
            if memory:
                with_memory = summarize(predictions, 1, pieces, dataset, rng)
                scores[name] = replace(scores[name], with_memory=with_memory)
    if not dataset.held_out:
        return PredictionStats(scores)
    predictors = {"network": (predictions, 0)}
    if memory:
        predictors["network_with_memory"] = predictions, 1
    baseline = None
    if dataset.training:
        baseline, of_ngram = _measure_baseline(predictions, dataset, vocabulary, rng, weights)
        predictors |= of_ngram
    held_out = list(dataset.held_out.values())
    return PredictionStats(scores, baseline, by_section(held_out, predictors))


def _measure_baseline(
    predictions: Predictions,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    weights: MatchWeights | None,
) -> tuple[BaselineStats, dict[str, tuple[Predictions, int]]]:
    """Return the best n-gram beside the network, and its predictions by name, with variants."""
    training, held_out = list(dataset.training.values()), list(dataset.held_out.values())
    tables = [vocabulary.transposed(shift) for shift in KEYS]
    tokens = [len(ids) for ids in held_out]

    def compare(of_ngram: Predictions, variant: int) -> tuple[Likelihood, Estimate]:
        best = summarize(of_ngram, variant, dataset.held_out, dataset, rng)
        difference = nll_per_piece(predictions, variant) - nll_per_piece(of_ngram, variant)
        return best, estimate_mean(difference, tokens, rng=rng)

    chosen, summaries = best_ngram(score_ngrams(training, held_out, tables))
    likelihood, difference = compare(chosen.predictions, 0)
    predictors, with_memory = {"ngram": (chosen.predictions, 0)}, None
    if weights and len(training) > 1:
        keys = tables if chosen.summary.keys > 1 else [np.arange(len(vocabulary))]
        bars, order = bars_per_token(vocabulary), chosen.summary.order
        fitted = fit_ngram_weights(training, keys, order, bars, weights.min_lag_bars)
        memory = MatchModel.begin(bars, fitted)
        remembering = score_ngram(chosen.ngram, held_out, memory, "N-gram with memory")
        predictors["ngram_with_memory"] = remembering, 1
        with_memory = Comparison(*compare(remembering, 1), weights=fitted)
    stats = BaselineStats(
        best=likelihood,
        model_minus_baseline=difference,
        all=tuple(summaries),
        best_ngram=chosen.summary,
        with_memory=with_memory,
    )
    return stats, predictors
