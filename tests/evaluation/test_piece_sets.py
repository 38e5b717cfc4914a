"""Which pieces are evaluated, and how they are cut."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from midilstm.evaluation import piece_sets


def test_sets_are_cut_to_one_length_without_ends_and_empty_pieces() -> None:
    training = {"a": np.array([1, 2, 3, 0]), "empty": np.array([0])}
    dataset: Any = SimpleNamespace(training=training, held_out={})
    sets = piece_sets.cut_sets({"new": np.array([4, 5, 6])}, dataset, 2)
    lists = {name: {k: ids.tolist() for k, ids in part.items()} for name, part in sets.items()}
    assert lists == {"generated": {"new": [4, 5]}, "training": {"a": [1, 2]}}
    assert piece_sets.typical_length(dataset) == 1


def test_a_subsample_keeps_the_order() -> None:
    pieces = {str(index): np.arange(index) for index in range(10)}
    chosen = [*piece_sets.subsample(pieces, 4, np.random.default_rng(0))]
    assert len(chosen) == 4
    assert chosen == sorted(chosen)
