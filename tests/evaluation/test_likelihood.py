"""Held-out scores against naive loops."""

from typing import Any

import numpy as np
import pytest

import model
from midilstm.corpus import batches
from midilstm.evaluation import likelihood
from midilstm.evaluation.ngrams import Counts, NGram

SIZES: dict[str, Any] = {"embedding_size": 6, "units": 5, "layers": 2}


def some_pieces(*lengths: int, seed: int = 3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(np.append(rng.integers(1, 9, n - 1), 0).astype(np.int32) for n in lengths)


def music(ids: tuple[np.ndarray, ...]) -> likelihood.Music:
    lengths = np.array([len(piece) for piece in ids])
    names = tuple(f"{number}.mid" for number in range(len(ids)))
    return likelihood.Music(names, ids, 2 * lengths, lengths / 2)


@pytest.fixture(scope="module")
def network() -> Any:
    model.set_seed(0)
    return model.build_model(9, batch_size=3, sequence_length=4, **SIZES)


def test_each_piece_is_scored_as_if_alone_in_any_order(network: Any) -> None:
    pieces = some_pieces(5, 9, 2, 14, 4, 8, 1)
    one = model.build_model(9, batch_size=1, sequence_length=1, **SIZES)
    one.set_weights(network.get_weights())
    step = model.stepper(one)
    nats, right, top = np.zeros((3, len(pieces)))
    for number, ids in enumerate(pieces):
        model.reset_states(one)
        for last, target in zip([0, *ids[:-1]], ids, strict=True):
            probabilities = step(np.array([last], np.int32))[0]
            nats[number] -= np.log(probabilities[target])
            right[number] += probabilities.argmax() == target
            top[number] += target in np.argsort(-probabilities)[:5]
    scorer = model.Scorer(network)
    for _ in range(2):  # a second time starts from no state of the first
        scored = likelihood.Scored.collect(
            len(pieces), batches.score_pieces(pieces, 3, 4, scorer.each)
        )
        np.testing.assert_allclose(scored.nats, nats, rtol=1e-5)
        np.testing.assert_array_equal(scored.right, right)
        np.testing.assert_array_equal(scored.top, top)
    loss, accuracy = scorer(batches.scoring_batches(pieces, 3, 4))
    total = likelihood.summary(scored, music(pieces), np.random.default_rng(0))
    assert total["nats_a_token"]["value"] == pytest.approx(loss, rel=1e-5)
    assert total["accuracy"]["value"] == pytest.approx(accuracy)


def test_what_a_model_excludes_costs_more_than_a_clipped_loss() -> None:
    sure = model.build_model(9, batch_size=1, sequence_length=2, **SIZES)
    bias = np.array([60, *[0] * 8], np.float32)  # e^-60 for all but the end
    sure.get_layer("next_token").set_weights([np.zeros((5, 9), np.float32), bias])
    nats, likelier = model.Scorer(sure).each(True, np.array([[0, 1]]), np.array([[1, 0]]))[:, 0]
    np.testing.assert_allclose(nats, [60, 0], atol=1e-4)
    np.testing.assert_array_equal(likelier, [1, 0])


def test_no_pieces_have_no_scores() -> None:
    assert list(batches.score_pieces([], 3, 4, lambda *_: np.zeros((2, 3, 4)))) == []


def test_sums_are_divided_once_by_tokens_notes_and_quarters() -> None:
    pieces = music(some_pieces(2, 8))
    scored = likelihood.Scored(np.array([4.0, 6.0]), np.array([1, 1]), np.array([2, 5]))
    total = likelihood.summary(scored, pieces, np.random.default_rng(0))
    assert total["nats_a_token"]["value"] == 1
    assert total["nats_a_token"]["interval"] == [0.75, 2]
    assert total["nats_a_note"]["value"] == 0.5
    assert total["nats_a_quarter"]["value"] == 2
    assert total["perplexity"]["value"] == pytest.approx(np.e)
    assert total["accuracy"]["value"] == 0.2
    assert total["top_5"]["value"] == 0.7
    assert total["tokens"] == 10


def test_the_best_yardstick_is_the_one_whose_rule_made_the_music() -> None:
    scale = np.array([*[1, 2, 3, 4] * 10, 0], np.int32)
    upward = {0: np.arange(9, dtype=np.int32), 4: np.array([0, 5, 6, 7, 8, 9, 9, 9, 9], np.int32)}
    training, held_out = music((scale, scale)), music((upward[4][scale], upward[4][scale][8:]))
    scored = likelihood.Scored(np.array([10.0, 10.0]), np.zeros(2), np.zeros(2))
    facts = likelihood.against_yardsticks(
        scored, training, held_out, upward, np.random.default_rng(0)
    )
    # The held-out pieces use other ids than the training pieces: only transposition shows them.
    assert facts["best"]["keys"] == 2
    assert facts["best"]["order"] > 1
    assert facts["best"]["accuracy"]["value"] > 0.9
    assert len(facts["all"]) == 2 * (2 * 6 + 1)
    lowest = min(row["nats_a_token"] for row in facts["all"])
    assert facts["best"]["nats_a_token"]["value"] == pytest.approx(lowest)
    difference = 20 / held_out.tokens.sum() - lowest
    assert facts["model_minus_best"]["value"] == pytest.approx(difference)


def test_a_yardsticks_sums_are_those_of_its_pieces() -> None:
    pieces = some_pieces(7, 3, 12)
    found = list(likelihood.yardsticks(pieces, [np.arange(9)], 9, pieces))
    counts = Counts(pieces, 9, 6)
    for stick in found:
        if stick.name != "repeat-last":
            ngram = NGram(counts, stick.order, stick.name)
            expected = [-np.log(ngram.probabilities([ids])).sum() for ids in pieces]
            np.testing.assert_allclose(stick.nats, expected)


def test_some_pieces_are_drawn_and_stay_in_order() -> None:
    whole = music(some_pieces(*range(2, 12)))
    some = whole.some(4, np.random.default_rng(0))
    assert len(some.names) == 4
    assert list(some.names) == sorted(some.names)
    for name, ids, notes in zip(some.names, some.ids, some.notes, strict=True):
        number = whole.names.index(name)
        assert whole.ids[number] is ids
        assert whole.notes[number] == notes
    assert whole.some(10, np.random.default_rng(0)) is whole
