"""The best of many: measures, people's ranges, and what is said against the others."""

import json
from typing import Any, cast

import numpy as np
import pytest
from fake_network import SIZE, FakeNetwork

from midilstm.evaluation import likelihood
from midilstm.evaluation import ranking as best
from midilstm.repetition.match_model import MatchModel, MatchWeights, bars_per_token
from midilstm.repetition.metrics import repeat_lags
from midilstm.tokenizers.vocabulary import END, Vocabulary

LETTERS = Vocabulary((END, "C4", "D4", "E4", "F4", "G4", "0.4.7"))
NETWORK = cast(Any, FakeNetwork())
PAST = MatchModel.begin(bars_per_token(LETTERS), MatchWeights(1.0, 1, -1, 0.5, 0.5, 0.1, 0, -0.1))
RANGES: best.Ranges = {
    "64": {"nats": [1.0, 2, 4], "returns": [0.0, 0, 0], "semitones": [5, 9, 12], "loop": [0, 0, 6]},
    "512": {
        "nats": [0, 1, 3],
        "returns": [0.2, 0.5, 0.6],
        "semitones": [9, 20, 30],
        "loop": [0] * 3,
    },
}


def drawn(number: int, length: int = 300) -> np.ndarray:
    return np.random.default_rng(number).integers(1, SIZE, length + number)


@pytest.mark.parametrize("memory", [None, PAST])
def test_a_pieces_costs_are_those_that_evaluate_counts(memory: MatchModel | None) -> None:
    pieces = [drawn(number) for number in range(35)]
    found = best.costs(NETWORK, pieces, memory)
    way = 1 if memory else 0
    for number, other in likelihood.by_network(NETWORK, pieces, memory):
        np.testing.assert_allclose(found[number], other[way, 0], rtol=1e-5)


def test_a_piece_is_measured() -> None:
    ids = np.array([1, 2, 3] * 8 + [5, 6])
    found = best.feature_matrix(ids, np.full(26, 1.5), LETTERS)
    assert found == {
        "nats": 1.5,
        "returns": np.mean(repeat_lags(ids, 8) > 0),
        "semitones": 7,
        "loop": 24,
    }
    assert found["returns"] > 0.5


def test_peoples_ranges_are_of_pieces_cut_to_lengths_that_enough_have() -> None:
    pieces = [drawn(number, 100) for number in range(30)]
    ranges = best.ranges_of(NETWORK, LETTERS, pieces, PAST)
    assert [*ranges] == ["32", "64"]  # only two have 128
    rows = [
        best.feature_matrix(ids[:64], nats[:64], LETTERS)
        for ids, nats in zip(pieces, best.costs(NETWORK, pieces, PAST), strict=True)
    ]
    for name in best.MEASURES:
        low, middle, high = ranges["64"][name]
        values = [row[name] for row in rows]
        assert min(values) <= low <= np.median(values) == middle <= high <= max(values)
    assert best.ranges_from_json(json.loads(json.dumps(ranges))) == ranges
    assert best.ranges_of(NETWORK, LETTERS, pieces[:4], None) == {}


def test_a_score_is_how_far_from_the_middle_and_one_for_each_range_left() -> None:
    usual = {"nats": 2.0, "returns": 0.0, "semitones": 9.0, "loop": 0.0}
    assert best.judge(usual, 80, RANGES).score == 0
    edge = best.judge({**usual, "nats": 4.0}, 80, RANGES)
    assert (edge.score, edge.against) == (pytest.approx(1 / 3), ())
    chaos = best.judge({**usual, "nats": 6.0, "semitones": 15}, 80, RANGES)
    assert chaos.against == (
        "6.00 nats a token, people's 1.00 to 4.00",
        "15 semitones from low to high, people's 5 to 12",
    )
    assert chaos.score == pytest.approx((2 + 2) / 3 + 2)
    stuck = best.judge({**usual, "loop": 8}, 80, RANGES)
    assert (stuck.score, stuck.against) == (1, ("8 tokens going round, people's 0 to 6",))
    copy = best.judge(usual, 80, RANGES, 20)
    assert (copy.score, copy.against) == (1, ("20 tokens in a row of a training piece",))
    assert best.judge(usual, 80, RANGES, 0).to_json()["copied"] == 0
    assert len(best.judge(usual, 400, RANGES).against) == 1  # nothing returns, and it is long
    told = chaos.to_json()
    assert told["against"] == "; ".join(chaos.against)
    assert (told["nats"], told["semitones"]) == (6, 15)


@pytest.mark.parametrize(
    "found",
    [
        *([], {"64": {}}, {"x": RANGES["64"]}, {"-1": RANGES["64"]}, {"0": RANGES["64"]}),
        *({"64": {**RANGES["64"], "nats": row}} for row in ([1, 2], [3, 2, 1], "abc", [1, "x", 2])),
        {"64": {**RANGES["64"], "nats": [1, float("nan"), 2]}},
    ],
    ids=str,
)
def test_what_are_no_ranges_is_refused(found: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        best.ranges_from_json(found)
