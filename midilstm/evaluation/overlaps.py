"""How far two sets of pieces lie apart. Knows no files, tokens, networks.

After Yang and Lerch 2018, "On the evaluation of generative models in music": sets are alike where
a piece of one is no farther from the other's pieces than those are among themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from midilstm.evaluation.statistics import estimate

GRID = 400  # points at which two densities are compared

Values = Mapping[str, np.ndarray]  # name → float [pieces] or [pieces, size]
Draw = tuple[np.ndarray, np.ndarray]  # how often each piece of two sets counts
Weights = Iterable[np.ndarray | None]  # how much each point counts, row by row; None: all once


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances float [a, b] of rows."""
    return np.array([np.linalg.norm(b - row, axis=1) for row in a])


def _densities(points: np.ndarray, rows: Weights, grid: np.ndarray, floor: float) -> np.ndarray:
    """Estimate float [rows, GRID], each summing to 1, by Gaussian kernels of Scott's width."""
    width = max(points.std(ddof=1) * len(points) ** -0.2, floor)
    # Each point is first shared out between the two places of the grid that it lies between:
    # distances of many pieces are very many.
    part, below = np.modf((points - grid[0]) / (grid[1] - grid[0]))
    places = below.astype(int)
    heights = np.array(
        [
            np.bincount(places, weights * (1 - part), len(grid))
            + np.bincount(places + 1, weights * part, len(grid))
            for weights in (1 if row is None else row for row in rows)
        ]
    )
    half = np.exp(-0.5 * ((grid - grid[0]) / width) ** 2)
    kernel = np.concatenate([half[:0:-1], half])
    size = 2 * len(grid)  # what comes round then lands outside the part that is kept
    waves = np.fft.rfft(heights, size) * np.fft.rfft(kernel, size)
    values = np.fft.irfft(waves, size)[:, len(grid) - 1 : 2 * len(grid) - 1]
    # The first row exactly: its thin tails, which rounding hides, make its divergence.
    values[0] = np.convolve(kernel, heights[0], "valid")
    with np.errstate(invalid="ignore"):  # a row without any weight is NaN
        return values / values.sum(1, keepdims=True)


def weighted_overlaps(
    a: np.ndarray, b: np.ndarray, of_a: Weights, of_b: Weights
) -> tuple[np.ndarray, float]:
    """Return `overlap` for rows of weights: areas float [rows], the divergence of the first row.

    The grid and the kernels' widths are those of the whole samples.
    """
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if np.isclose(low, high, rtol=1e-9, atol=1e-12):  # but for rounding
        return np.ones(len(list(of_a))), 0.0
    floor = (high - low) / 100  # a width that the grid still resolves
    margin = 4 * max(floor, a.std() * len(a) ** -0.2, b.std() * len(b) ** -0.2)
    grid = np.linspace(low - margin, high + margin, GRID)
    p, q = _densities(a, of_a, grid, floor), _densities(b, of_b, grid, floor)
    tiny = np.finfo(float).tiny
    divergence = p[0] @ (np.log(np.maximum(p[0], tiny)) - np.log(np.maximum(q[0], tiny)))
    return np.minimum(p, q).sum(1), float(divergence)


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return (overlapping area, Kullback-Leibler divergence of b from a in nats) of two samples.

    Both densities are taken on one grid, so that the two numbers speak of the same curves.
    """
    areas, divergence = weighted_overlaps(a, b, [None], [None])
    return float(areas[0]), divergence


def _vectors(values: np.ndarray) -> np.ndarray:
    """Return float [pieces, size] of float [pieces, size] or [pieces]."""
    return values if values.ndim > 1 else values[:, None]


def defined(values: np.ndarray) -> np.ndarray:
    """Return bool [pieces], which have a value."""
    return np.isfinite(_vectors(values)).all(1)


def similarities(
    human: np.ndarray, others: np.ndarray, draws: Sequence[Draw]
) -> tuple[np.ndarray, float] | None:
    """Return `similarity` of draws: areas float [draws], the divergence of the first; or None.

    A piece that was drawn twice is not compared with itself.
    """
    people, rest = defined(human), defined(others)
    human, others = _vectors(human)[people], _vectors(others)[rest]
    if len(human) < 3 or len(others) < 2:
        return None
    one, two = np.triu_indices(len(human), 1)
    return weighted_overlaps(
        _distances(human, human)[one, two],
        _distances(human, others).ravel(),
        (mine[people][one] * mine[people][two] for mine, _ in draws),
        (np.outer(mine[people], theirs[rest]).ravel() for mine, theirs in draws),
    )


def similarity(human: np.ndarray, made: np.ndarray) -> dict[str, float] | None:
    """Compare how far people's pieces lie from each other and from those made, float [pieces, ...].

    Yang and Lerch 2018: overlap 1, divergence 0 where a made piece is no farther from people's
    than they are among themselves. None with fewer than three of people's or two made.
    """
    found = similarities(human, made, [(np.ones(len(human)), np.ones(len(made)))])
    return found and {"overlap": float(found[0][0]), "divergence": found[1]}


def comparison(
    made: Values, human: Mapping[str, Values], rng: np.random.Generator
) -> dict[str, Any]:
    """Set each measure of the made pieces beside that of each set of people's pieces."""

    def facts(values: np.ndarray) -> dict[str, Any]:
        there = values[defined(values)]
        return {**estimate(there, rng=rng), "left_out": len(values) - len(there)}

    return {
        name: {
            "generated": facts(values),
            **{
                group: {
                    **facts(measures[name]),
                    "similarity": similarity(measures[name], values),
                }
                for group, measures in human.items()
            },
        }
        for name, values in made.items()
    }
