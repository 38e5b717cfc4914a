"""Rank new pieces by how similar they are to human-written pieces, for `sample.py --best`.

Each metric of a piece is compared with its range in reference pieces cut to about the same length.
A piece outside of more ranges ranks lower; then, one that is farther from the medians.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from midilstm import midi
from midilstm.evaluation.likelihood import score_network
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.model_dir import REFERENCE
from midilstm.repetition.match_model import MatchModel, bars_per_token
from midilstm.repetition.metrics import longest_loop, repeat_lags


class Metric(NamedTuple):
    """How a metric is printed, and whether a value below the range is as good as one inside."""

    pattern: str
    unit: str
    is_low_good: bool = False


METRICS = {
    "nll": Metric(".2f", "nats per token"),
    "repetition": Metric(".0%", "of its runs repeated"),
    "range": Metric(".0f", "semitones from the lowest to the highest note"),
    "longest_loop": Metric(".0f", "tokens in a loop", is_low_good=True),
}
SPAN = 8  # tokens of the runs whose repetition is measured
MIN_LENGTH, MIN_PIECES = 32, 5  # tokens of a reference piece, and pieces of that length
MAX_TOKENS = 30_000  # of reference pieces, about
MAX_DISTANCE = 9.0  # of a metric from its median
QUANTILES = (0.05, 0.5, 0.95)
Metrics = dict[str, float]
Range = tuple[float, float, float]  # the quantiles: low, median, high
Ranges = dict[int, dict[str, Range]]  # by length in tokens, by metric


def measure_pieces(pieces: Sequence[np.ndarray], model: LoadedModel) -> list[np.ndarray]:
    """Return the nats of each id of pieces int [n] under a model, float32 [n] each."""
    memory = None
    if model.match_weights:
        memory = MatchModel.begin(bars_per_token(model.vocabulary), model.match_weights)
    *_, predictions = score_network(model.network, pieces, memory)
    return [nats for nats, _ in predictions]


def compute_metrics(ids: np.ndarray, nll: np.ndarray, model: LoadedModel) -> Metrics:
    """Return the metrics of a piece int [n] with the nats of its ids, float [n]."""
    vocabulary = model.vocabulary
    bars = np.array(bars_per_token(vocabulary))
    notes = vocabulary.encoding.timed_notes([vocabulary.tokens[token_id] for token_id in ids])
    pitches = [note.pitch for note in notes if note.program != midi.DRUMS] or [0]
    lags = repeat_lags(ids, SPAN)
    return {
        "nll": float(nll.mean()),
        "repetition": float(np.mean(lags > 0)) if len(lags) else 0.0,
        "range": float(max(pitches) - min(pitches)),
        "longest_loop": float(longest_loop(ids, bars[ids].cumsum())),
    }


def measure_ranges(pieces: Sequence[np.ndarray], model: LoadedModel) -> Ranges:
    """Return the ranges of reference pieces without ends, cut to several lengths."""
    sizes = np.cumsum([len(ids) for ids in pieces])
    chosen = pieces[: max(MIN_PIECES, int(np.searchsorted(sizes, MAX_TOKENS)))]
    pairs = list(zip(chosen, measure_pieces(chosen, model), strict=True))
    ranges: Ranges = {}
    length = MIN_LENGTH
    while len(pairs := [pair for pair in pairs if len(pair[0]) >= length]) >= MIN_PIECES:
        rows = [compute_metrics(ids[:length], nll[:length], model) for ids, nll in pairs]
        columns = ((name, [row[name] for row in rows]) for name in METRICS)
        ranges[length] = {name: tuple(np.quantile(x, QUANTILES).tolist()) for name, x in columns}
        length *= 2
    return ranges


@dataclass(frozen=True)
class Ranking:
    """The score of a piece, lower for a more similar one, its metrics, and reasons against it."""

    score: float
    metrics: Metrics
    reasons: tuple[str, ...]
    copied: int | None  # tokens of a long copy of a training piece; None if unknown

    def to_json(self) -> dict[str, Any]:
        """Return the ranking for a piece's JSON file."""
        metrics = {name: round(value, 3) for name, value in self.metrics.items()}
        copied = {} if self.copied is None else {"copied": self.copied}
        reasons = "; ".join(self.reasons) or None
        return {"score": round(self.score, 3), **metrics, **copied, "reasons": reasons}


def score(metrics: Metrics, length: int, ranges: Ranges, copied: int | None = None) -> Ranking:
    """Compare a piece of `length` ids with the ranges at the nearest length.

    The score is the mean distance from the medians, 1 at an end of a range, plus 1 for each metric
    outside of its range, and for a long copy (`copied` is as in Ranking, 0 for none).
    """
    nearest = min(ranges, key=lambda size: abs(np.log(size / length)))
    distances, reasons = [], []
    for name, (pattern, unit, is_low_good) in METRICS.items():
        (low, median, high), value = ranges[nearest][name], metrics[name]
        half = max(high - median if value > median else median - low, 1e-6)
        if not is_low_good:
            distances.append(min(abs(value - median) / half, MAX_DISTANCE))
        if value > high or (value < low and not is_low_good):
            usual = f"{low:{pattern}} to {high:{pattern}}"
            reasons.append(f"{value:{pattern}} {unit}, where reference pieces have {usual}")
    if copied:
        reasons.append(f"{copied} tokens in a row of a training piece")
    return Ranking(float(np.mean(distances)) + len(reasons), metrics, tuple(reasons), copied)


def rank_pieces(
    pieces: Mapping[int, np.ndarray],
    model: LoadedModel,
    ranges: Ranges,
    copied: Sequence[int | None],
) -> dict[int, Ranking]:
    """Return the rankings of pieces int [n] without ends, by seed, the best first.

    `copied` has the length of each piece's long copy of a training piece, as in Ranking.
    """
    nll = measure_pieces(list(pieces.values()), model)
    rankings = {
        seed: score(compute_metrics(ids, nats, model), len(ids), ranges, copy)
        for (seed, ids), nats, copy in zip(pieces.items(), nll, copied, strict=True)
    }
    return dict(sorted(rankings.items(), key=lambda item: item[1].score))


def select_best(rankings: Mapping[int, Ranking], count: int) -> dict[int, Ranking]:
    """Return the first rankings; print why the other pieces are left out."""
    for seed, ranking in [*rankings.items()][count:]:
        reason = "; ".join(ranking.reasons) or "within the reference ranges, but less typical"
        print(f"  left out --seed={seed}, score {ranking.score:.2f}: {reason}")
    return dict([*rankings.items()][:count])


def reference_for(model: LoadedModel) -> Ranges:
    """Return the reference ranges of a model's checkpoint; raise InputError if there are none."""
    path = model.checkpoint_path.parent / REFERENCE
    if ranges := read_reference(path, model.network.digest):
        return ranges
    raise InputError(
        f"--best needs {path}, which train.py writes at its end, with ranges for "
        f"{model.checkpoint_path.name}: run its train.py command again, on at least {MIN_PIECES} "
        f"pieces of {MIN_LENGTH} tokens and without --no-memory"
    )


def write_reference(model_dir: Path, pieces: Sequence[np.ndarray]) -> None:
    """Write the ranges of pieces with their ends, unless the file has those of the checkpoint."""
    model, path, known = open_model(model_dir, None), model_dir / REFERENCE, None
    with suppress(InputError):  # a damaged file is replaced
        known = read_reference(path, model.network.digest)
    if known is None:
        order = np.random.default_rng(0).permutation(len(pieces))
        ranges = measure_ranges([pieces[index][:-1] for index in order], model)
        body = {"weights_sha256": model.network.digest, "ranges": ranges}
        write_atomically(path, json.dumps(body, indent=1) + "\n")


def read_reference(path: Path, digest: str) -> Ranges | None:
    """Read the ranges of the network with this digest; return None if there are none."""
    try:
        body = read_json(path, 2**16)
        ranges = _parse_ranges(body["ranges"])
        return ranges if body["weights_sha256"] == digest else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} does not hold ranges that train.py measured ({error}); remove it, and the "
            "train.py command of this model measures them again"
        ) from error


def _parse_ranges(lengths: Mapping[str, Mapping[str, Any]]) -> Ranges:
    """Return the ranges of the JSON; raise ValueError, TypeError or KeyError for other values."""
    ranges: Ranges = {}
    for key, row in lengths.items():
        if not re.fullmatch("[1-9][0-9]{0,6}", key):
            raise ValueError(f"{key[:40]!r} is not a length in tokens")
        ranges[int(key)] = {}
        for name in METRICS:
            low, median, high = row[name]
            is_number = all(type(x) in (int, float) for x in (low, median, high))
            if not is_number or not -np.inf < low <= median <= high < np.inf:
                raise ValueError(f"{row[name]} is not a valid range of {name}"[:200])
            ranges[int(key)][name] = low, median, high
    return ranges
