"""Likelihoods against Keras, against a match model applied row by row, and against sums by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pieces import BAR, Uniform, corpus, some_pieces, strains

import model
from midilstm.config import ModelConfig
from midilstm.evaluation import likelihood, ngram
from midilstm.evaluation.estimates import Estimate
from midilstm.generation import network
from midilstm.repetition.match_model import History, MatchModel, MatchWeights, add_match_bias

CONFIG = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0.2, input_dropout=0)
WEIGHTS = MatchWeights(1.0, 1.0, -1.0, 1.0, 0.5, -0.25, 0.0, -0.5)
MEMORY = MatchModel([History(BAR, 1.0)], WEIGHTS)


def test_each_piece_is_predicted_as_keras_predicts_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = model.build_model(CONFIG, 9, batch_size=1, sequence_length=14)
    keras.save(tmp_path / "a.keras")
    pieces = some_pieces(5, 9, 2, 14, 4, 8, 1, 14)
    expected = []
    for ids in pieces:
        for layer in keras.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()
        inputs = np.zeros((1, 14), np.int32)
        inputs[0, 1 : len(ids)] = ids[:-1]
        rows = keras(inputs, training=False).numpy()[0, : len(ids)]
        targets = rows[np.arange(len(ids)), ids]
        expected.append((-np.log(targets), (rows > targets[:, None]).sum(1)))
    loaded = network.load(tmp_path / "a.keras", CONFIG, 9)
    for group in (1, 3, 64):
        monkeypatch.setattr(likelihood, "GROUP", group)
        (predictions,) = likelihood.score_network(loaded, pieces)
        for prediction, (nll, ranks) in zip(predictions, expected, strict=True):
            np.testing.assert_allclose(prediction[0], nll, atol=1e-4)
            np.testing.assert_array_equal(prediction[1], ranks)


def test_sums_are_divided_once_by_tokens_notes_and_quarters() -> None:
    dataset = corpus([], some_pieces(2, 8))
    predictions = [
        np.array([[3.0, 1], [0, 4]]),
        np.array([[0.75] * 8, [0, 1, 2, 3, 4, 5, 6, 7]]),
    ]
    total = likelihood.summarize([predictions], dataset.held_out, dataset.pieces, 2)
    assert total.nll_per_token == Estimate(1, (0.75, 2))
    assert total.nll_per_note.value == 0.5
    assert total.nll_per_quarter.value == 2
    assert total.perplexity.value == pytest.approx(np.e)
    assert total.accuracy.value == 0.2
    assert total.top_5.value == 0.7
    assert (total.tokens, total.pieces, total.n_available) == (10, 2, 2)


def apply_row_by_row(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return nats and ranks [2, n] of a piece with the match model applied to one row at a time."""
    history, results = History(BAR, WEIGHTS.min_lag_bars), []
    history.update(0)
    for row, token_id in zip(rows, ids.tolist(), strict=True):
        biased = row[None].copy()
        add_match_bias(biased, MatchModel([history], WEIGHTS))
        results.append((-biased[0, token_id], (biased[0] > biased[0, token_id]).sum()))
        history.update(token_id)
    return np.array(results).T


@pytest.mark.parametrize("group", [1, 2, 64])
def test_a_match_model_changes_a_network_as_row_by_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: int
) -> None:
    model.build_model(CONFIG, 9, batch_size=1, sequence_length=4).save(tmp_path / "a.keras")
    loaded = network.load(tmp_path / "a.keras", CONFIG, 9)
    monkeypatch.setattr(likelihood, "GROUP", group)
    pieces = [*strains(2), *some_pieces(30, 3), np.tile([3, 5, 7, 4, 1], 9)]
    (alone,) = likelihood.score_network(loaded, pieces)
    without, remembering = likelihood.score_network(loaded, pieces, MEMORY)
    np.testing.assert_equal(without, alone)
    for ids, prediction in zip(pieces, remembering, strict=True):
        state, inputs = loaded.initial_state(), np.append(0, ids[:-1])
        rows = np.concatenate([state.step(np.array([token_id])) for token_id in inputs])
        np.testing.assert_allclose(prediction, apply_row_by_row(rows, ids), atol=1e-4)


@pytest.mark.parametrize("cells", [ngram.CELLS, 50], ids=["in one part", "in several parts"])
def test_a_match_model_changes_an_ngram_as_row_by_row(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, trigram = ngram.count_ngrams(some_pieces(20, 30), 9, 3)
    monkeypatch.setattr(ngram, "CELLS", cells)
    pieces = [*strains(1), *some_pieces(9)]
    without, remembering = likelihood.score_ngram(trigram, pieces, MEMORY)
    for ids, (nll, _), prediction in zip(pieces, without, remembering, strict=True):
        rows = np.log(np.concatenate(list(trigram.probabilities(ids))))
        np.testing.assert_allclose(prediction, apply_row_by_row(rows, ids), rtol=1e-5)
        np.testing.assert_allclose(nll, -rows[np.arange(len(ids)), ids], rtol=1e-5)


def test_a_match_model_helps_in_repeats_only() -> None:
    ids = strains(1)[0]
    network: Any = Uniform(9)
    without, remembering = likelihood.score_network(network, [ids], MEMORY)
    sections: Any = likelihood.by_section([ids], {"without": without, "with": remembering})
    assert sections["first third"]["with"] > 0.9 * np.log(9)
    assert sections["last third"]["with"] < 0.5 * np.log(9)
    inside, outside = sections["in repeats of 8"], sections["outside repeats of 8"]
    assert (inside["share"], outside["share"]) == (16 / 37, 21 / 37)
    assert inside["with"] < 0.3 * np.log(9) < 0.9 * np.log(9) < outside["with"]
    mean = inside["share"] * inside["with"] + outside["share"] * outside["with"]
    assert mean == pytest.approx(remembering[0][0].mean())
    assert sections["in repeats of 32"] == {"share": 0, "without": None, "with": None}
