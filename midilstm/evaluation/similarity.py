"""How much generated pieces resemble people's: MGEval's features, rhythm; and people's own measure.

Knows no files, tokens, networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from midilstm.evaluation import mgeval, statistics
from midilstm.evaluation.overlaps import Draw, Values, defined, similarities
from midilstm.evaluation.statistics import Played

DRAWS = 200  # resamples where each needs the distances of all pieces

# What a piece has a distribution of, int [n] in steps.
DISTRIBUTIONS: dict[str, Callable[[Played], np.ndarray]] = {
    "inter-onset overlap": statistics.inter_onsets,
    "duration overlap": statistics.note_lengths,
}


def _interval(values: np.ndarray) -> list[float] | None:
    values = values[np.isfinite(values)]
    tail = (1 - statistics.COVERAGE) / 2
    return np.quantile(values, [tail, 1 - tail]).tolist() if len(values) > 1 else None


def around(found: np.ndarray) -> dict[str, Any]:
    """Return {value, interval} of a value and its resamples: as wide as they, but around the value.

    Where pieces are drawn twice, any two sets look less alike than they are. So the resamples lie
    too low, and only how far they lie from each other says something.
    """
    if not np.isfinite(found[0]):
        return {"value": None, "interval": None}
    spread = _interval(found[1:] - np.nanmean(found[1:])) if len(found) > 1 else None
    interval = spread and np.clip(found[0] + np.array(spread), 0, 1).tolist()
    return {"value": float(found[0]), "interval": interval}


def usual(found: np.ndarray) -> dict[str, Any]:
    """Return {value, interval} of draws that differ by chance: their mean and their middle part."""
    found = found[np.isfinite(found)]
    return {"value": float(found.mean()) if len(found) else None, "interval": _interval(found)}


def resample(sizes: tuple[int, int], number: int, rng: np.random.Generator) -> list[Draw]:
    """Return draws of two sets: first every piece once, then bootstrap resamples of both.

    There are none for a set of one, which says nothing of chance.
    """
    number = number if min(sizes) > 1 else 0
    first, second = (
        np.vstack([np.ones(size), rng.multinomial(size, np.full(size, 1 / size), number)])
        for size in sizes
    )
    return list(zip(first, second, strict=True))


def among_people(
    human: int, made: int, peers: int, number: int, rng: np.random.Generator
) -> list[Draw]:
    """Return draws that set people's pieces against people's, given how many there are of each.

    With other people's pieces (peers), as many of them as were made; without, two halves of one
    set, the second half being drawn from the same pieces.
    """
    if peers:
        few = np.arange(peers) < made
        draws = [rng.permutation(few) for _ in range(number if made < peers else 1)]
        return [(np.ones(human), row.astype(float)) for row in draws]
    half = np.arange(human) < human // 2
    halves = [rng.permutation(half) for _ in range(number if human > 1 else 0)]
    return [(row.astype(float), 1.0 - row) for row in halves]


def by_features(
    human: Values, made: Values, peers: Values | None, rng: np.random.Generator
) -> dict[str, Any]:
    """Return for each feature, and for their mean, how alike the distances of pieces are."""
    people, ours = (len(next(iter(values.values()))) for values in (human, made))
    others = len(next(iter(peers.values()))) if peers else 0
    draws = resample((people, ours), DRAWS, rng)
    among = among_people(people, ours, others, DRAWS, rng)
    rows, areas, usually = {}, [], []
    for name, values in made.items():
        found = similarities(human[name], values, draws)
        if found is not None:
            areas.append(found[0])
        theirs = similarities(human[name], (peers or human)[name], among)
        if theirs is not None:
            usually.append(theirs[0])
        rows[name] = {
            "overlap": around(np.array([np.nan]) if found is None else found[0]),
            "divergence": None if found is None else found[1],
            "people": usual(np.empty(0) if theirs is None else theirs[0]),
            "left_out": {
                "generated": int((~defined(values)).sum()),
                "people": int((~defined(human[name])).sum()),
            },
        }
    mean = {
        **around(np.mean(areas, axis=0) if areas else np.array([np.nan])),
        "features": len(areas),
        "people": usual(np.mean(usually, axis=0) if usually else np.empty(0)),
    }
    return {"resamples": DRAWS, "bars": mgeval.BARS, "features": rows, "mean_overlap": mean}


def shares(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Return float [pieces, values], how much of a piece has each value that any of them has."""
    values, places = np.unique(np.concatenate(pieces), return_inverse=True)
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    size = len(pieces) * len(values)
    counts = np.bincount(owners * len(values) + places, minlength=size).reshape(len(pieces), -1)
    return counts / counts.sum(1, keepdims=True)


def common(a: np.ndarray, b: np.ndarray, draws: Sequence[Draw]) -> np.ndarray:
    """Return float [draws], the area under both of two sets' mean shares [pieces, values]."""
    if not draws:
        return np.empty(0)
    one, two = (np.array(rows) for rows in zip(*draws, strict=True))
    p, q = (rows @ part / rows.sum(1, keepdims=True) for rows, part in ((one, a), (two, b)))
    return np.minimum(p, q).sum(1)


def by_distribution(
    human: Sequence[np.ndarray],
    made: Sequence[np.ndarray],
    peers: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return how much of two sets' distributions of a value, int [n] a piece, is common.

    A set's is the mean of its pieces', so that each counts as much; values are exact, no kernels.
    """
    sets = [[piece for piece in pieces if len(piece)] for pieces in (human, made, peers)]
    sizes = [len(pieces) for pieces in sets]
    left_out = {"generated": len(made) - sizes[1], "people": len(human) - sizes[0]}
    if not sizes[0] or not sizes[1]:
        nothing = {"value": None, "interval": None}
        return {**nothing, "people": nothing, "left_out": left_out}
    theirs, ours, others = np.split(shares([*sets[0], *sets[1], *sets[2]]), np.cumsum(sizes)[:2])
    draws = resample((sizes[0], sizes[1]), statistics.RESAMPLES, rng)
    among = among_people(sizes[0], sizes[1], sizes[2], statistics.RESAMPLES, rng)
    return {
        **around(common(theirs, ours, draws)),
        "people": usual(common(theirs, others if sizes[2] else theirs, among)),
        "left_out": left_out,
    }


def compare(
    sets: Mapping[str, Sequence[Played]], rng: np.random.Generator, *, rhythm: bool
) -> dict[str, Any]:
    """Set generated pieces against held-out ones, or training pieces where none are held out.

    What people reach comes from training pieces, else from halves of the only set there is. Without
    `rhythm`, what needs it is left out: the encoding would be described, and not the music.
    """
    group = "held_out" if "held_out" in sets else "training"
    human, made = sets[group], sets["generated"]
    peers = sets.get("training", ()) if group == "held_out" else ()
    features = [mgeval.measured(pieces, rhythm=rhythm) for pieces in (human, made, peers)]
    result: dict[str, Any] = {
        "with": group,
        "pieces": {"generated": len(made), group: len(human)},
        "people_are": "training" if peers else "halves",
        "mgeval": by_features(features[0], features[1], features[2] if peers else None, rng),
    }
    if not rhythm:
        omitted = [*statistics.RHYTHMIC, *mgeval.RHYTHMIC, *DISTRIBUTIONS]
        return {**result, "distributions": None, "omitted": omitted}
    overlaps = {
        name: by_distribution(
            [of(piece) for piece in human],
            [of(piece) for piece in made],
            [of(piece) for piece in peers],
            rng,
        )
        for name, of in DISTRIBUTIONS.items()
    }
    distributions = {"resamples": statistics.RESAMPLES, "overlaps": overlaps}
    return {**result, "distributions": distributions, "omitted": []}
