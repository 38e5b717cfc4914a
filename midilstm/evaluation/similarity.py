"""Measure how similar generated pieces are to human-written ones.

After Yang and Lerch 2018, "On the evaluation of generative models in music": two sets are similar
where the distances from the pieces of one to those of the other are distributed like the distances
between the pieces of one set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from midilstm.evaluation.estimates import Estimate, estimate_mean, percentile_interval
from midilstm.evaluation.features import (
    MGEVAL,
    RHYTHM_MGEVAL,
    RHYTHM_STATISTICS,
    STATISTICS,
    Feature,
    NoteArray,
    Piece,
    feature_matrix,
    inter_onsets,
)
from midilstm.evaluation.piece_sets import Pieces, to_note_arrays
from midilstm.tokenizers.vocabulary import Vocabulary

TINY = 1e-12  # where a density vanishes, so that the divergence stays finite
GRID = 400  # points at which two densities are compared
DRAWS = 200  # bootstrap resamples, and random sets of other reference pieces

Sets = Sequence[Sequence[NoteArray]]  # reference, generated, and peers: other human-written pieces

# What is compared by histograms: per piece int [n], in steps.
DISTRIBUTIONS: dict[str, Callable[[NoteArray], np.ndarray]] = {
    "inter-onset overlap": inter_onsets,
    "duration overlap": lambda notes: notes.pitched().length,
}


@dataclass(frozen=True)
class FeatureMean(Estimate):
    """The mean of a feature over the pieces that have it, and how many lack it."""

    n_skipped: int = 0


@dataclass(frozen=True)
class Statistics:
    """The number of pieces per set, and the mean of each feature per set."""

    pieces: Mapping[str, int]
    values: Mapping[str, Mapping[str, FeatureMean]]


@dataclass(frozen=True)
class Overlap:
    """The overlap of generated with reference pieces, and of other reference pieces with them.

    The divergences are those of the same densities, from that of the reference pieces.
    """

    value: float | None
    reference: float | None
    kl_divergence: float | None = None
    reference_kl_divergence: float | None = None


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
    features: dict[str, Overlap]
    mean_overlap: MeanOverlap
    distributions: dict[str, Overlap]
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


def compare_densities(
    a: np.ndarray, b: np.ndarray, a_weights: Iterable[np.ndarray], b_weights: Iterable[np.ndarray]
) -> np.ndarray:
    """Return how two samples' densities differ for each row of weights, float [2, rows].

    The first row is their overlap, the second the Kullback-Leibler divergence of b from a in nats.
    The grid and the kernels' widths are those of the whole samples.
    """
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if np.isclose(low, high, rtol=1e-9, atol=1e-12):
        return np.array([[1.0], [0.0]]).repeat(len(list(a_weights)), axis=1)
    min_width = (high - low) / 100  # which the grid still resolves
    margin = 4 * max(min_width, a.std() * len(a) ** -0.2, b.std() * len(b) ** -0.2)
    grid = np.linspace(low - margin, high + margin, GRID)
    p, q = _densities(a, a_weights, grid, min_width), _densities(b, b_weights, grid, min_width)
    divergence = np.sum(p * np.log(np.maximum(p, TINY) / np.maximum(q, TINY)), axis=1)
    return np.array([np.minimum(p, q).sum(1), divergence])


def compare_distances(
    reference: np.ndarray, others: np.ndarray, weights: np.ndarray, other_weights: np.ndarray
) -> np.ndarray:
    """Compare the distances within the reference with those to other pieces, float [2, draws].

    The result is that of `compare_densities`.
    Both are a feature's values, float [pieces] or [pieces, size]; pieces with NaN are left out. The
    weights [draws, pieces] say how often each piece is in a draw; a piece that was drawn twice is
    not compared with itself. All is NaN for fewer than three reference pieces or two others.
    """
    reference, others = (x if x.ndim > 1 else x[:, None] for x in (reference, others))
    in_reference, in_others = np.isfinite(reference).all(1), np.isfinite(others).all(1)
    reference, others = reference[in_reference], others[in_others]
    if len(reference) < 3 or len(others) < 2:
        return np.full((2, len(weights)), np.nan)
    weights, other_weights = weights[:, in_reference], other_weights[:, in_others]
    first, second = np.triu_indices(len(reference), 1)
    return compare_densities(
        np.linalg.norm(reference[first] - reference[second], axis=1),
        np.linalg.norm(reference[:, None] - others, axis=2).ravel(),
        (row[first] * row[second] for row in weights),
        (np.outer(*rows).ravel() for rows in zip(weights, other_weights, strict=True)),
    )


def histogram_overlaps(
    reference: Sequence[np.ndarray], others: Sequence[np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Return the common part of the histograms of two sets of pieces' values, float [draws].

    A set's histogram is the mean of those of its pieces int [n] that have values. The weights
    [draws, pieces] are of the other pieces.
    """
    values = np.unique(np.concatenate([*reference, *others]))
    shares, other_shares = (  # float [pieces, values], each row summing to 1
        np.array(
            [
                np.bincount(np.searchsorted(values, x), minlength=len(values)) / len(x)
                for x in part
                if len(x)
            ]
        )
        for part in (reference, others)
    )
    if not len(shares) or not len(other_shares):
        return np.full(len(weights), np.nan)
    weights = weights[:, [len(x) > 0 for x in others]]
    means = weights @ other_shares / weights.sum(1, keepdims=True)
    return np.minimum(shares.mean(0), means).sum(1)


def _finite_mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _average(overlaps: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the mean over the features that have overlaps, float [draws], and their number."""
    present = [draws for draws in overlaps if not np.isnan(draws).all()]
    return np.mean(present, axis=0) if present else np.array([np.nan]), len(present)


def compare_sets(
    sets: Sets,
    features: Mapping[str, Feature],
    distributions: Mapping[str, Callable[[NoteArray], np.ndarray]],
    rng: np.random.Generator,
) -> tuple[dict[str, Overlap], MeanOverlap, dict[str, Overlap]]:
    """Return the overlap of distances by feature, its mean, and the overlap of distributions.

    The overlap of peers is the mean over random sets of as many peers as generated pieces.
    Resampled sets share pieces and are less similar than they should be, so the interval of the
    mean is moved to lie around the value of the whole sets.
    """
    sizes = n_reference, n_generated, n_peers = [len(pieces) for pieces in sets]
    resamples = DRAWS if min(n_reference, n_generated) > 1 else 0
    weights = [  # of the reference and the generated pieces: each once, then bootstrap resamples
        np.vstack([np.ones(size), rng.multinomial(size, np.full(size, 1 / size), resamples)])
        for size in sizes[:2]
    ]
    n_subsets = DRAWS if n_generated < n_peers else 1
    peers = [rng.permutation(np.arange(n_peers) < n_generated) for _ in range(n_subsets)]
    peer_weights = np.ones((n_subsets, n_reference)), np.array(peers, float)
    matrices = [feature_matrix(features, pieces) for pieces in sets]
    compared, peers_compared = (
        {x: compare_distances(matrices[0][x], others[x], *both) for x in features}
        for others, both in zip(matrices[1:], (weights, peer_weights), strict=True)
    )
    means, n_features = _average(overlap for overlap, _ in compared.values())
    peer_means, _ = _average(overlap for overlap, _ in peers_compared.values())
    interval = None
    if len(means) > 1 and (spread := percentile_interval(means[1:] - np.nanmean(means[1:]))):
        low, high = np.clip(means[0] + np.array(spread), 0, 1).tolist()
        interval = low, high
    of_others = Estimate(_finite_mean(peer_means), percentile_interval(peer_means))
    mean = MeanOverlap(_finite_mean(means[:1]), interval, of_others, n_features)
    by_feature, histograms = {}, {}
    for name in features:
        pairs = zip(compared[name][:, :1], peers_compared[name], strict=True)
        by_feature[name] = Overlap(*(_finite_mean(x) for pair in pairs for x in pair))
    for name, values_of in distributions.items():
        values = [[values_of(piece) for piece in pieces] for pieces in sets]
        overlap, of_peer = (
            histogram_overlaps(values[0], others, rows)
            for others, rows in zip(values[1:], (weights[1][:1], peer_weights[1]), strict=True)
        )
        histograms[name] = Overlap(_finite_mean(overlap), _finite_mean(of_peer))
    return by_feature, mean, histograms


def compare_statistics(
    sets: Mapping[str, Sequence[Piece]],
    features: Mapping[str, Callable[[Piece], float | np.ndarray]],
) -> Statistics:
    """Return the mean of each feature in each set of pieces."""
    values: dict[str, dict[str, FeatureMean]] = {name: {} for name in features}
    for group, pieces in sets.items():
        for name, column in feature_matrix(features, pieces).items():
            present = column[np.isfinite(column)]
            n_skipped = len(column) - len(present)
            values[name][group] = FeatureMean(**vars(estimate_mean(present)), n_skipped=n_skipped)
    return Statistics({group: len(pieces) for group, pieces in sets.items()}, values)


def compare_music(
    sets: Mapping[str, Pieces], vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[Statistics, Similarity | None]:
    """Return statistics of sets of pieces, and the similarity to held-out or else training pieces.

    Features of rhythm are skipped where they would describe the encoding, which keeps no rhythm.
    """
    notes = {group: to_note_arrays(pieces, vocabulary) for group, pieces in sets.items()}
    has_rhythm = vocabulary.encoding.keeps_rhythm
    skipped = (*RHYTHM_STATISTICS, *RHYTHM_MGEVAL, *DISTRIBUTIONS)
    statistics = compare_statistics(notes, STATISTICS | (RHYTHM_STATISTICS if has_rhythm else {}))
    groups = [group for group in ("held_out", "training") if group in notes]
    if not groups:
        return statistics, None
    features, mean_overlap, distributions = compare_sets(
        [notes[groups[0]], notes["generated"], notes[groups[1]] if len(groups) > 1 else []],
        MGEVAL | (RHYTHM_MGEVAL if has_rhythm else {}),
        DISTRIBUTIONS if has_rhythm else {},
        rng,
    )
    return statistics, Similarity(
        reference_set=groups[0],
        pieces={group: len(notes[group]) for group in ("generated", groups[0])},
        features=features,
        mean_overlap=mean_overlap,
        distributions=distributions,
        skipped_features=() if has_rhythm else skipped,
    )
