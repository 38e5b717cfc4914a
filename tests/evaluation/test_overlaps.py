"""Distances of sets with known answers."""

import numpy as np
import pytest

from midilstm.evaluation import overlaps


def test_a_set_overlaps_with_itself_and_not_with_a_far_one() -> None:
    a = np.random.default_rng(0).normal(size=200)
    assert overlaps.overlap(a, a) == pytest.approx((1, 0))
    area, divergence = overlaps.overlap(a, a + 50)
    assert area < 1e-6
    assert divergence > 100
    assert overlaps.overlap(np.full(5, 3.0), np.full(4, 3.0)) == (1, 0)
    assert overlaps.overlap(np.full(5, 3.0), np.full(4, 4.0))[0] < 1e-6


def test_two_bell_curves_overlap_as_mathematics_says() -> None:
    # Quantiles in place of draws, so that no chance is left; kernels widen both a little.
    from statistics import NormalDist

    a = np.array([NormalDist().inv_cdf((i + 0.5) / 4000) for i in range(4000)])
    area, divergence = overlaps.overlap(a, a + 1)
    assert area == pytest.approx(2 * NormalDist().cdf(-0.5), abs=0.02)
    assert divergence == pytest.approx(0.5, abs=0.04)


def test_similar_sets_are_similar_and_distant_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    human, made = rng.normal(size=100), rng.normal(size=100)
    near, far = overlaps.similarity(human, made), overlaps.similarity(human, made + 20)
    assert near is not None
    assert far is not None
    assert near["overlap"] > 0.9
    assert near["divergence"] < 0.05
    assert far["overlap"] < 0.01
    assert overlaps.similarity(human[:2], made) is None


def test_distances_are_among_people_and_from_people_to_the_made() -> None:
    found = overlaps.similarity(np.array([0.0, 1, 3]), np.array([2.0, 5]))
    among, between = np.array([1.0, 3, 2]), np.array([2.0, 5, 1, 4, 1, 2])
    assert found is not None
    assert tuple(found.values()) == pytest.approx(overlaps.overlap(among, between))


def test_vectors_lie_apart_as_euclid_says() -> None:
    human = np.array([[0.0, 0], [3, 4], [0, 1]])
    made = np.array([[0.0, 2], [6, 8]])
    found = overlaps.similarity(human, made)
    assert found is not None
    among = np.array([5, 1, 18**0.5])
    between = np.array([2, 10, 13**0.5, 5, 1, 85**0.5])
    assert tuple(found.values()) == pytest.approx(overlaps.overlap(among, between))


def test_a_piece_without_a_value_is_left_out() -> None:
    human, made = np.array([0.0, 1, np.nan, 3]), np.array([2.0, np.nan, 5])
    assert overlaps.similarity(human, made) == overlaps.similarity(human[[0, 1, 3]], made[[0, 2]])
    assert overlaps.similarity(human[:3], made) is None
    vectors = np.array([[1.0, 2], [np.nan, 0], [0, 0]])
    assert overlaps.defined(vectors).tolist() == [True, False, True]


def test_a_weight_counts_a_point_so_often() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=30), rng.normal(1, size=20)
    twice, once = np.append(np.full(15, 2), np.zeros(15)), np.ones(20)
    areas, _ = overlaps.weighted_overlaps(a, b, [None, twice], [None, once])
    assert areas[0] == overlaps.overlap(a, b)[0]
    # The same points in another order and unit of weight, on the same grid.
    swapped, _ = overlaps.weighted_overlaps(a[::-1], b, [7 * twice[::-1]], [None])
    assert areas[1] == pytest.approx(swapped[0])
    assert areas[1] != pytest.approx(areas[0], abs=1e-3)
    areas, _ = overlaps.weighted_overlaps(a, b, [None, np.zeros(30)], [None, None])
    assert np.isnan(areas).tolist() == [False, True]


def test_every_row_is_as_exact_as_the_first() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=30), rng.normal(1, size=20)
    first, second = rng.random(30), rng.random(30)
    one, _ = overlaps.weighted_overlaps(a, b, [first, second], [None, None])
    other, _ = overlaps.weighted_overlaps(a, b, [second, first], [None, None])
    assert one == pytest.approx(other[::-1], abs=1e-12)


def test_the_grid_gives_what_kernels_at_every_point_give() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=40), rng.normal(1, 2, size=30)
    x = np.linspace(-15, 15, 20_001)

    def density(points: np.ndarray) -> np.ndarray:
        width = points.std(ddof=1) * len(points) ** -0.2
        return np.exp(-0.5 * ((x - points[:, None]) / width) ** 2).mean(0) / width

    p, q = density(a) / (2 * np.pi) ** 0.5, density(b) / (2 * np.pi) ** 0.5
    area, divergence = overlaps.overlap(a, b)
    assert area == pytest.approx(np.minimum(p, q).sum() * 30 / 20_000, abs=2e-3)
    tiny = 1e-300
    expected = np.sum(p * np.log(np.maximum(p, tiny) / np.maximum(q, tiny))) * 30 / 20_000
    assert divergence == pytest.approx(expected, rel=0.01)


def test_what_differs_by_rounding_only_is_the_same() -> None:
    assert overlaps.overlap(np.array([0.3, 0.3]), np.array([0.1 + 0.2, 0.3])) == (1, 0)


def test_a_piece_drawn_twice_is_not_compared_with_itself() -> None:
    human, made = np.array([0.0, 1, 3, 7]), np.array([2.0, 5])
    draws = [(np.array([2, 1, 0, 1]), np.ones(2)), (np.ones(4), np.ones(2))]
    found = overlaps.similarities(human, made, draws)
    assert found is not None
    among, between = np.array([1.0, 3, 7, 2, 6, 4]), np.array([2.0, 5, 1, 4, 1, 2, 5, 2])
    expected, divergence = overlaps.weighted_overlaps(
        among, between, [np.array([2, 0, 2, 0, 1, 0])], [np.array([2, 2, 1, 1, 0, 0, 1, 1])]
    )
    assert found[0].tolist() == pytest.approx([*expected, overlaps.overlap(among, between)[0]])
    assert found[1] == pytest.approx(divergence)


def test_a_table_leaves_out_and_counts_what_has_no_value() -> None:
    made = {"range": np.array([1.0, np.nan, 3, np.nan])}
    human = {"held_out": {"range": np.array([2.0, 4, 6])}}
    row = overlaps.comparison(made, human, np.random.default_rng(0))["range"]
    assert row["generated"]["value"] == 2
    assert row["generated"]["left_out"] == 2
    assert row["held_out"]["value"] == 4
    assert row["held_out"]["left_out"] == 0
    assert row["held_out"]["similarity"]["overlap"] > 0
    nothing = overlaps.comparison({"range": np.full(3, np.nan)}, human, np.random.default_rng(0))
    assert nothing["range"]["generated"] == {"value": None, "interval": None, "left_out": 3}
    assert nothing["range"]["held_out"]["similarity"] is None
