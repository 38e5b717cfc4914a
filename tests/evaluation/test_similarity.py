"""How alike sets of pieces are found, where the answer is known."""

import json

import numpy as np
import pytest

from midilstm.evaluation import similarity
from midilstm.evaluation.statistics import DRUMS, Played

EMPTY = Played.of([])
DRUMS_ALONE = Played.of([(i / 2, 0.25, 38, DRUMS) for i in range(20)])


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as often as a test needs, which is less than a reader does."""
    monkeypatch.setattr(similarity, "DRAWS", 40)


def piece(seed: int, *, low: int = 55, lengths: tuple[float, ...] = (0.25, 0.5, 1)) -> Played:
    """Return 60 random notes, one after another."""
    rng = np.random.default_rng(seed)
    length = rng.choice(lengths, 60)
    start = np.append(0, np.cumsum(length)[:-1])
    pitch = low + rng.integers(0, 20, 60)
    return Played.of(list(zip(start, length, pitch.tolist(), [0] * 60, strict=True)))


def pieces(count: int, seed: int, **character: object) -> list[Played]:
    return [piece(seed + i, **character) for i in range(count)]  # type: ignore[arg-type]


HUMAN = pieces(12, 0)


def compared(made: list[Played], *, rhythm: bool = True, **others: list[Played]) -> dict:
    sets = {"generated": made, "held_out": HUMAN} | others
    found = similarity.compare(sets, np.random.default_rng(0), rhythm=rhythm)
    json.dumps(found, allow_nan=False)
    return found


def test_pieces_of_one_kind_are_alike_and_of_another_are_not() -> None:
    near = compared(pieces(12, 100))
    far = compared(pieces(12, 100, low=20, lengths=(2.0, 4.0)))
    assert near["mgeval"]["mean_overlap"]["value"] > 0.8
    assert near["mgeval"]["mean_overlap"]["features"] == 12
    assert far["mgeval"]["mean_overlap"]["value"] < 0.5
    for name in ("inter-onset overlap", "duration overlap"):
        assert near["distributions"]["overlaps"][name]["value"] > 0.9
        assert far["distributions"]["overlaps"][name]["value"] == 0
    low, high = near["mgeval"]["mean_overlap"]["interval"]
    assert low > far["mgeval"]["mean_overlap"]["interval"][1]
    assert low < high


def test_a_set_is_like_itself() -> None:
    found = compared(HUMAN)
    for row in found["distributions"]["overlaps"].values():
        assert row["value"] == pytest.approx(1)
    assert found["mgeval"]["mean_overlap"]["value"] > 0.85  # a piece's twin is at no distance


def test_the_mean_is_that_of_the_features() -> None:
    found = compared(pieces(5, 100))["mgeval"]
    overlaps = [row["overlap"]["value"] for row in found["features"].values()]
    assert found["mean_overlap"]["value"] == pytest.approx(np.mean(overlaps))
    people = [row["people"]["value"] for row in found["features"].values()]
    assert found["mean_overlap"]["people"]["value"] == pytest.approx(np.mean(people))


def test_intervals_contain_their_values() -> None:
    found = compared(pieces(8, 100), training=pieces(30, 200))
    rows = [row["overlap"] for row in found["mgeval"]["features"].values()]
    rows += [found["mgeval"]["mean_overlap"], *found["distributions"]["overlaps"].values()]
    for row in (*rows, *(row["people"] for row in rows if "people" in row)):
        low, high = row["interval"]
        assert 0 <= low <= row["value"] <= high <= 1


def test_people_are_measured_on_training_pieces_or_else_on_halves() -> None:
    made = pieces(8, 100)
    strange = compared(made, training=pieces(30, 200, low=20, lengths=(2.0, 4.0)))
    assert strange["people_are"] == "training"
    assert strange["mgeval"]["mean_overlap"]["people"]["value"] < 0.5
    assert strange["distributions"]["overlaps"]["duration overlap"]["people"]["value"] == 0
    halves = compared(made)
    assert halves["people_are"] == "halves"
    assert halves["mgeval"]["mean_overlap"]["people"]["value"] > 0.7
    # As many training pieces as there are can be drawn in one way only: chance has no part.
    few = compared(made, training=pieces(8, 200))
    assert few["mgeval"]["mean_overlap"]["people"]["interval"] is None
    sets = {"generated": made, "training": HUMAN}
    found = similarity.compare(sets, np.random.default_rng(0), rhythm=True)
    assert found["with"] == "training"
    assert found["people_are"] == "halves"
    assert found["distributions"] == halves["distributions"]


def test_as_many_of_other_people_s_pieces_are_drawn_as_were_made() -> None:
    draws = similarity.among_people(4, 3, 10, 25, np.random.default_rng(0))
    assert len(draws) == 25
    assert all(people.tolist() == [1] * 4 and theirs.sum() == 3 for people, theirs in draws)
    assert len({tuple(theirs) for _, theirs in draws}) > 10
    for half, other in similarity.among_people(5, 3, 0, 25, np.random.default_rng(0)):
        assert half.sum() == 2
        assert (half + other).tolist() == [1] * 5


def test_without_rhythm_what_needs_it_is_named_and_left_out() -> None:
    found = compared(pieces(5, 100), rhythm=False)
    assert found["distributions"] is None
    assert found["mgeval"]["mean_overlap"]["features"] == 9
    assert not set(found["mgeval"]["features"]) & set(found["omitted"])
    assert {"note length histogram", "duration overlap", "drum share"} <= set(found["omitted"])


def test_drums_alone_and_nothing_are_left_out_and_counted() -> None:
    found = compared([*pieces(5, 100), DRUMS_ALONE, EMPTY])
    features, overlaps = found["mgeval"]["features"], found["distributions"]["overlaps"]
    assert features["pitch range"]["left_out"] == {"generated": 2, "people": 0}
    assert features["note count"]["left_out"] == {"generated": 0, "people": 0}
    assert overlaps["inter-onset overlap"]["left_out"] == {"generated": 1, "people": 0}
    assert overlaps["duration overlap"]["left_out"] == {"generated": 2, "people": 0}
    without = compared(pieces(5, 100))["mgeval"]["features"]["pitch range"]["overlap"]
    assert features["pitch range"]["overlap"]["value"] == pytest.approx(without["value"])


@pytest.mark.parametrize("made", [[EMPTY], [DRUMS_ALONE] * 3, [EMPTY, DRUMS_ALONE], [piece(9)]])
def test_sets_of_hardly_anything_have_no_intervals_rather_than_wrong_ones(
    made: list[Played],
) -> None:
    found = compared(made)
    row = found["distributions"]["overlaps"]["duration overlap"]
    assert row["interval"] is None
    assert (row["value"] is None) is (made[0].pitched().end == 0)
    assert found["mgeval"]["features"]["pitch range"]["overlap"]["value"] is None
    alone = {"generated": made, "held_out": [EMPTY]}
    nothing = similarity.compare(alone, np.random.default_rng(0), rhythm=True)
    assert nothing["mgeval"]["mean_overlap"]["value"] is None
    assert nothing["distributions"]["overlaps"]["duration overlap"]["value"] is None


def test_a_distribution_is_the_mean_of_its_pieces() -> None:
    human = [np.array([6, 6, 6, 12]), np.array([12])]
    made = [np.array([6]), np.array([24, 24])]
    found = similarity.by_distribution(human, made, [], np.random.default_rng(0))
    # People: 3/8 of 6, 5/8 of 12. Made: 1/2 of 6, 1/2 of 24.
    assert found["value"] == pytest.approx(3 / 8)


def test_resamples_are_laid_around_the_value() -> None:
    resampled = np.linspace(0.5, 0.7, 1001)
    found = similarity.around(np.append(0.8, resampled))
    assert found["interval"] == pytest.approx([0.8 - 0.095, 0.8 + 0.095])
    assert similarity.around(np.append(0.95, resampled))["interval"][1] == 1
    assert similarity.around(np.array([np.nan])) == {"value": None, "interval": None}


def test_intervals_cover_what_is_found_again_and_again() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        human, made = (
            [rng.choice([6, 12, 24], 20, p=p) for _ in range(15)]
            for p in ([0.5, 0.4, 0.1], [0.2, 0.3, 0.5])
        )
        found.append(similarity.by_distribution(human, made, [], rng))
    truth = 0.2 + 0.3 + 0.1
    assert np.mean([one["value"] for one in found]) == pytest.approx(truth, abs=0.02)
    covered = sum(one["interval"][0] <= truth <= one["interval"][1] for one in found)
    assert covered >= 50
