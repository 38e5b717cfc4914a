"""The n-gram baseline beside a uniform network, without and with match models."""

from typing import Any

import numpy as np
import pytest
from made_pieces import Uniform, corpus, strains

from midilstm.evaluation import baseline
from midilstm.evaluation.likelihood import score_ngram
from midilstm.evaluation.ngram import count_ngrams
from midilstm.repetition.match_model import MatchModel, MatchWeights
from midilstm.tokenizers.vocabulary import END, Vocabulary

RNG = np.random.default_rng(0)
UNIFORM: Any = Uniform(9)
VOCABULARY = Vocabulary((END, "C4", "D4", "E4", "F#4", "F4", "G4", "A4", "B4"))


def test_the_best_ngram_has_the_order_and_keys_of_the_rule_that_made_the_music() -> None:
    low = np.array([*[1, 2, 3, 4] * 10, 0], np.int32)
    high = np.array([*[5, 6, 7, 8] * 10, 0], np.int32)
    dataset = corpus([low, low], [high, high[8:]])
    stats = baseline.measure_prediction(UNIFORM, dataset, VOCABULARY, RNG)
    for likelihood in stats.scores.values():
        assert likelihood.nll_per_token.value == pytest.approx(np.log(9))
        assert (likelihood.n_available, likelihood.with_memory) == (2, None)
    compared = stats.ngram_baseline
    assert compared
    # The held-out pieces use other ids than the training pieces: only transposition helps.
    assert compared.best_ngram.keys == 12
    assert compared.best_ngram.order > 1
    assert (compared.best.accuracy.value or 0) > 0.9
    names = ["unigram", "2-gram", "3-gram", "4-gram", "5-gram", "6-gram"]
    assert [summary.name for summary in compared.all] == names * 2
    lowest = min(summary.nll_per_token for summary in compared.all)
    assert compared.best.nll_per_token.value == lowest
    assert compared.model_minus_baseline.value == pytest.approx(np.log(9) - lowest)


def test_match_models_improve_the_network_and_the_ngram() -> None:
    dataset = corpus(strains(12), strains(4, seed=1))
    weights = MatchWeights(1, 1, -1, 1, 0.5, 0, 0, -0.5)
    stats = baseline.measure_prediction(UNIFORM, dataset, VOCABULARY, RNG, weights)
    likelihood, compared = stats.scores["held_out"], stats.ngram_baseline
    assert likelihood.with_memory
    assert compared
    assert compared.with_memory
    remembering = likelihood.with_memory.nll_per_token.value
    assert likelihood.nll_per_token.value == pytest.approx(np.log(9))
    assert (remembering or 9) < 0.8 * np.log(9)
    best = compared.with_memory.best.nll_per_token.value or 9
    assert best < 0.8 * (compared.best.nll_per_token.value or 0)
    difference = compared.with_memory.model_minus_baseline.value
    assert difference == pytest.approx((remembering or 0) - best)
    assert stats.by_section
    predictors = {"network", "network_with_memory", "ngram", "ngram_with_memory"}
    assert set(stats.by_section["first third"]) == {"share", *predictors}
    assert (stats.by_section["in repeats of 8"]["ngram_with_memory"] or 9) < 1


def test_the_match_model_of_an_ngram_is_fitted_on_pieces_that_were_not_counted() -> None:
    pieces, new = strains(12), strains(6, seed=1)
    in_both_halves = [piece for piece in pieces for _ in range(2)]
    *_, ngram = count_ngrams(pieces, 9, 6)
    nll = []
    for training in (pieces, in_both_halves):
        weights = baseline.fit_ngram_weights(training, [np.arange(9)], 6, VOCABULARY, 1.0)
        assert weights.min_lag_bars == 1
        _, predictions = score_ngram(ngram, new, MatchModel.begin(VOCABULARY, weights))
        nll.append(sum(nats.sum() for nats, _ in predictions))
    assert nll[0] < 0.9 * nll[1]
