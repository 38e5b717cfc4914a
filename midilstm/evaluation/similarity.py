"""Measure how similar generated pieces are to human-written ones.

After Yang and Lerch 2018, "On the evaluation of generative models in music": two sets are similar
where the distances from the pieces of one to those of the other are distributed like the distances
between the pieces of one set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from midilstm.evaluation import features as statistics
from midilstm.evaluation import mgeval
from midilstm.evaluation.estimates import Estimate, percentile_interval
from midilstm.evaluation.features import Feature, NoteArray, Statistics, feature_matrix
from midilstm.evaluation.piece_sets import Pieces, to_note_arrays
from midilstm.tokenizers.vocabulary import Vocabulary

GRID = 400  # points at which two densities are compared
DRAWS = 200  # bootstrap resamples, and random sets of other reference pieces

Draws = tuple[np.ndarray, np.ndarray]  # the weight of each piece of two sets: [draws, pieces]

# What is compared by histograms: per piece int [n], in steps.
DISTRIBUTIONS: dict[str, Callable[[NoteArray], np.ndarray]] = {
    "inter-onset overlap": statistics.inter_onsets,
    "duration overlap": lambda notes: notes.pitched().length,
}


@dataclass(frozen=True)
class Overlap:
    """The overlap of generated with reference pieces, and of other reference pieces with them."""

    value: float | None
    reference: float | None


@dataclass(frozen=True)
class MeanOverlap(Estimate):
    """The mean overlap over so many features, and that of other reference pieces."""

    reference: Estimate = field(default_factory=Estimate)
    features: int = 0


@dataclass(frozen=True)
class Similarity:
    """How similar generated pieces are to those of the reference set; 1 is the same."""

    reference_set: str
    pieces: Mapping[str, int]
    features: Mapping[str, Overlap]
    mean_overlap: MeanOverlap
    distributions: Mapping[str, Overlap]
    skipped_features: tuple[str, ...]


def _densities(
    points: np.ndarray, weights: Iterable[np.ndarray], grid: np.ndarray, min_width: float
) -> np.ndarray:
    """Estimate float [rows, GRID], each summing to 1, by Gaussian kernels of Scott's width."""
    width = max(points.std(ddof=1) * len(points) ** -0.2, min_width)
    # Each point is first shared between its two neighbours on the grid: there are many distances.
    fraction, floor = np.modf((points - grid[0]) / (grid[1] - grid[0]))
    indices = floor.astype(int)
    heights = [
        np.bincount(indices, row * (1 - fraction), GRID)
        + np.bincount(indices + 1, row * fraction, GRID)
        for row in weights
    ]
    values = np.array(heights) @ np.exp(-0.5 * ((grid[:, None] - grid) / width) ** 2)
    with np.errstate(invalid="ignore"):  # a row without any weight is NaN
        return values / values.sum(1, keepdims=True)


def kde_overlap(
    a: np.ndarray, b: np.ndarray, a_weights: Iterable[np.ndarray], b_weights: Iterable[np.ndarray]
) -> np.ndarray:
    """Return the overlap of two samples' densities for each row of weights, float [rows].

    The grid and the kernels' widths are those of the whole samples.
    """
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if np.isclose(low, high, rtol=1e-9, atol=1e-12):
        return np.ones(len(list(a_weights)))
    min_width = (high - low) / 100  # which the grid still resolves
    margin = 4 * max(min_width, a.std() * len(a) ** -0.2, b.std() * len(b) ** -0.2)
    grid = np.linspace(low - margin, high + margin, GRID)
    p, q = _densities(a, a_weights, grid, min_width), _densities(b, b_weights, grid, min_width)
    return np.minimum(p, q).sum(1)


def distance_overlaps(reference: np.ndarray, others: np.ndarray, draws: Draws) -> np.ndarray:
    """Return the overlap of distances within the reference and to other pieces, float [draws].

    Both are a feature's values, float [pieces] or [pieces, size]; pieces with NaN are left out. A
    piece that was drawn twice is not compared with itself. The result is empty for fewer than three
    reference pieces or two others.
    """
    reference, others = (x if x.ndim > 1 else x[:, None] for x in (reference, others))
    in_reference, in_others = np.isfinite(reference).all(1), np.isfinite(others).all(1)
    reference, others = reference[in_reference], others[in_others]
    if len(reference) < 3 or len(others) < 2:
        return np.empty(0)
    weights, other_weights = draws[0][:, in_reference], draws[1][:, in_others]
    first, second = np.triu_indices(len(reference), 1)
    return kde_overlap(
        np.linalg.norm(reference[first] - reference[second], axis=1),
        np.linalg.norm(reference[:, None] - others, axis=2).ravel(),
        (row[first] * row[second] for row in weights),
        (np.outer(*rows).ravel() for rows in zip(weights, other_weights, strict=True)),
    )


def _draw(sizes: Sequence[int], rng: np.random.Generator) -> tuple[Draws, Draws]:
    """Return weights of the reference and generated pieces, and of the reference and its peers.

    `sizes` are of these three sets. The first draw has each piece once, the others are bootstrap
    resamples, of sets of two or more. The peers are as many as the generated pieces, at random.
    """
    n_reference, n_generated, n_peers = sizes
    resamples = DRAWS if min(n_reference, n_generated) > 1 else 0
    reference, generated = (
        np.vstack([np.ones(size), rng.multinomial(size, np.full(size, 1 / size), resamples)])
        for size in (n_reference, n_generated)
    )
    n_subsets = DRAWS if n_generated < n_peers else 1
    peers = [rng.permutation(np.arange(n_peers) < n_generated) for _ in range(n_subsets)]
    return (reference, generated), (np.ones((n_subsets, n_reference)), np.array(peers, float))


def _finite_mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _average_features(overlaps: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the mean over the features that have overlaps, float [draws], and their number."""
    present = [draws for draws in overlaps if len(draws)]
    return np.mean(present, axis=0) if present else np.empty(0), len(present)


def compare_distances(
    sets: Sequence[Sequence[NoteArray]], features: Mapping[str, Feature], rng: np.random.Generator
) -> tuple[dict[str, Overlap], MeanOverlap]:
    """Return the overlap of distances by feature, and its mean.

    `sets` are the reference, the generated pieces, and peers: other human-written pieces. Resampled
    sets share pieces and are less similar than they should be, so the interval of the mean is moved
    to lie around the value of the whole sets.
    """
    reference, generated, peers = (feature_matrix(features, pieces) for pieces in sets)
    draws, peer_draws = _draw([len(pieces) for pieces in sets], rng)
    overlaps = [distance_overlaps(reference[x], generated[x], draws) for x in features]
    of_peers = [distance_overlaps(reference[x], peers[x], peer_draws) for x in features]
    rows = {
        name: Overlap(_finite_mean(overlap[:1]), _finite_mean(of_peer))
        for name, overlap, of_peer in zip(features, overlaps, of_peers, strict=True)
    }
    means, n_features = _average_features(overlaps)
    peer_means, _ = _average_features(of_peers)
    interval = None
    if len(means) > 1 and (spread := percentile_interval(means[1:] - np.nanmean(means[1:]))):
        low, high = np.clip(means[0] + np.array(spread), 0, 1).tolist()
        interval = low, high
    of_others = Estimate(_finite_mean(peer_means), percentile_interval(peer_means))
    return rows, MeanOverlap(_finite_mean(means[:1]), interval, of_others, n_features)


def compare_distribution(sets: Sequence[Sequence[np.ndarray]], rng: np.random.Generator) -> Overlap:
    """Return the common part of the histograms of the reference and the generated pieces.

    `sets` are as in `compare_distances`, each piece's values int [n]. A set's histogram is the mean
    of those of its pieces that have values.
    """
    present = [[piece for piece in pieces if len(piece)] for pieces in sets]
    if not present[0] or not present[1]:
        return Overlap(None, None)
    values = np.unique(np.concatenate([piece for pieces in present for piece in pieces]))
    reference, generated, peers = (  # float [pieces, values], each row summing to 1
        np.array(
            [np.bincount(np.searchsorted(values, p), minlength=len(values)) / len(p) for p in part]
        )
        for part in present
    )
    overlap = float(np.minimum(reference.mean(0), generated.mean(0)).sum())
    if not len(peers):
        return Overlap(overlap, None)
    _, (_, weights) = _draw([len(pieces) for pieces in present], rng)
    means = weights @ peers / weights.sum(1, keepdims=True)
    return Overlap(overlap, _finite_mean(np.minimum(reference.mean(0), means).sum(1)))


def compare_music(
    sets: Mapping[str, Pieces], vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[Statistics, Similarity | None]:
    """Return statistics of the music of sets of pieces, and the similarity of generated pieces.

    The reference is the held-out set, or else the training set; without both the similarity is
    None. Without rhythm in the encoding, features of rhythm are skipped: they would describe the
    encoding.
    """
    (similarity_rng,) = rng.spawn(1)
    notes = {
        group: to_note_arrays(pieces, vocabulary, similarity_rng) for group, pieces in sets.items()
    }
    described, compared = dict(statistics.PITCH_FEATURES), dict(mgeval.PITCH_FEATURES)
    skipped = (*statistics.RHYTHM_FEATURES, *mgeval.RHYTHM_FEATURES, *DISTRIBUTIONS)
    if has_rhythm := vocabulary.encoding.keeps_rhythm:
        described |= statistics.RHYTHM_FEATURES
        compared |= mgeval.RHYTHM_FEATURES
    means = statistics.compare_features(notes, described, rng)
    groups = [group for group in ("held_out", "training") if group in notes]
    if not groups:
        return means, None
    reference, generated = notes[groups[0]], notes["generated"]
    three = [reference, generated, notes[groups[1]] if len(groups) > 1 else []]
    features, mean_overlap = compare_distances(three, compared, similarity_rng)
    distributions = {
        name: compare_distribution(
            [[values(piece) for piece in part] for part in three], similarity_rng
        )
        for name, values in (DISTRIBUTIONS.items() if has_rhythm else ())
    }
    return means, Similarity(
        reference_set=groups[0],
        pieces={"generated": len(generated), groups[0]: len(reference)},
        features=features,
        mean_overlap=mean_overlap,
        distributions=distributions,
        skipped_features=() if has_rhythm else skipped,
    )
