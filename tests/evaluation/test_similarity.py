"""How far sets of pieces lie apart, and how alike they are found, where the answer is known."""

import json
from typing import Any

import numpy as np
import pytest

from midilstm.evaluation import features as statistics
from midilstm.evaluation import mgeval, similarity
from midilstm.evaluation.features import NoteArray
from midilstm.midi import DRUMS
from midilstm.tokenizers.vocabulary import END, Vocabulary

EMPTY = NoteArray.of([])
DRUMS_ALONE = NoteArray.of([(i / 2, 0.25, 38, DRUMS) for i in range(20)])


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as often as a test needs, which is less than a reader does."""
    monkeypatch.setattr(similarity, "DRAWS", 40)


def piece(seed: int, *, low: int = 55, lengths: tuple[float, ...] = (0.25, 0.5, 1)) -> NoteArray:
    """Return 60 random notes, one after another."""
    rng = np.random.default_rng(seed)
    length = rng.choice(lengths, 60)
    start = np.append(0, np.cumsum(length)[:-1])
    pitch = low + rng.integers(0, 20, 60)
    return NoteArray.of(list(zip(start, length, pitch.tolist(), [0] * 60, strict=True)))


def pieces(count: int, seed: int, **character: object) -> list[NoteArray]:
    return [piece(seed + i, **character) for i in range(count)]  # type: ignore[arg-type]


HUMAN = pieces(12, 0)
FEATURES = mgeval.OF_PITCHES | mgeval.OF_RHYTHM


def features(
    made: list[NoteArray], people: list[NoteArray] = HUMAN, peers: Any = ()
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = similarity.by_features([people, made, peers], FEATURES, rng)
    json.dumps(found, allow_nan=False)
    return found


def distributions(
    made: list[NoteArray], people: list[NoteArray] = HUMAN, peers: Any = ()
) -> dict[str, Any]:
    sets = (people, made, peers)
    found = {
        name: similarity.by_distribution(
            [[of(piece) for piece in part] for part in sets], np.random.default_rng(0)
        )
        for name, of in similarity.DISTRIBUTIONS.items()
    }
    json.dumps(found, allow_nan=False)
    return found


def test_pieces_of_one_kind_are_alike_and_of_another_are_not() -> None:
    same, other = pieces(12, 100), pieces(12, 100, low=20, lengths=(2.0, 4.0))
    near, far = features(same)["mean_overlap"], features(other)["mean_overlap"]
    assert near["value"] > 0.8
    assert near["features"] == 12
    assert far["value"] < 0.5
    low, high = near["interval"]
    assert far["interval"][1] < low < high
    assert all(row["value"] > 0.9 for row in distributions(same).values())
    assert all(row["value"] == 0 for row in distributions(other).values())


def test_intervals_contain_their_values() -> None:
    made, peers = pieces(8, 100), pieces(30, 200)
    found = features(made, peers=peers)
    rows = [*found["features"].values(), found["mean_overlap"]]
    rows += distributions(made, peers=peers).values()
    for row in (*rows, *(row["reference"] for row in rows)):
        low, high = row["interval"]
        assert 0 <= low <= row["value"] <= high <= 1


def test_what_people_reach_is_measured_on_other_pieces() -> None:
    made, strange = pieces(8, 100), pieces(30, 200, low=20, lengths=(2.0, 4.0))
    assert features(made, peers=strange)["mean_overlap"]["reference"]["value"] < 0.5
    assert distributions(made, peers=strange)["duration overlap"]["reference"]["value"] == 0
    assert features(made)["mean_overlap"]["reference"]["value"] is None
    assert distributions(made)["duration overlap"]["reference"]["value"] is None
    # As many other pieces as were made can be drawn in one way only: chance has no part.
    few = features(made, peers=pieces(8, 200))
    assert few["mean_overlap"]["reference"]["interval"] is None


def test_drums_alone_and_nothing_are_left_out() -> None:
    made = [*pieces(5, 100), DRUMS_ALONE, EMPTY]
    rows = features(made)["features"]
    without = features(pieces(5, 100))["features"]["pitch range"]["value"]
    assert rows["pitch range"]["value"] == pytest.approx(without)
    kde_overlap = distributions(made)
    assert kde_overlap["inter-onset overlap"]["n_skipped"] == {"generated": 1, "reference": 0}
    assert kde_overlap["duration overlap"]["n_skipped"] == {"generated": 2, "reference": 0}


@pytest.mark.parametrize("made", [[EMPTY], [DRUMS_ALONE] * 3, [EMPTY, DRUMS_ALONE], [piece(9)]])
def test_sets_of_hardly_anything_have_no_intervals_rather_than_wrong_ones(
    made: list[NoteArray],
) -> None:
    row = distributions(made)["duration overlap"]
    assert row["interval"] is None
    assert (row["value"] is None) is (made[0].pitched().end == 0)
    assert features(made)["features"]["pitch range"]["value"] is None
    assert features(made, people=[EMPTY])["mean_overlap"]["value"] is None
    assert distributions(made, people=[EMPTY])["duration overlap"]["value"] is None


def test_sets_of_ids_are_compared_as_their_encoding_allows() -> None:
    vocabulary, draw = Vocabulary((END, "C4", "0.4.7", "D4")), np.random.default_rng(0)
    sets = {
        name: {str(i): draw.integers(1, 4, 24) for i in range(count)}
        for name, count in (("generated", 4), ("held_out", 5), ("training", 9))
    }
    found = similarity.compare(sets, vocabulary, np.random.default_rng(1))
    assert found["statistics"]["pieces"] == {"generated": 4, "held_out": 5, "training": 9}
    alike = found["similarity"]
    assert alike["reference_set"] == "held_out"
    assert alike["features"]["pitch range"]["reference"]["value"] is not None
    assert alike["mean_overlap"]["features"] == 9
    # `notes` writes each token half a quarter long: nothing is said of rhythm.
    assert alike["distributions"] == {}
    assert {"note length histogram", "duration overlap", "drum share"} <= set(
        alike["skipped_features"]
    )
    assert "polyphony" not in found["statistics"]["values"]
    del sets["held_out"]
    alike = similarity.compare(sets, vocabulary, np.random.default_rng(1))["similarity"]
    assert alike["reference_set"] == "training"
    assert alike["features"]["pitch range"]["reference"]["value"] is None
    del sets["training"]
    assert "similarity" not in similarity.compare(sets, vocabulary, np.random.default_rng(1))


def test_a_distribution_is_the_mean_of_its_pieces() -> None:
    human = [np.array([6, 6, 6, 12]), np.array([12])]
    made = [np.array([6]), np.array([24, 24])]
    found = similarity.by_distribution([human, made, []], np.random.default_rng(0))
    # People: 3/8 of 6, 5/8 of 12. Made: 1/2 of 6, 1/2 of 24.
    assert found["value"] == pytest.approx(3 / 8)


def test_intervals_cover_what_is_found_again_and_again() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        human, made = (
            [rng.choice([6, 12, 24], 20, p=p) for _ in range(15)]
            for p in ([0.5, 0.4, 0.1], [0.2, 0.3, 0.5])
        )
        found.append(similarity.by_distribution([human, made, []], rng))
    truth = 0.2 + 0.3 + 0.1
    assert np.mean([one["value"] for one in found]) == pytest.approx(truth, abs=0.02)
    covered = sum(one["interval"][0] <= truth <= one["interval"][1] for one in found)
    assert covered >= 50


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the overlap of two samples."""
    return similarity.kde_overlap(a, b, [np.ones(len(a))], [np.ones(len(b))])[0]


def alike(human: np.ndarray, made: np.ndarray) -> list[float]:
    """Return the overlap of people's and made pieces' distances, nothing where there is none."""
    once = np.ones((1, len(human))), np.ones((1, len(made)))
    return similarity.distance_overlaps(human, made, once).tolist()


def test_a_set_overlaps_with_itself_and_not_with_a_far_one() -> None:
    a = np.random.default_rng(0).normal(size=200)
    assert overlap(a, a) == pytest.approx(1)
    assert overlap(a, a + 50) < 1e-6
    assert overlap(np.full(5, 3.0), np.full(4, 3.0)) == 1
    assert overlap(np.full(5, 3.0), np.full(4, 4.0)) < 1e-6


def test_vectors_lie_apart_as_euclid_says() -> None:
    human = np.array([[0.0, 0], [3, 4], [0, 1]])
    made = np.array([[0.0, 2], [6, 8]])
    among = np.array([5, 1, 18**0.5])
    between = np.array([2, 10, 13**0.5, 5, 1, 85**0.5])
    assert alike(human, made) == pytest.approx([overlap(among, between)])


def test_a_piece_without_a_value_is_left_out() -> None:
    human, made = np.array([0.0, 1, np.nan, 3]), np.array([2.0, np.nan, 5])
    assert alike(human, made) == alike(human[[0, 1, 3]], made[[0, 2]])
    assert alike(human[:3], made) == []


def test_a_weight_counts_a_point_so_often() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=30), rng.normal(1, size=20)
    every, once, twice = np.ones(30), np.ones(20), np.append(np.full(15, 2), np.zeros(15))
    areas = similarity.kde_overlap(a, b, [every, twice], [once, once])
    assert areas[0] == pytest.approx(overlap(a, b))
    # The same points in another order and unit of weight, on the same grid.
    (swapped,) = similarity.kde_overlap(a[::-1], b, [7 * twice[::-1]], [once])
    assert areas[1] == pytest.approx(swapped)
    assert areas[1] != pytest.approx(areas[0], abs=1e-3)
    areas = similarity.kde_overlap(a, b, [every, np.zeros(30)], [once, once])
    assert np.isnan(areas).tolist() == [False, True]


def test_the_grid_gives_what_kernels_at_every_point_give() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=40), rng.normal(1, 2, size=30)
    x = np.linspace(-15, 15, 20_001)

    def density(points: np.ndarray) -> np.ndarray:
        width = points.std(ddof=1) * len(points) ** -0.2
        return np.exp(-0.5 * ((x - points[:, None]) / width) ** 2).mean(0) / width

    p, q = density(a) / (2 * np.pi) ** 0.5, density(b) / (2 * np.pi) ** 0.5
    assert overlap(a, b) == pytest.approx(np.minimum(p, q).sum() * 30 / 20_000, abs=2e-3)


def test_a_piece_drawn_twice_is_not_compared_with_itself() -> None:
    human, made = np.array([0.0, 1, 3, 7]), np.array([2.0, 5])
    draws = np.array([[2, 1, 0, 1], [1, 1, 1, 1]]), np.ones((2, 2))
    found = similarity.distance_overlaps(human, made, draws)
    among, between = np.array([1.0, 3, 7, 2, 6, 4]), np.array([2.0, 5, 1, 4, 1, 2, 5, 2])
    expected = similarity.kde_overlap(
        among, between, [np.array([2, 0, 2, 0, 1, 0])], [np.array([2, 2, 1, 1, 0, 0, 1, 1])]
    )
    assert found.tolist() == pytest.approx([*expected, overlap(among, between)])


def test_a_table_leaves_out_and_counts_what_has_no_value() -> None:
    silent, notes = NoteArray.of([]), NoteArray.of([(0, 1, 60, 0), (1, 1, 65, 0)])
    features = {"range": statistics.pitch_range}

    def row(*made: NoteArray) -> dict[str, Any]:
        sets = {"generated": list(made), "held_out": [notes, notes, silent, notes]}
        found = similarity.statistics_of(sets, features, np.random.default_rng(0))
        assert found["pieces"] == {"generated": len(made), "held_out": 4}
        return found["values"]["range"]

    subsample = row(notes, silent, notes, silent)
    assert subsample["generated"]["value"] == 5
    assert subsample["generated"]["n_skipped"] == 2
    assert subsample["held_out"]["n_skipped"] == 1
    nothing = row(silent)
    assert nothing["generated"] == {"value": None, "interval": None, "n_skipped": 1}
