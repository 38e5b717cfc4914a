"""Held-out scores against Keras, and against sums worked out by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import model
from midilstm.evaluation import likelihood, ngrams
from midilstm.sampling import network
from midilstm.tokens.vocabulary import END, Vocabulary

SIZES: dict[str, Any] = {"vocabulary_size": 9, "embedding_size": 6, "units": 5, "layers": 2}
RNG = np.random.default_rng(0)


class Uniform:
    """A network that knows nothing, with as many ids as its vocabulary."""

    def __init__(self, size: int) -> None:
        self.size = size

    def lanes(self, _count: int = 1) -> "Uniform":
        return self

    def take(self, _rows: Any) -> "Uniform":
        return self

    def step(self, ids: np.ndarray) -> np.ndarray:
        return np.full((len(ids), self.size), -np.log(self.size), np.float32)


def some_pieces(*lengths: int, seed: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.append(rng.integers(1, 9, n - 1), 0).astype(np.int32) for n in lengths]


def corpus(training: list[np.ndarray], held_out: list[np.ndarray]) -> Any:
    sets = {"training": training, "held_out": held_out}
    named = {of: {f"{of} {i}": ids for i, ids in enumerate(sets[of])} for of in sets}
    sizes = {
        name: SimpleNamespace(notes=2 * len(ids), quarters=len(ids) / 2)
        for pieces in named.values()
        for name, ids in pieces.items()
    }
    return SimpleNamespace(**named, sizes=sizes)


def test_each_piece_is_scored_as_keras_scores_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = model.build_model(batch_size=1, sequence_length=14, **SIZES)
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
    loaded = network.load(tmp_path / "a.keras", SIZES)
    for group in (1, 3, 64):
        monkeypatch.setattr(likelihood, "GROUP", group)
        found = dict(likelihood.by_network(loaded, pieces))
        for number, (nats, likelier) in enumerate(expected):
            np.testing.assert_allclose(found[number][0], nats, atol=1e-4)
            np.testing.assert_array_equal(found[number][1], likelier)


def test_sums_are_divided_once_by_tokens_notes_and_quarters() -> None:
    held_out = corpus([], some_pieces(2, 8))
    sums = np.array([[4.0, 6.0], [1, 1], [2, 5]])
    total = likelihood.summary(sums, held_out.held_out, held_out, RNG)
    assert total["nats_a_token"] == {"value": 1, "interval": [0.75, 2]}
    assert total["nats_a_note"]["value"] == 0.5
    assert total["nats_a_quarter"]["value"] == 2
    assert total["perplexity"]["value"] == pytest.approx(np.e)
    assert total["accuracy"]["value"] == 0.2
    assert total["top_5"]["value"] == 0.7
    assert total["tokens"] == 10


def test_the_best_ngram_is_the_one_whose_rule_made_the_music() -> None:
    scale, above = ("C4", "D4", "E4", "F#4"), ("F4", "G4", "A4", "B4")
    vocabulary = Vocabulary((END, *scale, *above))
    low = np.array([*[1, 2, 3, 4] * 10, 0], np.int32)
    high = np.array([*[5, 6, 7, 8] * 10, 0], np.int32)
    music = corpus([low, low], [high, high[8:]])
    found = likelihood.score(Uniform(9), music, vocabulary, RNG)  # type: ignore[arg-type]
    for name in ("training", "held_out"):
        assert found["scores"][name]["nats_a_token"]["value"] == pytest.approx(np.log(9))
        assert found["scores"][name]["of"] == 2
    baseline = found["ngram_baseline"]
    # The held-out pieces use other ids than the training pieces: only transposition shows them.
    assert baseline["best"]["keys"] == 12
    assert baseline["best"]["order"] > 1
    assert baseline["best"]["accuracy"]["value"] > 0.9
    names = ["unigram", "2-gram", "3-gram", "4-gram", "5-gram", "6-gram"]
    assert [row["name"] for row in baseline["all"]] == names * 2
    lowest = min(row["nats_a_token"] for row in baseline["all"])
    assert baseline["best"]["nats_a_token"]["value"] == lowest
    assert baseline["model_minus_best"]["value"] == pytest.approx(np.log(9) - lowest)


def test_an_ngrams_nats_are_those_of_its_rows() -> None:
    pieces = some_pieces(7, 3, 12)
    for order, ngram in enumerate(ngrams.count(pieces, 9, 6)):
        which, sums = likelihood.ngrams(pieces, pieces, [np.arange(9)])[order]
        assert which["order"] == order + 1
        for number, ids in enumerate(pieces):
            rows = np.concatenate(list(ngram.rows(ids)))
            right = rows[np.arange(len(ids)), ids]
            assert sums[0, number] == pytest.approx(-np.log(right).sum())
            assert sums[1, number] == (rows.max(1) == right).sum()


def test_of_many_training_pieces_some_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "TRAINING_PIECES", 4)
    music = corpus(some_pieces(*range(2, 12)), [])
    vocabulary = Vocabulary((END, "C4", "D4"))
    found = likelihood.score(Uniform(9), music, vocabulary, RNG)  # type: ignore[arg-type]
    assert found["scores"]["training"]["pieces"] == 4
    assert found["scores"]["training"]["of"] == 10
    assert set(found) == {"scores"}
