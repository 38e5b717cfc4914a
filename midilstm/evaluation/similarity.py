"""How far sets of pieces lie apart, and how near generated ones come to people's own measure.

After Yang and Lerch 2018, "On the evaluation of generative models in music": sets are alike where
a piece of one is no farther from the other's pieces than those are among themselves. Knows no
files, no networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from midilstm.evaluation import features as statistics
from midilstm.evaluation import mgeval
from midilstm.evaluation.features import NoteArray
from midilstm.evaluation.piece_sets import Pieces, listen
from midilstm.tokenizers.vocabulary import Vocabulary

GRID = 400  # points at which two densities are compared
DRAWS = 200  # resamples where each needs the distances of all pieces

Features = Mapping[str, statistics.Feature]
Draws = tuple[np.ndarray, np.ndarray]  # how often each piece of two sets counts: [draws, pieces]

# What a piece has a distribution of, int [n] in steps.
DISTRIBUTIONS: dict[str, Callable[[NoteArray], np.ndarray]] = {
    "inter-onset overlap": statistics.inter_onsets,
    "duration overlap": statistics.note_lengths,
}


def _densities(
    points: np.ndarray, rows: Iterable[np.ndarray], grid: np.ndarray, floor: float
) -> np.ndarray:
    """Estimate float [rows, GRID], each summing to 1, by Gaussian kernels of Scott's width."""
    width = max(points.std(ddof=1) * len(points) ** -0.2, floor)
    # Each point is first shared out between the two places of the grid that it lies between:
    # distances of many pieces are very many.
    part, below = np.modf((points - grid[0]) / (grid[1] - grid[0]))
    places = below.astype(int)
    heights = [
        np.bincount(places, weights * (1 - part), GRID)
        + np.bincount(places + 1, weights * part, GRID)
        for weights in rows
    ]
    values = np.array(heights) @ np.exp(-0.5 * ((grid[:, None] - grid) / width) ** 2)
    with np.errstate(invalid="ignore"):  # a row without any weight is NaN
        return values / values.sum(1, keepdims=True)


def kde_overlap(
    a: np.ndarray, b: np.ndarray, of_a: Iterable[np.ndarray], of_b: Iterable[np.ndarray]
) -> np.ndarray:
    """Return the overlap of two samples' densities, float [rows], as each row of weights has them.

    The grid and the kernels' widths are those of the whole samples, so that all numbers speak of
    the same curves.
    """
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if np.isclose(low, high, rtol=1e-9, atol=1e-12):  # but for rounding
        return np.ones(len(list(of_a)))
    floor = (high - low) / 100  # a width that the grid still resolves
    margin = 4 * max(floor, a.std() * len(a) ** -0.2, b.std() * len(b) ** -0.2)
    grid = np.linspace(low - margin, high + margin, GRID)
    p, q = _densities(a, of_a, grid, floor), _densities(b, of_b, grid, floor)
    return np.minimum(p, q).sum(1)


def _vectors(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which pieces have a value, bool [pieces], and the vectors of those."""
    vectors = values if values.ndim > 1 else values[:, None]
    there = np.isfinite(vectors).all(1)
    return there, vectors[there]


def distance_overlaps(human: np.ndarray, others: np.ndarray, draws: Draws) -> np.ndarray:
    """Compare how far people's pieces lie from each other and from others, float [draws].

    1 where another piece is no farther from people's than they are among themselves. A piece that
    was drawn twice is not compared with itself. Nothing for fewer than three of people's or two
    others.
    """
    (people, human), (rest, others) = _vectors(human), _vectors(others)
    if len(human) < 3 or len(others) < 2:
        return np.empty(0)
    mine, theirs = draws[0][:, people], draws[1][:, rest]
    one, two = np.triu_indices(len(human), 1)
    return kde_overlap(
        np.linalg.norm(human[one] - human[two], axis=1),
        np.linalg.norm(human[:, None] - others, axis=2).ravel(),
        (row[one] * row[two] for row in mine),
        (np.outer(*rows).ravel() for rows in zip(mine, theirs, strict=True)),
    )


def statistics_of(
    sets: Mapping[str, Sequence[NoteArray]], features: Features, rng: np.random.Generator
) -> dict[str, Any]:
    """Set each statistic of the generated pieces beside that of each set of people's pieces."""
    found = {group: statistics.feature_matrix(features, pieces) for group, pieces in sets.items()}
    rows: dict[str, Any] = {name: {} for name in features}
    for name, row in rows.items():
        for group, of in found.items():
            there = of[name][np.isfinite(of[name])]
            left_out = len(of[name]) - len(there)
            row[group] = {**statistics.estimate(there, rng=rng), "n_skipped": left_out}
    sizes = {group: len(pieces) for group, pieces in sets.items()}
    return {"pieces": sizes, "values": rows}


def _draws(sizes: Sequence[int], number: int, rng: np.random.Generator) -> tuple[Draws, Draws]:
    """Return draws of people's and generated pieces, and of people's and other people's pieces.

    `sizes` are of the three. First every piece once, then bootstrap resamples of both sets: none of
    a set of one, which says nothing of chance. Of other people's pieces there are as many as of
    generated ones.
    """
    human, made, peers = sizes
    resamples = number if min(human, made) > 1 else 0
    first, second = (
        np.vstack([np.ones(size), rng.multinomial(size, np.full(size, 1 / size), resamples)])
        for size in (human, made)
    )
    number = number if made < peers else 1
    few = np.array([rng.permutation(np.arange(peers) < made) for _ in range(number)])
    return (first, second), (np.ones((number, human)), few.astype(float))


def _row(found: np.ndarray, among: np.ndarray) -> dict[str, Any]:
    """Return {value, interval, people}: the overlap of each draw with people's, and among people.

    Where pieces are drawn twice, any two sets look less alike than they are: so the resamples are
    too low, but how far they lie from each other says something. They are laid around found[0].
    """
    among = among[np.isfinite(among)]
    usual = float(among.mean()) if len(among) else None
    people = {"value": usual, "interval": statistics.middle(among)}
    if not len(found) or not np.isfinite(found[0]):
        return {"value": None, "interval": None, "reference": people}
    spread = statistics.middle(found[1:] - np.nanmean(found[1:])) if len(found) > 1 else None
    around = spread and np.clip(found[0] + np.array(spread), 0, 1).tolist()
    return {"value": float(found[0]), "interval": around, "reference": people}


def by_features(
    sets: Sequence[Sequence[NoteArray]], features: Features, rng: np.random.Generator
) -> dict[str, Any]:
    """Return for each feature, and for their mean, how alike the distances of pieces are.

    `sets` are people's, the generated and other people's pieces.
    """
    human, made, peers = (statistics.feature_matrix(features, pieces) for pieces in sets)
    draws, among = _draws([len(pieces) for pieces in sets], DRAWS, rng)
    rows: dict[str, Any] = {}
    areas, usual = [], []
    for name in features:
        found = distance_overlaps(human[name], made[name], draws)
        theirs = distance_overlaps(human[name], peers[name], among)
        areas += [found] if len(found) else []
        usual += [theirs] if len(theirs) else []
        rows[name] = _row(found, theirs)
    mean = _row(*(np.mean(part, axis=0) if part else np.empty(0) for part in (areas, usual)))
    return {"features": rows, "mean_overlap": {**mean, "features": len(areas)}}


def by_distribution(
    sets: Sequence[Sequence[np.ndarray]], rng: np.random.Generator
) -> dict[str, Any]:
    """Return how much of people's and the generated pieces' distributions of a value is common.

    `sets` are people's, the generated and other people's pieces, each piece's values int [n]. A
    set's distribution is the mean of its pieces', so that each counts as much; no kernels.
    """
    there = [[piece for piece in pieces if len(piece)] for pieces in sets]
    human, made, peers = sizes = [len(pieces) for pieces in there]
    left_out = {"generated": len(sets[1]) - made, "reference": len(sets[0]) - human}
    if not human or not made:
        return {**_row(np.empty(0), np.empty(0)), "n_skipped": left_out}
    kinds = np.unique(np.concatenate([piece for pieces in there for piece in pieces]))
    # Float [pieces, kinds] a set: how much of a piece has each value that any of them has.
    theirs, ours, others = (
        np.array([np.bincount(np.searchsorted(kinds, p), minlength=len(kinds)) / len(p) for p in s])
        for s in there
    )

    def common(a: np.ndarray, b: np.ndarray, draws: Draws) -> np.ndarray:
        p, q = (d @ s / d.sum(1, keepdims=True) for d, s in zip(draws, (a, b), strict=True))
        return np.minimum(p, q).sum(1)

    draws, among = _draws(sizes, statistics.RESAMPLES, rng)
    usual = common(theirs, others, among) if peers else np.empty(0)
    return {**_row(common(theirs, ours, draws), usual), "n_skipped": left_out}


def compare(
    sets: Mapping[str, Pieces], vocabulary: Vocabulary, rng: np.random.Generator
) -> dict[str, Any]:
    """Return statistics of each set of pieces, and how similar generated ones are to people's.

    Those are held-out pieces, beside what training pieces reach, or training pieces where none are
    held out. Where an encoding keeps no rhythm, what needs it is left out: the encoding would be
    described, and not the music.
    """
    (other,) = rng.spawn(1)  # its own, so that what is drawn from it changes no other interval
    rhythm = vocabulary.encoding.keeps_rhythm
    heard = {group: listen(pieces, vocabulary, other) for group, pieces in sets.items()}
    values, features = (
        part.OF_PITCHES | (part.OF_RHYTHM if rhythm else {}) for part in (statistics, mgeval)
    )
    result = {"statistics": statistics_of(heard, values, rng)}
    people = [group for group in ("held_out", "training") if group in heard]
    if people:
        group, *others = people
        three = [heard[group], heard["generated"], heard[others[0]] if others else []]
        result["similarity"] = {
            "reference_set": group,
            "pieces": {"generated": len(three[1]), group: len(three[0])},
            **by_features(three, features, other),
            "distributions": {
                name: by_distribution([[of(piece) for piece in part] for part in three], other)
                for name, of in (DISTRIBUTIONS.items() if rhythm else ())
            },
            "skipped_features": []
            if rhythm
            else [*statistics.OF_RHYTHM, *mgeval.OF_RHYTHM, *DISTRIBUTIONS],
        }
    return result
