"""Musical statistics by hand, and distances of sets with known answers."""

import math
from pathlib import Path

import mido
import numpy as np
import pytest

import encoding
import measures

IDS = np.array([1])


def notes(*pitches: int) -> list[tuple[float, float, int, int]]:
    return [(i / 2, 0.5, pitch, 0) for i, pitch in enumerate(pitches)]


def test_pitch_class_entropy() -> None:
    assert measures.pitch_class_entropy(notes(60, 72, 48), IDS) == 0
    assert measures.pitch_class_entropy(notes(60, 61, 62, 63), IDS) == pytest.approx(2)
    chromatic = measures.pitch_class_entropy(notes(*range(60, 72)), IDS)
    assert chromatic == pytest.approx(math.log2(12))
    assert measures.pitch_class_entropy(notes(60, 60, 60, 67), IDS) == pytest.approx(0.811278)


def test_pitch_range() -> None:
    assert measures.pitch_range(notes(60, 48, 71), IDS) == 23


@pytest.mark.parametrize(
    ("pitches", "expected"),
    [
        ((60, 62, 64, 65, 67, 69, 71), 1),  # C major
        ((57, 59, 60, 62, 64, 65, 67), 1),  # A minor, natural
        ((62, 64, 66, 67, 69, 71, 73), 1),  # D major
        ((57, 59, 60, 62, 64, 65, 68), 6 / 7),  # A minor, harmonic
        (tuple(range(60, 72)), 7 / 12),
    ],
)
def test_scale_consistency(pitches: tuple[int, ...], expected: float) -> None:
    assert measures.scale_consistency(notes(*pitches), IDS) == pytest.approx(expected)


def test_density_counts_what_is_written() -> None:
    # Three notes, then one, half a quarter each.
    assert measures.note_density(encoding.played(["0.4.7", "C4"]), IDS) == 4


def test_repetition() -> None:
    ids = np.array([1, 1, 2, 3, 1, 1, 2, 3])
    assert measures.repeated_tokens([], ids) == pytest.approx(2 / 7)
    assert measures.repeated_phrases([], ids) == pytest.approx(1 / 5)  # 1 1 2 3 comes again
    assert measures.repeated_tokens([], ids[:1]) == 0
    assert measures.repeated_phrases([], ids[:3]) == 0


def test_what_is_played_is_what_is_written(tmp_path: Path) -> None:
    tokens = ["0.4.7", "C#4", "B-3", "11"]
    encoding.write(tokens, tmp_path / "a.mid")
    found, now = [], 0.0
    midi = mido.MidiFile(tmp_path / "a.mid")
    for message in midi.tracks[0]:
        now += message.time / midi.ticks_per_beat
        if message.type == "note_on" and message.velocity:
            found.append((now, 0.5, message.note, 0))
    assert encoding.played(tokens) == found


def test_a_set_overlaps_with_itself_and_not_with_a_far_one() -> None:
    a = np.random.default_rng(0).normal(size=200)
    assert measures.overlap(a, a) == pytest.approx((1, 0))
    area, divergence = measures.overlap(a, a + 50)
    assert area < 1e-6
    assert divergence > 100
    assert measures.overlap(np.full(5, 3.0), np.full(4, 3.0)) == (1, 0)
    assert measures.overlap(np.full(5, 3.0), np.full(4, 4.0))[0] < 1e-6


def test_two_bell_curves_overlap_as_mathematics_says() -> None:
    # Quantiles in place of draws, so that no chance is left; kernels widen both a little.
    from statistics import NormalDist

    a = np.array([NormalDist().inv_cdf((i + 0.5) / 4000) for i in range(4000)])
    area, divergence = measures.overlap(a, a + 1)
    assert area == pytest.approx(2 * NormalDist().cdf(-0.5), abs=0.02)
    assert divergence == pytest.approx(0.5, abs=0.04)


def test_similar_sets_are_similar_and_distant_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    human, made = rng.normal(size=100), rng.normal(size=100)
    near, far = measures.similarity(human, made), measures.similarity(human, made + 20)
    assert near is not None
    assert far is not None
    assert near["overlap"] > 0.9
    assert near["divergence"] < 0.05
    assert far["overlap"] < 0.01
    assert measures.similarity(human[:2], made) is None


def test_distances_are_among_people_and_from_people_to_the_made() -> None:
    found = measures.similarity(np.array([0.0, 1, 3]), np.array([2.0, 5]))
    among, between = np.array([1.0, 3, 2]), np.array([2.0, 5, 1, 4, 1, 2])
    assert found is not None
    assert tuple(found.values()) == pytest.approx(measures.overlap(among, between))


def test_an_interval_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(2).normal(5, 2, 400)
    found = measures.estimate(values, rng=np.random.default_rng(3))
    low, high = found["interval"]
    assert low < found["value"] < high
    assert found["value"] == pytest.approx(values.mean())
    standard_error = values.std() / 400**0.5
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        low, high = measures.estimate(rng.normal(size=50), rng=rng)["interval"]
        covered += low <= 0 <= high
    assert 175 <= covered <= 199


def test_a_ratio_is_of_sums() -> None:
    rng = np.random.default_rng(0)
    found = measures.estimate(np.array([1.0, 9.0]), np.array([1, 3]), rng=rng)
    assert found["value"] == 2.5
    assert found["interval"] == [1, 3]
    assert measures.estimate(np.array([1.0]), np.array([2]), rng=rng) == {
        "value": 0.5,
        "interval": None,
    }
    assert measures.estimate(np.array([]), rng=rng) == {"value": None, "interval": None}
