"""Held-out scores against Keras, against a mix made step by step, and sums worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from made_pieces import BAR, Uniform, corpus, some_pieces, strains

import model
from midilstm.config import ModelConfig
from midilstm.evaluation import likelihood
from midilstm.evaluation import ngram as ngrams
from midilstm.generation import network
from midilstm.repetition.match_model import History, MatchModel, MatchWeights, add_match_bias

CONFIG = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0.2, input_dropout=0)
RNG = np.random.default_rng(0)
WEIGHTS = MatchWeights(1.0, 1.0, -1.0, 1.0, 0.5, -0.25, 0.0, -0.5)
MEMORY = MatchModel.begin(BAR, WEIGHTS)


def test_each_piece_is_scored_as_keras_scores_it_alone(
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
        right = rows[np.arange(len(ids)), ids]
        expected.append([-np.log(right), (rows > right[:, None]).sum(1)])
    loaded = network.load(tmp_path / "a.keras", CONFIG, 9)
    for group in (1, 3, 64):
        monkeypatch.setattr(likelihood, "GROUP", group)
        found = dict(likelihood.by_network(loaded, pieces))
        for number, (nats, likelier) in enumerate(expected):
            np.testing.assert_allclose(found[number][0, 0], nats, atol=1e-4)
            np.testing.assert_array_equal(found[number][0, 1], likelier)


def test_sums_are_divided_once_by_tokens_notes_and_quarters() -> None:
    held_out = corpus([], some_pieces(2, 8))
    found = [np.array([[[3.0, 1], [0, 4]]]), np.array([[[0.75] * 8, [0, 1, 2, 3, 4, 5, 6, 7]]])]
    total = likelihood.summary(found, 0, held_out.held_out, held_out, RNG)
    assert total["nll_per_token"] == {"value": 1, "interval": [0.75, 2]}
    assert total["nll_per_note"]["value"] == 0.5
    assert total["nll_per_quarter"]["value"] == 2
    assert total["perplexity"]["value"] == pytest.approx(np.e)
    assert total["accuracy"]["value"] == 0.2
    assert total["top_5"]["value"] == 0.7
    assert total["tokens"] == 10


def step_by_step(rows: np.ndarray, ids: np.ndarray) -> list[tuple[float, int]]:
    """Return nats and likelier ids of a piece, one row of log probabilities pulled at a time."""
    past, found = History(BAR, WEIGHTS.min_lag_bars), []
    past.update(0)
    for row, number in zip(rows, ids.tolist(), strict=True):
        pulled = row[None].copy()
        add_match_bias(pulled, MatchModel([past], WEIGHTS))
        found.append((-pulled[0, number], int((pulled[0] > pulled[0, number]).sum())))
        past.update(number)
    return found


@pytest.mark.parametrize("group", [1, 2, 64])
def test_with_memory_a_piece_costs_what_a_mix_step_by_step_costs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: int
) -> None:
    model.build_model(CONFIG, 9, batch_size=1, sequence_length=4).save(tmp_path / "a.keras")
    loaded = network.load(tmp_path / "a.keras", CONFIG, 9)
    monkeypatch.setattr(likelihood, "GROUP", group)
    pieces = [*strains(2), *some_pieces(30, 3), np.tile([3, 5, 7, 4, 1], 9)]
    plain = dict(likelihood.by_network(loaded, pieces))
    for number, found in likelihood.by_network(loaded, pieces, MEMORY):
        ids, lane = pieces[number], loaded.initial_state()
        fed = np.append(0, ids[:-1])
        rows = np.concatenate([lane.step(np.array([last])) for last in fed])
        nats, likelier = np.array(step_by_step(rows, ids)).T
        np.testing.assert_allclose(found[1, 0], nats, atol=1e-4)
        np.testing.assert_array_equal(found[1, 1], likelier)
        np.testing.assert_array_equal(found[0], plain[number][0])


def test_an_ngram_with_memory_costs_what_a_mix_step_by_step_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *_, ngram = ngrams.count(some_pieces(20, 30), 9, 3)
    for cells in (ngrams.CELLS, 50):  # in one part and in several
        monkeypatch.setattr(ngrams, "CELLS", cells)
        for ids in (*strains(1), *some_pieces(9)):
            ((_, found),) = likelihood.by_ngram(ngram, [ids], MEMORY)
            rows = np.log(np.concatenate(list(ngram.rows(ids))))
            nats, likelier = np.array(step_by_step(rows, ids)).T
            np.testing.assert_allclose(found[1, 0], nats, rtol=1e-5)
            np.testing.assert_array_equal(found[1, 1], likelier)
            right = rows[np.arange(len(ids)), ids]
            np.testing.assert_allclose(found[0, 0], -right, rtol=1e-5)


def test_memory_helps_a_piece_that_repeats_itself_and_only_where_it_does() -> None:
    ids = strains(1)[0]
    ((_, found),) = likelihood.by_network(Uniform(9), [ids], MEMORY)  # type: ignore[arg-type]
    without, with_memory = found[:, 0]
    assert with_memory.sum() < 0.8 * without.sum()
    parts = likelihood.by_section([ids], {"without": ([found], 0), "with": ([found], 1)})
    assert parts["first third"]["with"] > 0.9 * np.log(9)
    assert parts["last third"]["with"] < 0.5 * np.log(9)
    inside, outside = parts["in repeats of 8"], parts["outside repeats of 8"]
    assert (inside["share"], outside["share"]) == (16 / 37, 21 / 37)
    assert inside["with"] < 0.3 * np.log(9) < 0.9 * np.log(9) < outside["with"]
    whole = inside["share"] * inside["with"] + outside["share"] * outside["with"]
    assert whole == pytest.approx(with_memory.mean())
    assert parts["in repeats of 32"] == {"share": 0, "without": None, "with": None}


def test_thirds_are_of_the_piece_and_each_token_is_in_one() -> None:
    for length in (1, 2, 3, 10, 11):
        parts = likelihood.parts_of(np.arange(length))
        counts = np.sum([parts[third] for third in likelihood.THIRDS], axis=0)
        assert counts.tolist() == [1] * length
