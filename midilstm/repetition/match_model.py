"""Predict that a piece repeats itself: a bias for ids that followed the same context earlier.

This is the match model of the compressors PAQ and lpaq (M. Mahoney), on token ids. It gives two
candidates at most for the next id: the one after the latest occurrence of the longest context that
was just repeated, and the one where an earlier occurrence continued differently. Others stood at
the same place some bars earlier (bar_history.py). The bias of a candidate, in nats, is a weighted
sum of its features and is added to its log probability.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from midilstm.repetition.bar_history import LAGS, BarHistory, BarTable, bar_table
from midilstm.schema import Config, from_json, setting
from midilstm.tokenizers.vocabulary import Vocabulary

CONTEXT_SIZES = (4, 2, 1)  # ids of the contexts that are indexed
MAX_MATCH = 64  # ids compared backwards when a match begins; one that goes on may become longer
CAP = 2.0  # log2 of 4 ids: the cap of `log_match_capped`
MIN_LOG_PROB = -12.0  # nats: what `model_logprob` is multiplied by for less likely ids
MAX_BIAS = 16.0  # nats at strength 1, in either direction
N_MATCH_FEATURES = 7
NO_MATCH = (0.0,) * N_MATCH_FEATURES
N_FEATURES = N_MATCH_FEATURES + 3
MAX_CANDIDATES = 2 + len(LAGS)

nats = partial(setting, 0.0, low=-100, high=100)


@dataclass(frozen=True)
class MatchWeights(Config):
    """The smallest lag of a repeat, and the weight of each feature of a candidate, in nats."""

    min_lag_bars: float = setting(1.0, "bars after which a context counts", low=0, high=100)
    bias: float = nats("of every candidate")
    is_alternate: float = nats("of the second candidate")
    log_match: float = nats("of log2 of the number of matching ids")
    log_match_capped: float = nats("of the same, CAP at most")
    log_lag: float = nats("of log2 of 1 + the bars since")
    log_lag_sq: float = nats("of the square of that")
    model_logprob: float = nats("of the candidate's log probability")
    n_bars: float = nats("of the number of earlier bars with the candidate at the same place")
    bar_log_odds: float = nats("of the sum of the log odds with which these bars were right")
    bar_logprob: float = nats("of the candidate's log probability, if there are such bars")

    @cached_property
    def vector(self) -> np.ndarray:
        """Return all weights but `min_lag_bars`, float64 [N_FEATURES]."""
        return np.array(astuple(self)[1:], float)


def read_weights(values: Any) -> MatchWeights:
    """Return saved weights, of which older files lack those of earlier bars.

    Raise ValueError or TypeError where others are missing or wrong.
    """
    absent = dict.fromkeys(("n_bars", "bar_log_odds", "bar_logprob"), 0.0)
    return from_json(MatchWeights, {**absent, **values})


class Candidate(NamedTuple):
    """An id that may come next: it followed the same context, or stood at the same place."""

    token_id: int
    is_alternate: bool = False  # whether it is the second of two
    n_matching: int = 0  # ids of the context that match; 0 if it only stood at the same place
    lag_bars: float = 0.0  # since it was played in that context
    n_bars: int = 0  # earlier ones in which it stood at the same place
    bar_log_odds: float = 0.0  # with which such bars were right, summed


class History:
    """Index the contexts of one piece and give the ids that followed the current one.

    Time and memory grow linearly with the piece.
    """

    def __init__(
        self, bars: Sequence[float], min_lag_bars: float, table: BarTable | None = None
    ) -> None:
        """Begin a piece; `bars` float [V] is by how many bars each id advances the music.

        With a table, earlier bars give candidates, too.
        """
        self._bars, self._min_lag, self._now = bars, min_lag_bars, 0.0
        self.places = BarHistory(table) if table else None
        longest = max(CONTEXT_SIZES)
        self._ids, self._onsets = [0] * longest, [0.0] * longest  # as if only END came before
        # By context: the latest position after it, and the latest that has another id.
        self._newest: dict[tuple[int, ...], int] = {}
        self._alternate: dict[tuple[int, ...], int] = {}
        self._n_indexed = longest  # positions before this one are in `_newest` and `_alternate`
        self._match = self._length = 0  # the position that continues the match (0: none)

    @classmethod
    def begin(cls, vocabulary: Vocabulary, min_lag_bars: float) -> History:
        """Begin a piece in a vocabulary."""
        return cls(bars_per_token(vocabulary), min_lag_bars, bar_table(vocabulary))

    def update(self, token_id: int) -> None:
        """Append the piece's next id."""
        if self.places:
            self.places.update(token_id)
        ids, onsets, match = self._ids, self._onsets, self._match
        if match and ids[match] == token_id:
            self._match, self._length = match + 1, self._length + 1
        else:
            self._match = 0
        ids.append(token_id)
        onsets.append(self._now)
        self._now += self._bars[token_id]
        latest, position = self._now - self._min_lag, self._n_indexed
        while position < len(ids) and onsets[position] <= latest:
            self._index(position)
            position += 1
        self._n_indexed = position

    def _index(self, position: int) -> None:
        """Enter the id at `position` under the contexts before it."""
        ids, newest = self._ids, self._newest
        for size in CONTEXT_SIZES:
            context = tuple(ids[position - size : position])
            old = newest.get(context)
            newest[context] = position
            if old and ids[old] != ids[position]:
                self._alternate[context] = old

    def candidates(self) -> list[Candidate]:
        """Return the candidates for the next id, MAX_CANDIDATES at most, each id once."""
        candidates = self._matches()
        if not self.places:
            return candidates
        merged = {candidate.token_id: candidate for candidate in candidates}
        for token_id, (n_bars, log_odds) in self.places.candidates.items():
            candidate = merged.get(token_id, Candidate(token_id))
            merged[token_id] = candidate._replace(n_bars=n_bars, bar_log_odds=log_odds)
        return [*merged.values()]

    def _matches(self) -> list[Candidate]:
        """Return the candidates that followed the same context, two at most.

        A match longer than its lag in ids would repeat a third time in a row: it is left out.
        """
        ids, first, second, matching = self._ids, self._match, 0, 0
        for size in CONTEXT_SIZES:
            context = tuple(ids[-size:])
            position = self._newest.get(context)
            if not position:
                continue
            if not first:
                first, self._length = position, self._count_matching(position, size)
            second = position if ids[position] != ids[first] else self._alternate.get(context, 0)
            if second and ids[second] != ids[first]:
                matching = size
                break
        if not first:
            return []
        self._match = first
        end, now, onsets = len(ids), self._now, self._onsets
        candidates = []
        if self._length <= end - first:
            candidates.append(Candidate(ids[first], False, self._length, now - onsets[first]))
        if matching and (length := self._count_matching(second, matching)) <= end - second:
            candidates.append(Candidate(ids[second], True, length, now - onsets[second]))
        return candidates

    def _count_matching(self, position: int, size: int) -> int:
        """Return how many ids before `position` equal the latest ones; `size` are known to."""
        ids, end = self._ids, len(self._ids)
        limit = min(position - max(CONTEXT_SIZES) + 1, MAX_MATCH)
        while size < limit and ids[position - size - 1] == ids[end - size - 1]:
            size += 1
        return size

    def copy(self) -> History:
        """Return an independent copy."""
        other = copy.copy(self)
        other._ids, other._onsets = self._ids[:], self._onsets[:]
        other._newest, other._alternate = {**self._newest}, {**self._alternate}
        other.places = self.places and self.places.copy()
        return other


@dataclass(frozen=True)
class MatchModel:
    """The histories of a batch of pieces, and how strongly they bias the next ids."""

    histories: Sequence[History]
    weights: MatchWeights
    strength: float = 1.0

    @classmethod
    def begin(
        cls, vocabulary: Vocabulary, weights: MatchWeights, strength: float = 1.0
    ) -> MatchModel:
        """Return the match model of one piece that has not begun."""
        return cls([History.begin(vocabulary, weights.min_lag_bars)], weights, strength)

    def update(self, ids: np.ndarray) -> None:
        """Append the next ids int [B]."""
        for history, token_id in zip(self.histories, ids.tolist(), strict=True):
            history.update(token_id)

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> MatchModel:
        """Return a copy of these rows."""
        return replace(self, histories=[self.histories[row].copy() for row in rows])


def bars_per_token(vocabulary: Vocabulary) -> list[float]:
    """Return by how many bars each id advances the music, [V]."""
    return [0.0, *map(vocabulary.encoding.bars, vocabulary.tokens[1:])]


def features(candidate: Candidate, log_prob: float) -> tuple[float, ...]:
    """Return what the weights of a candidate with this log probability are multiplied by."""
    _, is_alternate, n_matching, lag_bars, n_bars, log_odds = candidate
    log_prob, match = max(log_prob, MIN_LOG_PROB), NO_MATCH
    if n_matching:
        log_match, log_lag = math.log2(n_matching), math.log2(1 + lag_bars)
        of_length = 1.0, float(is_alternate), log_match, min(log_match, CAP)
        match = *of_length, log_lag, log_lag * log_lag, log_prob
    return *match, float(n_bars), log_odds, log_prob if n_bars else 0.0


def add_match_bias(log_probs: np.ndarray, match_model: MatchModel) -> None:
    """Add each history's bias to its row of log probabilities float32 [B, V], in place.

    Rows stay normalised. A strength of 0 changes no bit.
    """
    if not match_model.strength:
        return
    rows: list[int] = []
    candidates: list[Candidate] = []
    for row, history in enumerate(match_model.histories):
        for candidate in history.candidates():
            rows.append(row)
            candidates.append(candidate)
    if not rows:
        return
    ids = [candidate.token_id for candidate in candidates]
    before = log_probs[rows, ids].astype(float)
    biases, weights = [], match_model.weights.vector.tolist()
    for candidate, log_prob in zip(candidates, before.tolist(), strict=True):
        bias = 0.0
        for weight, value in zip(weights, features(candidate, log_prob), strict=True):
            bias += weight * value
        biases.append(match_model.strength * min(max(bias, -MAX_BIAS), MAX_BIAS))
    added = np.bincount(rows, np.exp(before) * np.expm1(biases), len(log_probs))
    log_probs -= np.log1p(np.maximum(added, -1 + 1e-9)).astype(np.float32)[:, None]
    log_probs[rows, ids] += np.array(biases, np.float32)
