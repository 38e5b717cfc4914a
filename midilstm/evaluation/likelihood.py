"""How well something predicts whole pieces: nats a token, a note, a quarter; and the yardsticks.

Knows no files, no Keras and not what a token means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.evaluation import statistics
from midilstm.evaluation.ngrams import SMOOTHINGS, Counts, NGram, RepeatLast

ORDERS = range(1, 7)
TOP = 5


@dataclass(frozen=True)
class Music:
    """Pieces to be predicted: ids int32 [n] that end with 0, and how much music each is."""

    names: tuple[str, ...]
    ids: tuple[np.ndarray, ...]
    notes: np.ndarray  # int [pieces]
    quarters: np.ndarray  # float [pieces]

    @property
    def tokens(self) -> np.ndarray:
        """Return int [pieces], ends included: they are predicted, too."""
        return np.array([len(ids) for ids in self.ids], int)

    def bodies(self) -> dict[str, np.ndarray]:
        """Return name → ids without the end."""
        return {name: ids[:-1] for name, ids in zip(self.names, self.ids, strict=True)}

    def some(self, number: int, rng: np.random.Generator) -> Music:
        """Return at most `number` pieces, drawn, in order."""
        if len(self.names) <= number:
            return self
        chosen = sorted(rng.choice(len(self.names), number, replace=False).tolist())
        return Music(
            tuple(self.names[i] for i in chosen),
            tuple(self.ids[i] for i in chosen),
            self.notes[chosen],
            self.quarters[chosen],
        )


@dataclass(frozen=True)
class Scored:
    """What predicting pieces gave, sums for each piece, float [pieces]."""

    nats: np.ndarray
    right: np.ndarray
    top: np.ndarray

    @staticmethod
    def collect(count: int, results: Iterable[tuple[int, np.ndarray]]) -> Scored:
        """Sum (piece's number, [nats, how many ids are likelier] float [2, n]) as they come."""
        sums = np.zeros((3, count))
        for number, (nats, likelier) in results:
            sums[:, number] = nats.sum(), (likelier == 0).sum(), (likelier < TOP).sum()
        return Scored(*sums)


def summary(scored: Scored, music: Music, rng: np.random.Generator) -> dict[str, Any]:
    """Return sums divided once, each with its interval over pieces."""
    a_token = statistics.estimate(scored.nats, music.tokens, rng=rng)
    perplexity = {
        "value": None if a_token["value"] is None else float(np.exp(a_token["value"])),
        "interval": a_token["interval"] and np.exp(a_token["interval"]).tolist(),
    }
    return {
        "pieces": len(music.names),
        "tokens": int(music.tokens.sum()),
        "nats_a_token": a_token,
        "nats_a_note": statistics.estimate(scored.nats, music.notes, rng=rng),
        "nats_a_quarter": statistics.estimate(scored.nats, music.quarters, rng=rng),
        "perplexity": perplexity,
        "accuracy": statistics.estimate(scored.right, music.tokens, rng=rng),
        f"top_{TOP}": statistics.estimate(scored.top, music.tokens, rng=rng),
    }


@dataclass(frozen=True)
class Yardstick:
    """What one way of counting predicts of the held-out pieces; `nats` float [pieces]."""

    name: str
    order: int
    keys: int  # in how many keys each training piece was counted
    nats: np.ndarray
    model: NGram | RepeatLast

    def facts(self) -> dict[str, Any]:
        """Return which yardstick it is."""
        return {"name": self.name, "order": self.order, "keys": self.keys}


def yardsticks(
    training: Sequence[np.ndarray],
    tables: Sequence[np.ndarray],
    vocabulary_size: int,
    held_out: Sequence[np.ndarray],
) -> Iterator[Yardstick]:
    """Yield the yardsticks, counted in pieces once for each table (new id of each id, int [V])."""
    pieces = [table[ids] for table in tables for ids in training]
    counts = Counts(pieces, vocabulary_size, max(ORDERS))
    models: list[tuple[str, int, NGram | RepeatLast]] = [
        (smoothing, order, NGram(counts, order, smoothing))
        for smoothing in SMOOTHINGS
        for order in ORDERS
    ]
    models.append(("repeat-last", 2, RepeatLast(pieces, NGram(counts, 1))))
    ends = np.cumsum([len(ids) for ids in held_out])[:-1]
    for name, order, model in models:
        nats = -np.log(model.probabilities(held_out))
        sums = np.array([part.sum() for part in np.split(nats, ends)])
        yield Yardstick(name, order, len(tables), sums, model)


def predicted(
    model: NGram | RepeatLast, pieces: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield what Scored.collect takes for a yardstick, one piece at a time."""
    for number, ids in enumerate(pieces):
        result = np.zeros((2, len(ids)))
        for place, target in enumerate(ids.tolist()):
            chances = model.distribution(ids[:place].tolist())
            result[:, place] = -np.log(chances[target]), np.sum(chances > chances[target])
        yield number, result


def progress(items: Iterable[Any], label: str, total: int, unit: str = "piece") -> Any:
    """Show a bar that comes after a second and leaves nothing behind."""
    return tqdm(items, label, total, unit=unit, delay=1, leave=False, disable=None)


def against_yardsticks(
    scored: Scored,
    training: Music,
    held_out: Music,
    tables: Mapping[int, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return every yardstick's held-out nats, the best one's whole score, the distance to it.

    `tables` has the keys each training piece is counted in: semitones → new id of each id, int [V].
    The best is chosen by its held-out score itself: no yardstick could be harder.
    """
    size = len(tables[0])
    counted = chain(
        yardsticks(training.ids, [tables[0]], size, held_out.ids),
        yardsticks(training.ids, list(tables.values()), size, held_out.ids),
    )
    number = 2 * (len(SMOOTHINGS) * len(ORDERS) + 1)
    found = list(progress(counted, "Counting", number, "yardstick"))
    total = held_out.tokens.sum()
    best = min(found, key=lambda stick: float(stick.nats.sum()))
    whole = progress(predicted(best.model, held_out.ids), "Best yardstick", len(held_out.ids))
    return {
        "all": [
            {**stick.facts(), "nats_a_token": float(stick.nats.sum() / total)} for stick in found
        ],
        "best": {
            **best.facts(),
            **summary(Scored.collect(len(held_out.ids), whole), held_out, rng),
        },
        "model_minus_best": statistics.estimate(scored.nats - best.nats, held_out.tokens, rng=rng),
    }
