"""Rank new pieces by how similar they are to human-written pieces, for `sample.py --best`.

Each metric of a piece is compared with its range in reference pieces cut to about the same length.
A piece outside of more ranges ranks lower; then, one that is farther from the medians.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from midilstm import midi
from midilstm.data.dataset import Dataset
from midilstm.evaluation.groove import GROOVE, to_bars
from midilstm.evaluation.likelihood import score_network
from midilstm.evaluation.piece_sets import decode
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.model_dir import REFERENCE
from midilstm.repetition.match_model import MatchModel, bars_per_token
from midilstm.repetition.metrics import longest_loop, repeat_lags
from midilstm.schema import Config, from_json, setting, to_json
from midilstm.tokenizers.base import TimedNote
from midilstm.tokenizers.vocabulary import Vocabulary


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
    # Statistics of GROOVE, for music in bars that has what they measure
    "drum agreement": Metric(".2f", "agreement of the drums with the next bar"),
    "bass agreement": Metric(".2f", "agreement of the bass with the next bar"),
    "minor seconds": Metric(".0%", "of its onsets with a minor second", is_low_good=True),
    "silence": Metric(".0%", "silence", is_low_good=True),
    "instruments of few notes": Metric(".0f", "instruments of few notes", is_low_good=True),
    "longest loop (bars)": Metric(".0f", "bars in a row that are the same", is_low_good=True),
}
SPAN = 8  # tokens of the runs whose repetition is measured
MIN_LENGTH, MIN_PIECES = 32, 5  # tokens of a reference piece, and pieces of that length
MAX_TOKENS = 30_000  # of reference pieces, about
MAX_DISTANCE = 9.0  # of a metric from its median
QUANTILES = (0.05, 0.5, 0.95)

quantile = partial(setting, 0.0, low=-1e7, high=1e7)


@dataclass(frozen=True)
class Range(Config):
    """Where a metric of the reference pieces lies."""

    low: float = quantile("5th percentile")
    median: float = quantile("50th percentile")
    high: float = quantile("95th percentile")

    def __post_init__(self) -> None:
        """Raise ValueError for a value that is not allowed or not in order."""
        super().__post_init__()
        if not self.low <= self.median <= self.high:
            raise ValueError(f"{self.low}, {self.median} and {self.high} are not in order")


Metrics = dict[str, float]
Ranges = dict[int, dict[str, Range]]  # by length in tokens, by metric


def measure_pieces(pieces: Sequence[np.ndarray], model: LoadedModel) -> list[np.ndarray]:
    """Return the nats of each id of pieces int [n] under a model, float32 [n] each."""
    memory = None
    if model.match_weights:
        memory = MatchModel.begin(model.vocabulary, model.match_weights)
    *_, predictions = score_network(model.network, pieces, memory)
    return [nats for nats, _ in predictions]


def compute_metrics(ids: np.ndarray, nll: np.ndarray, model: LoadedModel) -> Metrics:
    """Return the metrics of a piece int [n] with the nats of its ids, float [n].

    Those of groove are only there where the encoding states meters and the piece has what they
    measure.
    """
    vocabulary = model.vocabulary
    bars = np.array(bars_per_token(vocabulary))
    pitches = [x.pitch for x in _notes(ids, vocabulary) if x.program != midi.DRUMS] or [0]
    lags = repeat_lags(ids, SPAN)
    return _groove_metrics(ids, vocabulary) | {
        "nll": float(nll.mean()),
        "repetition": float(np.mean(lags > 0)) if len(lags) else 0.0,
        "range": float(max(pitches) - min(pitches)),
        "longest_loop": float(longest_loop(ids, bars[ids].cumsum())),
    }


def _groove_metrics(ids: np.ndarray, vocabulary: Vocabulary) -> Metrics:
    if not vocabulary.encoding.keeps_meter:
        return {}
    bars = to_bars(decode(ids, vocabulary))
    values = {name: float(GROOVE[name](bars)) for name in METRICS if name in GROOVE}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _notes(ids: np.ndarray, vocabulary: Vocabulary) -> list[TimedNote]:
    return vocabulary.encoding.timed_notes([vocabulary.tokens[token_id] for token_id in ids])


def measure_ranges(pieces: Sequence[np.ndarray], model: LoadedModel) -> Ranges:
    """Return the ranges of reference pieces without ends, cut to several lengths."""
    sizes = np.cumsum([len(ids) for ids in pieces])
    chosen = pieces[: max(MIN_PIECES, int(np.searchsorted(sizes, MAX_TOKENS)))]
    pairs = list(zip(chosen, measure_pieces(chosen, model), strict=True))
    ranges, length = Ranges(), MIN_LENGTH
    while len(pairs := [pair for pair in pairs if len(pair[0]) >= length]) >= MIN_PIECES:
        rows = [compute_metrics(ids[:length], nll[:length], model) for ids, nll in pairs]
        columns = ((name, [row[name] for row in rows if name in row]) for name in METRICS)
        ranges[length] = {
            name: Range(*np.quantile(values, QUANTILES).tolist())
            for name, values in columns
            if len(values) >= MIN_PIECES
        }
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
        if name not in metrics or name not in ranges[nearest]:
            continue
        usual, value = ranges[nearest][name], metrics[name]
        half = usual.high - usual.median if value > usual.median else usual.median - usual.low
        if not is_low_good:
            distances.append(min(abs(value - usual.median) / max(half, 1e-6), MAX_DISTANCE))
        if value > usual.high or (value < usual.low and not is_low_good):
            limits = f"{usual.low:{pattern}} to {usual.high:{pattern}}"
            reasons.append(f"{value:{pattern}} {unit}, where reference pieces have {limits}")
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

    `copied` has the length of each piece's long copy of a training piece, as in Ranking. A piece
    without a note is the last, with an infinite score; raise InputError where all are.
    """
    rankings = {seed: Ranking(math.inf, {}, ("no note",), None) for seed in pieces}
    lengths = dict(zip(pieces, copied, strict=True))
    with_notes = {seed: ids for seed, ids in pieces.items() if _notes(ids, model.vocabulary)}
    if not with_notes:
        raise InputError(f"none of the {len(pieces)} pieces has a note: draw longer ones")
    nll = measure_pieces(list(with_notes.values()), model)
    for (seed, ids), nats in zip(with_notes.items(), nll, strict=True):
        rankings[seed] = score(compute_metrics(ids, nats, model), len(ids), ranges, lengths[seed])
    return dict(sorted(rankings.items(), key=lambda item: item[1].score))


def select_best(rankings: Mapping[int, Ranking], count: int) -> dict[int, Ranking]:
    """Return the first rankings, of pieces with notes; print why the others are left out."""
    best = [seed for seed, ranking in rankings.items() if ranking.score < math.inf][:count]
    for seed, ranking in rankings.items():
        if seed not in best:
            reason = "; ".join(ranking.reasons) or "within the reference ranges, but less typical"
            print(f"  left out --seed={seed}, score {ranking.score:.2f}: {reason}")
    return {seed: rankings[seed] for seed in best}


def reference_for(model: LoadedModel, dataset: Dataset | None) -> Ranges:
    """Return the reference ranges of a model's checkpoint, saved ones or those of its dataset.

    Raise InputError where neither is there, or the dataset is too small.
    """
    path = model.checkpoint_path.parent / REFERENCE
    ranges = read_reference(path).get(model.network.digest)
    if ranges is None and dataset is None:
        raise InputError(
            f"--best needs the ranges of reference pieces, and {path} has none for "
            f"{model.checkpoint_path.name}: give the folder of the music that the model was "
            "trained on with --data-dir, or leave out --checkpoint"
        )
    ranges = reference_ranges(model, dataset) if ranges is None and dataset else ranges
    if not ranges:
        raise InputError(
            f"--best needs a model of at least {MIN_PIECES} pieces of {MIN_LENGTH} tokens"
        )
    return ranges


def reference_ranges(model: LoadedModel, dataset: Dataset) -> Ranges:
    """Return the ranges of pieces of a model's dataset."""
    pieces = [*dataset.held_out.values(), *dataset.training.values()]
    print(f"Measuring reference pieces for --best with {model.checkpoint_path} ...", flush=True)
    order = np.random.default_rng(0).permutation(len(pieces))
    return measure_ranges([pieces[index][:-1] for index in order], model)


def write_reference(model_dir: Path, dataset: Dataset) -> None:
    """Write the ranges for the best and the latest checkpoint, unless the file has them."""
    path, known, ranges = model_dir / REFERENCE, dict[str, Ranges](), dict[str, Ranges]()
    with suppress(InputError):  # a damaged file is replaced
        known = read_reference(path)
    for which in (None, "latest"):
        model = open_model(model_dir, which)
        digest = model.network.digest
        if digest not in ranges:
            ranges[digest] = known[digest] if digest in known else reference_ranges(model, dataset)
    if ranges != known:
        text = json.dumps({"ranges": ranges}, indent=1, default=to_json)
        write_atomically(path, text + "\n")


def read_reference(path: Path) -> dict[str, Ranges]:
    """Read the ranges by digest of the weights; {} where there is no file."""
    try:
        body = read_json(path, 2**18)["ranges"]
        return {digest: _parse_ranges(lengths) for digest, lengths in body.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} does not hold ranges that train.py measured ({error}); remove it, and the "
            "train.py command of this model measures them again"
        ) from error


def _parse_ranges(lengths: Mapping[str, Mapping[str, object]]) -> Ranges:
    """Return the ranges of the JSON; raise ValueError, TypeError or KeyError for other values."""
    if not all(re.fullmatch("[1-9][0-9]{0,6}", length) for length in lengths):
        raise ValueError("a length in tokens is not a whole number")
    return {
        int(length): {
            name: from_json(Range, row[name])
            for name in METRICS
            if name in row or name not in GROOVE
        }
        for length, row in lengths.items()
    }
