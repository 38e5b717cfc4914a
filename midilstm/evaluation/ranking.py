"""Which of many new pieces are most like people's, and why the others are not. Knows no files.

A piece is measured, and each measure held against the range of people's pieces cut to about the
same length. What lies outside of more ranges comes last; then, what lies farther from the middles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from midilstm import midi
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.generate import GROUP
from midilstm.generation.loaded_model import LoadedModel, open_model
from midilstm.generation.network import Network
from midilstm.model_dir import REFERENCE
from midilstm.repetition.match_model import MatchModel, add_match_bias, bars_per_token
from midilstm.repetition.metrics import longest_loop, repeat_lags
from midilstm.tokenizers.vocabulary import END_ID, Vocabulary


class Metric(NamedTuple):
    """How a number is told, what it counts, and whether less than people's is as good."""

    digits: str
    words: str
    less: bool = False


MEASURES = {
    "nats": Metric(".2f", "nats a token"),
    "returns": Metric(".0%", "returns"),
    "semitones": Metric(".0f", "semitones from low to high"),
    "loop": Metric(".0f", "tokens going round", less=True),
}
SPAN = 8  # ids that return
SHORTEST, FEWEST = 32, 5  # ids of people's pieces that are measured, and pieces of that length
MOST, MOST_AWAY = 30_000, 9.0  # ids of people's pieces, about; of a measure from the middle
MIDDLE = (0.05, 0.5, 0.95)  # quantiles of people's: the range and its middle
Ranges = dict[str, dict[str, list[float]]]  # length in ids → measure → low, middle, high


def costs(
    network: Network, pieces: Sequence[np.ndarray], memory: MatchModel | None
) -> list[np.ndarray]:
    """Return the nats of each id of pieces int [n], float32 [n] each; `memory` is not begun."""
    found = [np.zeros(len(ids), np.float32) for ids in pieces]
    for start in range(0, len(pieces), GROUP):
        group = pieces[start : start + GROUP]
        steps = np.full((max(map(len, group)) + 1, len(group)), END_ID)
        for lane, ids in enumerate(group):
            steps[1 : len(ids) + 1, lane] = ids
        lanes, past = (
            network.initial_state(len(group)),
            memory and memory.select_rows([0] * len(group)),
        )
        for place, (fed, right) in enumerate(pairwise(steps)):
            scores = lanes.step(fed)
            if past:
                past.update(fed)
                add_match_bias(scores, past)
            for lane, ids in enumerate(group):
                if place < len(ids):
                    found[start + lane][place] = -scores[lane, right[lane]]
    return found


def feature_matrix(ids: np.ndarray, nats: np.ndarray, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the measures of a piece int [n] whose ids cost nats float [n]."""
    clock = np.array(bars_per_token(vocabulary))
    notes = vocabulary.encoding.timed_notes([vocabulary.tokens[number] for number in ids])
    pitches = [note.pitch for note in notes if note.program != midi.DRUMS] or [0]
    back = repeat_lags(ids, SPAN)
    return {
        "nats": float(nats.mean()),
        "returns": float(np.mean(back > 0)) if len(back) else 0.0,
        "semitones": float(max(pitches) - min(pitches)),
        "loop": float(longest_loop(ids, clock[ids].cumsum())),
    }


def ranges_of(
    network: Network,
    vocabulary: Vocabulary,
    pieces: Sequence[np.ndarray],
    memory: MatchModel | None,
) -> Ranges:
    """Return people's ranges, by length, from their pieces without ends."""
    sizes = np.cumsum([len(ids) for ids in pieces])
    subsample = pieces[: max(FEWEST, int(np.searchsorted(sizes, MOST)))]
    nats, found, length = costs(network, subsample, memory), {}, SHORTEST
    while len(long := [n for n, ids in enumerate(subsample) if len(ids) >= length]) >= FEWEST:
        rows = [feature_matrix(subsample[n][:length], nats[n][:length], vocabulary) for n in long]
        found[str(length)] = {
            name: np.quantile([row[name] for row in rows], MIDDLE).tolist() for name in MEASURES
        }
        length *= 2
    return found


@dataclass(frozen=True)
class Ranking:
    """How like people's a piece is: less is more alike; and what speaks against it."""

    score: float
    measures: Mapping[str, float]
    against: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what a piece's JSON says of it."""
        told = {name: round(value, 3) for name, value in self.measures.items()}
        return {"score": round(self.score, 3), **told, "against": "; ".join(self.against) or None}


def judge(
    measures: Mapping[str, float], length: int, ranges: Ranges, copied: int | None = None
) -> Ranking:
    """Hold a piece of `length` ids against people's ranges at the length nearest to that.

    The score is the mean distance from people's middles, 1 at an end of a range, and 1 more for
    each measure beyond, and for a long copy, of so many ids (0 for none, None for not known).
    """
    near = min(ranges, key=lambda size: abs(np.log(int(size) / length)))
    away, against = [], []
    for name, (digits, words, less) in MEASURES.items():
        low, middle, high = ranges[near][name]
        value = measures[name]
        room = max(high - middle if value > middle else middle - low, 1e-6)
        if not less:
            away.append(min(abs(value - middle) / room, MOST_AWAY))
        if value > high or (value < low and not less):
            usual = f"{low:{digits}} to {high:{digits}}"
            against.append(f"{value:{digits}} {words}, people's {usual}")
    if copied:
        against.append(f"{copied} tokens in a row of a training piece")
    if copied is not None:
        measures = {**measures, "copied": copied}
    return Ranking(float(np.mean(away)) + len(against), measures, tuple(against))


def verdicts(
    pieces: Sequence[np.ndarray],
    network: Network,
    vocabulary: Vocabulary,
    memory: MatchModel | None,
    ranges: Ranges,
    copied: Sequence[int | None],
) -> list[Ranking]:
    """Judge pieces int [n] without ends, of which so many ids each are a long copy."""
    nats = costs(network, pieces, memory)
    rows = [feature_matrix(*pair, vocabulary) for pair in zip(pieces, nats, strict=True)]
    every = zip(rows, pieces, copied, strict=True)
    return [judge(row, len(ids), ranges, long) for row, ids, long in every]


def ranges_from_json(found: object) -> Ranges:
    """Read ranges back; raise ValueError for what `ranges_of` would not give."""
    if not isinstance(found, Mapping):
        raise ValueError("expected ranges by length")
    for length, row in found.items():
        if not str(length).isdecimal() or int(length) < 1 or {*row} != {*MEASURES}:
            raise ValueError(f"expected {', '.join(MEASURES)} by length")
        for numbers in row.values():
            low, middle, high = map(float, numbers)
            if not low <= middle <= high:  # nor is NaN
                raise ValueError(f"{numbers} are no range")
    return {str(length): {**row} for length, row in found.items()}


def reference_for(model: LoadedModel) -> Ranges:
    """Return the ranges of people's pieces under this model; raise InputError for none."""
    path = model.checkpoint_path.parent / REFERENCE
    if ranges := read_reference(path, model.network.digest):
        return ranges
    raise InputError(
        f"--best needs what train.py measures at its end in {path.name}, and {path.parent} has "
        f"none for {model.checkpoint_path.name}: run its train.py command again, on at least "
        f"{FEWEST} pieces of {SHORTEST} tokens and without --no-memory"
    )


def best_of(
    made: Mapping[int, np.ndarray],
    model: LoadedModel,
    people: Ranges,
    number: int,
    copied: Sequence[int | None],
) -> dict[int, dict[str, Any]]:
    """Return the verdicts of so many pieces of new ids, by seed, the best first.

    Print why the others fell; `copied` has the ids of each piece's long copy, as far as known.
    """
    past = (
        MatchModel.begin(bars_per_token(model.vocabulary), model.match_weights)
        if model.match_weights
        else None
    )
    music = [*made.values()]
    found = verdicts(music, model.network, model.vocabulary, past, people, copied)
    order = sorted(zip(made, found, strict=True), key=lambda pair: pair[1].score)
    for seed, verdict in order[number:]:
        why = "; ".join(verdict.against) or "in people's ranges, but farther from their middles"
        print(f"  left out --seed={seed}, score {verdict.score:.2f}: {why}")
    return {seed: verdict.to_json() for seed, verdict in order[:number]}


def write_reference(folder: Path, pieces: Sequence[np.ndarray]) -> None:
    """Write the ranges of people's pieces, each with its end, unless they are there."""
    trained, path, known = open_model(folder, None), folder / REFERENCE, None
    with suppress(InputError):  # it is damaged, and made again
        known = read_reference(path, trained.network.digest)
    if known is None:
        past = (
            MatchModel.begin(bars_per_token(trained.vocabulary), trained.match_weights)
            if trained.match_weights
            else None
        )
        order = np.random.default_rng(0).permutation(len(pieces))
        music = [pieces[number][:-1] for number in order]
        ranges = ranges_of(trained.network, trained.vocabulary, music, past)
        body = {"weights_sha256": trained.network.digest, "ranges": ranges}
        write_atomically(path, json.dumps(body, indent=1) + "\n")


def read_reference(path: Path, digest: str) -> Ranges | None:
    """Read people's ranges; None where there are none for the network of this digest."""
    try:
        body = read_json(path, 2**16)
        ranges = ranges_from_json(body["ranges"])
        return ranges if body["weights_sha256"] == digest else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} holds no ranges that train.py measured ({error}); remove it, and the train.py "
            "command of this model measures them again"
        ) from error
