"""Compare a network's held-out likelihood with the best n-gram's, both with a match model too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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
from midilstm.repetition.match_model import History, MatchModel, MatchWeights
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


def find_best_ngram(
    training: Sequence[np.ndarray], held_out: Sequence[np.ndarray], tables: Sequence[np.ndarray]
) -> tuple[NGram, Predictions, list[NGramSummary]]:
    """Return the n-gram with the lowest held-out loss, its predictions, and summaries of all.

    Training pieces are counted as written and then by each table, int [V], of transposed ids. The
    choice by the held-out pieces themselves makes the baseline as strong as it can be.
    """
    size, summaries = len(tables[0]), list[NGramSummary]()
    for keys in ([np.arange(size)], tables):
        pieces = [table[ids] for table in keys for ids in training]
        for order, ngram in enumerate(count_ngrams(pieces, size, ORDER), 1):
            name = "unigram" if order == 1 else f"{order}-gram"
            (predictions,) = score_ngram(ngram, held_out)
            nll = float(nll_per_piece(predictions).sum() / sum(map(len, held_out)))
            summaries.append(NGramSummary(name, order, len(keys), nll))
            if summaries[-1] is min(summaries, key=lambda summary: summary.nll_per_token):
                best = ngram, predictions
    return *best, summaries


def fit_ngram_weights(
    training: Sequence[np.ndarray],
    tables: Sequence[np.ndarray],
    order: int,
    vocabulary: Vocabulary,
    min_lag_bars: float,
) -> MatchWeights:
    """Fit an n-gram's match model to the half of the training pieces that the n-gram is not of."""
    *_, ngram = count_ngrams(
        [table[ids] for table in tables for ids in training[::2]], len(vocabulary), order
    )
    lengths = np.cumsum([len(ids) for ids in training[1::2]])
    fitted = training[1::2][: int(np.searchsorted(lengths, MIN_FIT_TOKENS)) + 1]

    def predict(ids: np.ndarray) -> np.ndarray:
        return np.log(np.concatenate([*ngram.probabilities(ids)]), dtype=np.float32)

    begin = partial(History.begin, vocabulary, min_lag_bars)
    return fit_weights(collect_examples(fitted, predict, begin), min_lag_bars)


def measure_prediction(
    network: Network,
    dataset: Dataset,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    weights: MatchWeights | None = None,
) -> PredictionStats:
    """Return a network's likelihood of the dataset, with `weights` also with the match model."""
    memory = MatchModel.begin(vocabulary, weights) if weights else None
    scores, of_network = dict[str, Likelihood](), list[Predictions]()
    training = subsample(dataset.training, MAX_TRAINING_PIECES, rng)
    for name, pieces in (("training", training), ("held_out", dataset.held_out)):
        if pieces:
            of_network = score_network(network, list(pieces.values()), memory)
            n_available = len(dataset.training if name == "training" else dataset.held_out)
            scores[name] = summarize(of_network, pieces, dataset.pieces, n_available)
    if not dataset.held_out:
        return PredictionStats(scores)
    predictors, baseline = {"network": of_network}, None
    if dataset.training:
        baseline, predictors["ngram"] = _measure_baseline(of_network, dataset, vocabulary, weights)
    named = {
        name + suffix: predictions
        for name, variants in predictors.items()
        for suffix, predictions in zip(("", "_with_memory"), variants, strict=False)
    }
    return PredictionStats(scores, baseline, by_section(list(dataset.held_out.values()), named))


def _measure_baseline(
    of_network: Sequence[Predictions],
    dataset: Dataset,
    vocabulary: Vocabulary,
    weights: MatchWeights | None,
) -> tuple[BaselineStats, list[Predictions]]:
    """Return the best n-gram beside the network, and its predictions, as those of the network."""
    training, held_out = list(dataset.training.values()), list(dataset.held_out.values())
    tables = [vocabulary.transposed(shift) for shift in KEYS]
    ngram, predictions, summaries = find_best_ngram(training, held_out, tables)
    best = min(summaries, key=lambda summary: summary.nll_per_token)
    of_ngram, fitted = [predictions], None
    if weights and len(training) > 1:
        keys = tables if best.keys > 1 else [np.arange(len(vocabulary))]
        fitted = fit_ngram_weights(training, keys, best.order, vocabulary, weights.min_lag_bars)
        of_ngram = score_ngram(ngram, held_out, MatchModel.begin(vocabulary, fitted))

    def compare(variant: int, weights: MatchWeights | None = None) -> Comparison:
        difference = nll_per_piece(of_network[variant]) - nll_per_piece(of_ngram[variant])
        return Comparison(
            summarize([of_ngram[variant]], dataset.held_out, dataset.pieces, len(held_out)),
            estimate_mean(difference, list(map(len, held_out))),
            weights,
        )

    with_memory = compare(1, fitted) if fitted else None
    return BaselineStats(
        **vars(compare(0)), all=tuple(summaries), best_ngram=best, with_memory=with_memory
    ), of_ngram
