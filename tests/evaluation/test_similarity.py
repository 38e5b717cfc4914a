"""The similarity of sets of pieces where the answer is known, and overlaps against definitions."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from midilstm.evaluation import similarity
from midilstm.evaluation.features import MGEVAL, RHYTHM_MGEVAL, NoteArray
from midilstm.evaluation.similarity import MeanOverlap, Overlap
from midilstm.midi import DRUMS
from midilstm.tokenizers.vocabulary import END, Vocabulary

EMPTY = NoteArray.from_notes([])
ONLY_DRUMS = NoteArray.from_notes([(i / 2, 0.25, 38, DRUMS) for i in range(20)])
FEATURES = MGEVAL | RHYTHM_MGEVAL
SHORT, LONG = (0.25, 0.5, 1), (2.0, 4.0)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "DRAWS", 40)


def random_piece(seed: int, low: int, lengths: tuple[float, ...]) -> NoteArray:
    """Return 60 random notes, one after another."""
    rng = np.random.default_rng(seed)
    length = rng.choice(lengths, 60)
    start = np.append(0, np.cumsum(length)[:-1])
    pitch = low + rng.integers(0, 20, 60)
    return NoteArray.from_notes(list(zip(start, length, pitch.tolist(), [0] * 60, strict=True)))


def random_pieces(
    count: int, seed: int, low: int = 55, lengths: tuple[float, ...] = SHORT
) -> list[NoteArray]:
    return [random_piece(seed + i, low, lengths) for i in range(count)]


REFERENCE = random_pieces(12, 0)


def compare(
    generated: list[NoteArray],
    reference: list[NoteArray] = REFERENCE,
    peers: list[NoteArray] | None = None,
) -> tuple[dict[str, Overlap], MeanOverlap, dict[str, Overlap]]:
    sets, rng = [reference, generated, peers or []], np.random.default_rng(0)
    rows, mean, histograms = similarity.compare_sets(sets, FEATURES, similarity.DISTRIBUTIONS, rng)
    json.dumps(asdict(mean), allow_nan=False)
    return rows, mean, histograms


def test_pieces_of_one_kind_are_more_similar_than_those_of_another() -> None:
    same, other = random_pieces(12, 100), random_pieces(12, 100, 20, LONG)
    (_, near, common), (_, far, different) = compare(same), compare(other)
    assert near.interval
    assert far.interval
    assert near.features == 12
    assert (near.value or 0) > 0.8 > 0.5 > (far.value or 1)
    assert far.interval[0] <= (far.value or 0) <= far.interval[1] < near.interval[0]
    assert near.interval[0] <= (near.value or 0) <= near.interval[1]
    assert all((row.value or 0) > 0.9 for row in common.values())
    assert all(row.value == 0 for row in different.values())


def test_the_reference_value_is_that_of_other_human_pieces() -> None:
    generated, other = random_pieces(8, 100), random_pieces(30, 200, 20, LONG)
    rows, mean, histograms = compare(generated, peers=other)
    assert mean.reference.interval
    assert mean.reference.interval[0] <= (mean.reference.value or 1) < 0.5
    assert (rows["pitch range"].reference or 0) > 0.7  # both kinds span 20 semitones
    assert histograms["duration overlap"].reference == 0
    _, mean, histograms = compare(generated)
    assert (mean.reference.value, histograms["duration overlap"].reference) == (None, None)
    # There is one set of as many other pieces as were generated: it has no interval.
    assert compare(generated, peers=random_pieces(8, 200))[1].reference.interval is None


@pytest.mark.parametrize(
    "generated", [[EMPTY], [ONLY_DRUMS] * 3, [EMPTY, ONLY_DRUMS], random_pieces(1, 9)]
)
def test_too_few_pieces_have_no_overlap(generated: list[NoteArray]) -> None:
    rows, _, histograms = compare(generated)
    assert (histograms["duration overlap"].value is None) is (generated[0].pitched().end == 0)
    assert rows["pitch range"].value is None
    _, mean, histograms = compare(generated, reference=[EMPTY])
    assert (mean.value, histograms["duration overlap"].value) == (None, None)


def test_the_reference_set_is_the_held_out_pieces_or_else_the_training_pieces() -> None:
    vocabulary, draw = Vocabulary((END, "C4", "0.4.7", "D4")), np.random.default_rng(0)
    sets = {
        name: {str(i): draw.integers(1, 4, 24) for i in range(count)}
        for name, count in (("generated", 4), ("held_out", 5), ("training", 9))
    }
    rng = np.random.default_rng(1)
    statistics, similar = similarity.compare_music(sets, vocabulary, rng)
    assert statistics.pieces == {"generated": 4, "held_out": 5, "training": 9}
    assert similar
    assert similar.reference_set == "held_out"
    assert similar.features["pitch range"].reference is not None
    # The encoding `notes` has no rhythm of its own.
    assert similar.mean_overlap.features == 9
    assert similar.distributions == {}
    skipped = {"note length histogram", "duration overlap", "drum share"}
    assert skipped <= set(similar.skipped_features)
    assert "polyphony" not in statistics.values
    del sets["held_out"]
    _, similar = similarity.compare_music(sets, vocabulary, rng)
    assert similar
    assert similar.reference_set == "training"
    assert similar.features["pitch range"].reference is None
    del sets["training"]
    assert similarity.compare_music(sets, vocabulary, rng)[1] is None


def test_a_histogram_is_the_mean_of_those_of_its_pieces() -> None:
    reference = [np.array([6, 6, 6, 12]), np.array([12]), np.array([], int)]
    generated = [np.array([6]), np.array([24, 24])]
    overlaps = similarity.histogram_overlaps(reference, generated, np.array([[1, 1], [1, 0]]))
    # The reference has 3/8 of 6 and 5/8 of 12; the generated pieces have 1/2 of 6 and of 24.
    assert overlaps.tolist() == pytest.approx([3 / 8, 3 / 8])


def overlap_of(a: np.ndarray, b: np.ndarray) -> float:
    ones: list[Any] = [[np.ones(len(part))] for part in (a, b)]
    return float(similarity.compare_densities(a, b, *ones)[0, 0])


def test_overlap_and_divergence_equal_those_of_kernels_evaluated_directly() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=40), rng.normal(1, 2, size=30)
    x = np.linspace(-15, 15, 20_001)

    def density(points: np.ndarray) -> np.ndarray:
        width = points.std(ddof=1) * len(points) ** -0.2
        kernels = np.exp(-0.5 * ((x - points[:, None]) / width) ** 2)
        return np.asarray(kernels.mean(0) / width / (2 * np.pi) ** 0.5)

    p, q = density(a), density(b)
    assert overlap_of(a, b) == pytest.approx(np.minimum(p, q).sum() * 30 / 20_000, abs=2e-3)
    divergence = similarity.compare_densities(a, b, [np.ones(40)], [np.ones(30)])[1, 0]
    assert divergence == pytest.approx(np.sum(p * np.log(p / q)) * 30 / 20_000, abs=1e-2)
    assert overlap_of(np.full(5, 3.0), np.full(4, 3.0)) == 1
    assert overlap_of(np.full(5, 3.0), np.full(4, 4.0)) < 1e-6


def test_distances_are_euclidean_and_of_different_pieces() -> None:
    reference = np.array([[0.0, 0], [3, 4], [0, 1], [9, np.nan]])  # the last lacks the feature
    generated = np.array([[0.0, 2], [6, 8]])
    within = np.array([5, 1, 18**0.5])
    between = np.array([2, 10, 13**0.5, 5, 1, 85**0.5])
    draws = np.array([[1, 1, 1, 1], [2, 1, 0, 1]]), np.ones((2, 2))
    overlaps, _ = similarity.compare_distances(reference, generated, *draws)
    # In the second draw the first piece is there twice, and not compared with itself.
    weights = [np.array([2, 0, 0])], [np.array([2, 2, 1, 1, 0, 0])]
    weighted, _ = similarity.compare_densities(within, between, *weights)
    assert overlaps.tolist() == pytest.approx([overlap_of(within, between), *weighted])
