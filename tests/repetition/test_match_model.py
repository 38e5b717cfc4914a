"""The memory of a piece: what it remembers, when, how strongly, and what it costs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from midilstm.repetition.match_model import History, MatchWeights, facts, mix

SIZE = 12
BAR = [0.0] + [0.25] * (SIZE - 1)  # four ids a bar; END takes no time
MOTIF = [3, 5, 7, 4, 8, 6, 9, 2]
WEIGHTS = MatchWeights(1.0, 0.5, -0.5, 1.0, 0.5, distance=0.0, square=0.0, network=-0.5)


def heard(ids: list[int], delay: float = 1.0) -> History:
    past = History(BAR, delay)
    for number in ids:
        past.hear(number)
    return past


def flat(rows: int = 1) -> np.ndarray:
    return np.full((rows, SIZE), -math.log(SIZE), np.float32)


def test_a_motif_that_begins_again_is_expected_to_go_on() -> None:
    past = heard([*MOTIF, 1, *MOTIF[:4]])
    assert past.candidates()[0] == (MOTIF[4], False, 4, 2.25)
    scores = flat()
    mix(scores, [past], WEIGHTS)
    assert scores[0].argmax() == MOTIF[4]


def test_a_longer_match_pulls_more() -> None:
    short, long = flat(), flat()
    mix(short, [heard([*MOTIF, 1, *MOTIF[:2]])], WEIGHTS)
    mix(long, [heard([*MOTIF, 1, *MOTIF[:6]])], WEIGHTS)
    assert short.max() < long.max()


def test_what_returns_from_the_usual_distance_pulls_most() -> None:
    usual = MatchWeights(1.0, 0, 0, 0, 0, distance=6.0, square=-1.0, network=0)  # 7 bars
    pulls = []
    for bars in (1, 7, 55):
        scores = flat()
        mix(scores, [heard([*MOTIF, *[1, 1, 1, 1] * (bars - 1), *MOTIF[:4]])], usual)
        pulls.append(scores[0, MOTIF[4]])
    assert pulls[1] > max(pulls[0], pulls[2])


def test_where_a_stretch_went_on_in_two_ways_both_are_remembered() -> None:
    past = heard([3, 5, 7, 4, 1, 1, 3, 5, 7, 9, 2, 2, 3, 5, 7])
    assert [(one[0], one[1]) for one in past.candidates()] == [(9, False), (4, True)]


def test_what_is_more_recent_than_the_delay_is_not_remembered() -> None:
    ids = [3, 5, 7, 4, 3, 5, 7]
    assert heard(ids, delay=0.5).candidates()[0][0] == 4
    assert not heard(ids, delay=1.25).candidates()


def test_nothing_is_followed_a_third_time_in_a_row() -> None:
    loop = [3, 5, 7, 4]
    assert heard(loop + loop[:3]).candidates()
    assert not heard(loop * 3).candidates()


def test_a_new_piece_remembers_nothing() -> None:
    assert not History(BAR, 1.0).candidates()
    assert not heard([1]).candidates()


def test_end_is_never_suggested() -> None:
    past = History(BAR, 0.0)
    for number in MOTIF * 4:
        assert all(one[0] for one in past.candidates())
        past.hear(number)


def test_strength_0_leaves_the_scores_as_they_are() -> None:
    scores = flat()
    mix(scores, [heard(MOTIF * 2)], WEIGHTS, 0.0)
    np.testing.assert_array_equal(scores, flat())


def test_rows_stay_probabilities_and_others_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet(np.ones(SIZE), 3)).astype(np.float32)
    before = scores.copy()
    pasts = [heard([*MOTIF, 1, *MOTIF[:5]]), heard([1]), heard([3, 5, 7, 1, 3, 5, 4, 1, 3, 5])]
    mix(scores, pasts, WEIGHTS, 2.0)
    np.testing.assert_allclose(np.exp(scores.astype(float)).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(scores[1], before[1])
    assert (scores[0] != before[0]).any()


def test_a_piece_is_pulled_the_same_alone_and_beside_others() -> None:
    pasts = [heard([*MOTIF, 1, *MOTIF[:length]]) for length in range(1, 8)]
    together = flat(len(pasts))
    mix(together, pasts, WEIGHTS)
    for row, past in enumerate(pasts):
        alone = flat()
        mix(alone, [past], WEIGHTS)
        np.testing.assert_array_equal(alone[0], together[row])


def test_what_the_network_excludes_stays_excluded() -> None:
    scores = flat()
    scores[0, MOTIF[4]] = -np.inf
    mix(scores, [heard([*MOTIF, 1, *MOTIF[:4]])], WEIGHTS)
    assert scores[0, MOTIF[4]] == -np.inf
    assert not np.isnan(scores).any()


def test_a_copy_goes_on_by_itself() -> None:
    one = heard([*MOTIF, 1, *MOTIF[:4]])
    other = one.copy()
    one.hear(2)
    other.hear(MOTIF[4])
    assert other.candidates()[0][0] == MOTIF[5]
    assert other.candidates() == heard([*MOTIF, 1, *MOTIF[:5]]).candidates()


class Counted(list[int]):
    """A list that counts how often it is read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        self.reads += 1
        return super().__getitem__(place)


@pytest.mark.parametrize("kind", ["one id", "two ids", "a loop", "a strain that comes back"])
def test_the_work_grows_with_the_piece_and_not_with_its_square(kind: str) -> None:
    rng = np.random.default_rng(1)
    made = {
        "one id": [1] * 4000,
        "two ids": rng.integers(1, 3, 4000).tolist(),
        "a loop": MOTIF * 500,
        "a strain that comes back": rng.integers(1, SIZE, 500).tolist() * 8,
    }[kind]
    reads = []
    for length in (2000, 4000):
        past = History(BAR, 1.0)
        past._ids = Counted(past._ids)
        for number in made[:length]:
            past.candidates()
            past.hear(number)
        reads.append(past._ids.reads)
    assert reads[1] < 2.2 * reads[0]


def test_weights_come_back_from_json() -> None:
    assert MatchWeights.from_json(json.loads(json.dumps(WEIGHTS.to_json()))) == WEIGHTS


@pytest.mark.parametrize(
    "change",
    [
        {"bias": "1"},
        {"bias": True},
        {"bias": None},
        {"bias": math.nan},
        {"bias": math.inf},
        {"bias": 1e6},
        {"delay": -1.0},
        {"another": 1.0},
    ],
)
def test_bad_weights_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MatchWeights.from_json({**WEIGHTS.to_json(), **change})


@pytest.mark.parametrize("found", [None, [], {}, "weights", {"delay": 1.0}])
def test_what_is_no_set_of_weights_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="expected the numbers"):
        MatchWeights.from_json(found)


def test_facts_are_those_the_weights_are_for() -> None:
    assert facts((5, True, 8, 3.0)) == (1.0, 1.0, 3.0, 2.0, 2.0, 4.0)
