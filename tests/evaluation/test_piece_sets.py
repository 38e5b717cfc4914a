"""What is taken for evaluation, and how it is cut and heard."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from midilstm.evaluation import piece_sets as pieces
from midilstm.tokenizers.vocabulary import END, Vocabulary

MANY = {f"{number}.mid": np.arange(number) for number in range(10)}


def test_some_pieces_are_drawn_and_stay_in_order() -> None:
    subsample = pieces.subsample(MANY, 4, np.random.default_rng(0))
    assert len(subsample) == 4
    assert list(subsample) == sorted(subsample)
    assert all(subsample[name] is MANY[name] for name in subsample)
    assert pieces.subsample(MANY, 10, np.random.default_rng(0)) is MANY


def test_pieces_are_compared_at_one_length_without_ends() -> None:
    training = {"a": np.array([1, 2, 3, 0]), "empty": np.array([0])}
    corpus: Any = SimpleNamespace(training=training, held_out={})
    sets = pieces.beginnings({"made": np.array([4, 5, 6])}, corpus, 2)
    found = {of: {name: ids.tolist() for name, ids in part.items()} for of, part in sets.items()}
    assert found == {"generated": {"made": [4, 5]}, "training": {"a": [1, 2]}}
    assert pieces.typical_length(corpus) == 1


def test_of_very_many_pieces_some_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LISTENED", 3)
    vocabulary = Vocabulary((END, "C4", "0.4.7"))
    made = {str(number): np.array([1, 2]) for number in range(5)}
    heard = pieces.listen(made, vocabulary, np.random.default_rng(0))
    assert [piece.pitch.tolist() for piece in heard] == [[60, 60, 64, 67]] * 3
    assert heard[0].ids.tolist() == [1, 2]
