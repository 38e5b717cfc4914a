"""The n-gram baseline beside the network, without and with memory, on made-up pieces."""

from typing import Any

import numpy as np
import pytest
from made_pieces import BAR, Uniform, corpus, some_pieces, strains

from midilstm.evaluation import baseline
from midilstm.evaluation import ngram as ngrams
from midilstm.evaluation.likelihood import by_ngram
from midilstm.repetition.match_model import MatchModel, MatchWeights
from midilstm.tokenizers.vocabulary import END, Vocabulary

RNG = np.random.default_rng(0)
NAMES = ("C4", "D4", "E4", "F#4", "F4", "G4", "A4", "B4")


def test_the_best_ngram_is_the_one_whose_rule_made_the_music() -> None:
    vocabulary = Vocabulary((END, *NAMES))
    low = np.array([*[1, 2, 3, 4] * 10, 0], np.int32)
    high = np.array([*[5, 6, 7, 8] * 10, 0], np.int32)
    music = corpus([low, low], [high, high[8:]])
    found = baseline.score(Uniform(9), music, vocabulary, RNG)  # type: ignore[arg-type]
    for name in ("training", "held_out"):
        assert found["scores"][name]["nll_per_token"]["value"] == pytest.approx(np.log(9))
        assert found["scores"][name]["of"] == 2
    facts = found["ngram_baseline"]
    # The held-out pieces use other ids than the training pieces: only transposition shows them.
    assert facts["best"]["keys"] == 12
    assert facts["best"]["order"] > 1
    assert facts["best"]["accuracy"]["value"] > 0.9
    names = ["unigram", "2-gram", "3-gram", "4-gram", "5-gram", "6-gram"]
    assert [row["name"] for row in facts["all"]] == names * 2
    lowest = min(row["nll_per_token"] for row in facts["all"])
    assert facts["best"]["nll_per_token"]["value"] == lowest
    assert facts["model_minus_baseline"]["value"] == pytest.approx(np.log(9) - lowest)


def test_an_ngrams_nats_are_those_of_its_rows() -> None:
    pieces = some_pieces(7, 3, 12)
    for order, ngram in enumerate(ngrams.count(pieces, 9, 6)):
        one = list(baseline.ngrams(pieces, pieces, [np.arange(9)]))[order]
        assert one.facts["order"] == order + 1
        for costs, ids in zip(one.found, pieces, strict=True):
            rows = np.concatenate(list(ngram.rows(ids)))
            right = rows[np.arange(len(ids)), ids]
            assert costs[0, 0].sum() == pytest.approx(-np.log(right).sum())
            assert (costs[0, 1] == 0).sum() == (rows.max(1) == right).sum()


def test_of_many_training_pieces_some_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "TRAINING_PIECES", 4)
    music = corpus(some_pieces(*range(2, 12)), [])
    vocabulary = Vocabulary((END, "C4", "D4"))
    found = baseline.score(Uniform(9), music, vocabulary, RNG)  # type: ignore[arg-type]
    assert found["scores"]["training"]["pieces"] == 4
    assert found["scores"]["training"]["of"] == 10
    assert set(found) == {"scores"}


def test_with_memory_network_and_ngram_stand_beside_each_other_again() -> None:
    music, vocabulary = corpus(strains(12), strains(4, seed=1)), Vocabulary((END, *NAMES))
    weights = MatchWeights(1.0, 1.0, -1.0, 1.0, 0.5, 0.0, 0.0, -0.5)
    uniform: Any = Uniform(9)
    found = baseline.score(uniform, music, vocabulary, RNG, weights)
    scores, facts = found["scores"]["held_out"], found["ngram_baseline"]
    without, with_memory = scores["nll_per_token"], scores["with_memory"]["nll_per_token"]
    assert with_memory["value"] < 0.8 * without["value"]
    best, theirs = facts["best"], facts["with_memory"]["best"]
    assert theirs["name"] == best["name"]
    assert theirs["nll_per_token"]["value"] < 0.8 * best["nll_per_token"]["value"]
    difference = with_memory["value"] - theirs["nll_per_token"]["value"]
    assert facts["with_memory"]["model_minus_baseline"]["value"] == pytest.approx(difference)
    assert facts["with_memory"]["weights"]["min_lag_bars"] == 1
    ways = {"share", "network", "network_with_memory", "ngram", "ngram_with_memory"}
    assert all(set(row) == ways for row in found["parts"].values())
    assert found["parts"]["in repeats of 8"]["ngram_with_memory"] < 1
    assert baseline.score(uniform, music, vocabulary, RNG)["scores"]["held_out"]["nll_per_token"][
        "value"
    ] == pytest.approx(without["value"])


def test_a_memory_for_an_ngram_is_fitted_on_pieces_that_it_did_not_count() -> None:
    keys, pieces, new = [np.arange(9)], strains(12), strains(6, seed=1)
    same = [piece for piece in pieces for _ in range(2)]  # each half has every piece
    *_, ngram = ngrams.count(pieces, 9, 6)
    nats = []
    for training in (pieces, same):
        weights = baseline.weights_for_ngram(training, keys, 6, BAR, 1.0)
        assert weights.min_lag_bars == 1
        fit_weights = MatchModel.begin(BAR, weights)
        nats.append(sum(found[1, 0].sum() for _, found in by_ngram(ngram, new, fit_weights)))
    assert nats[0] < 0.9 * nats[1]
