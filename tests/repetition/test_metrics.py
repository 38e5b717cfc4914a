"""What comes back in a piece is what a search finds."""

import numpy as np
import pytest

from midilstm.repetition.metrics import returns


def test_a_return_is_counted_from_where_it_was_last_heard() -> None:
    ids = np.array([1, 2, 3, 9, 1, 2, 3, 8, 7, 1, 2, 3])
    assert returns(ids, 3).tolist() == [0, 0, 0, 0, 4, 0, 0, 0, 0, 5]
    assert returns(ids[:2], 3).tolist() == []


@pytest.mark.parametrize("span", [1, 2, 3, 5, 8])
def test_returns_are_those_that_a_search_finds(span: int) -> None:
    ids = np.random.default_rng(3).integers(0, 3, 200)
    spans = [tuple(ids[at : at + span]) for at in range(len(ids) - span + 1)]
    wanted = [
        next((back for back in range(1, at + 1) if spans[at - back] == spans[at]), 0)
        for at in range(len(spans))
    ]
    assert returns(ids, span).tolist() == wanted
