"""Predict that a piece repeats itself: a bias for ids that followed the same context earlier.

This is the match model of the compressors PAQ and lpaq (M. Mahoney), on token ids. It gives two
candidates at most for the next id: the one after the latest occurrence of the longest context that
was just repeated, and the one where an earlier occurrence continued differently. The bias of a
candidate, in nats, is a weighted sum of its features and is added to its log probability.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from midilstm.tokenizers.vocabulary import Vocabulary

LEVELS = 3  # contexts of 1, 2 and 4 ids are indexed, each twice as long as the one before
LONGEST = 2 ** (LEVELS - 1)
MAX_MATCH = 64  # ids compared backwards when a match begins; one that goes on may become longer
CONTEXT_BITS = 32  # of a context's id
CAP = 2.0  # log2 of 4 ids: the cap of `log_match_capped`
MIN_LOG_PROB = -12.0  # nats: what `model_logprob` is multiplied by for less likely ids
MAX_BIAS = 16.0  # nats at strength 1, in either direction


@dataclass(frozen=True)
class MatchWeights:
    """The smallest lag of a repeat, and the weight of each feature of a candidate, in nats."""

    min_lag_bars: float  # contexts begin to count this many bars after they were played
    bias: float
    is_alternate: float  # of the second candidate
    log_match: float  # of log2 of the number of matching ids
    log_match_capped: float  # of the same, CAP at most
    log_lag: float  # of log2 of 1 + the bars since
    log_lag_sq: float  # of the square of that
    model_logprob: float  # of the candidate's log probability

    def __post_init__(self) -> None:
        """Raise ValueError unless all weights are numbers in a range that a fit can give."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} is {repr(value)[:60]}, expected a number")
            if not (0 if name == "min_lag_bars" else -100) <= value <= 100:
                raise ValueError(f"{name} is {repr(value)[:60]}, expected a number up to 100")

    @property
    def vector(self) -> np.ndarray:
        """Return all weights but `min_lag_bars`, float64 [7]."""
        shape = (self.bias, self.is_alternate, self.log_match, self.log_match_capped)
        return np.array([*shape, self.log_lag, self.log_lag_sq, self.model_logprob], float)

    def to_json(self) -> dict[str, float]:
        """Return the weights as a plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: object) -> MatchWeights:
        """Read what `to_json` wrote; raise ValueError that says what is wrong."""
        names = [field.name for field in fields(cls)]
        if not isinstance(body, Mapping) or set(body) != set(names):
            raise ValueError(f"expected the numbers {', '.join(names)}, got {repr(body)[:200]}")
        return cls(**body)


class Candidate(NamedTuple):
    """An id that may come next because it followed the same context earlier in the piece."""

    token_id: int
    is_alternate: bool  # whether it is the second of two
    n_matching: int  # ids of the context that match
    lag_bars: float  # since it was played


class History:
    """Index the contexts of one piece and give the ids that followed the current one.

    Time and memory grow linearly with the piece. Each context of 2 or 4 ids has an id
    of its own, looked up by the ids of its halves; a context of one id has that id.
    """

    def __init__(self, bars: Sequence[float], min_lag_bars: float) -> None:
        """Begin a piece; `bars` float [V] is by how many bars each id advances the music."""
        self._bars, self._min_lag, self._now = bars, min_lag_bars, 0.0
        self._ids, self._onsets = [0] * LONGEST, [0.0] * LONGEST  # as if only END came before
        self._context_ids: dict[int, int] = {}  # both halves' ids as one number → a context's id
        # Per context: the latest position after it, and the latest that has another id (0: none).
        self._newest, self._alternate = [0] * len(bars), [0] * len(bars)
        self._n_indexed = LONGEST  # positions before this one are in `_newest` and `_alternate`
        self._match = self._length = 0  # the position that continues the match (0: none)
        # Per level and position: the id of the context of 2 ** level tokens that ends there.
        self._contexts: list[list[int]] = [[0] * LONGEST]
        for level in range(1, LEVELS):
            half = self._contexts[level - 1][0]
            self._contexts.append([self._context_id(half, half)] * LONGEST)

    def update(self, token_id: int) -> None:
        """Append the piece's next id."""
        ids, onsets, match = self._ids, self._onsets, self._match
        if match and ids[match] == token_id:
            self._match, self._length = match + 1, self._length + 1
        else:
            self._match = 0
        ids.append(token_id)
        onsets.append(self._now)
        self._now += self._bars[token_id]
        context_id, halves, back = token_id, self._contexts[0], -2
        halves.append(context_id)
        for wholes in self._contexts[1:]:
            context_id = self._context_id(halves[back], context_id)
            wholes.append(context_id)
            halves, back = wholes, 2 * back + 1
        latest, position = self._now - self._min_lag, self._n_indexed
        while position < len(ids) and onsets[position] <= latest:
            self._index(position)
            position += 1
        self._n_indexed = position

    def _context_id(self, first: int, second: int) -> int:
        """Return the id of the context with these halves, a new one if it has none."""
        key = first << CONTEXT_BITS | second
        context_id = self._context_ids.get(key)
        if context_id is None:
            context_id = self._context_ids[key] = len(self._newest)
            self._newest.append(0)
            self._alternate.append(0)
        return context_id

    def _index(self, position: int) -> None:
        """Enter the id at `position` under the contexts before it."""
        ids, newest, alternate = self._ids, self._newest, self._alternate
        for contexts in self._contexts:
            context_id = contexts[position - 1]
            old = newest[context_id]
            newest[context_id] = position
            if old and ids[old] != ids[position]:
                alternate[context_id] = old

    def candidates(self) -> list[Candidate]:
        """Return the candidates for the next id, two at most.

        A match longer than its lag in ids would repeat a third time in a row: it is left out.
        """
        first, second, size = self._match, 0, 0
        ids, newest, alternate = self._ids, self._newest, self._alternate
        for level in reversed(range(LEVELS)):
            context_id = self._contexts[level][-1]
            position = newest[context_id]
            if not position:
                continue
            if not first:
                first, self._length = position, self._count_matching(position, 2**level)
            second = position if ids[position] != ids[first] else alternate[context_id]
            if second and ids[second] != ids[first]:
                size = 2**level
                break
        if not first:
            return []
        self._match = first
        end, now, onsets = len(ids), self._now, self._onsets
        candidates = []
        if self._length <= end - first:
            candidates.append(Candidate(ids[first], False, self._length, now - onsets[first]))
        if size and (length := self._count_matching(second, size)) <= end - second:
            candidates.append(Candidate(ids[second], True, length, now - onsets[second]))
        return candidates

    def _count_matching(self, position: int, size: int) -> int:
        """Return how many ids before `position` equal the latest ones; `size` are known to."""
        ids, end, limit = self._ids, len(self._ids), min(position - LONGEST + 1, MAX_MATCH)
        while size < limit and ids[position - size - 1] == ids[end - size - 1]:
            size += 1
        return size

    def copy(self) -> History:
        """Return an independent copy."""
        other = copy.copy(self)
        other._ids, other._onsets = self._ids[:], self._onsets[:]
        other._context_ids = {**self._context_ids}
        other._newest, other._alternate = self._newest[:], self._alternate[:]
        other._contexts = [ids[:] for ids in self._contexts]
        return other


@dataclass(frozen=True)
class MatchModel:
    """The histories of a batch of pieces, and how strongly they bias the next ids."""

    histories: Sequence[History]
    weights: MatchWeights
    strength: float = 1.0

    @classmethod
    def begin(
        cls, bars: Sequence[float], weights: MatchWeights, strength: float = 1.0
    ) -> MatchModel:
        """Return the match model of one piece that has not begun; `bars` as for History."""
        return cls([History(bars, weights.min_lag_bars)], weights, strength)

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


def features(candidate: Candidate) -> tuple[float, float, float, float, float, float]:
    """Return what the weights from `bias` to `log_lag_sq` are multiplied by."""
    _, is_alternate, n_matching, lag_bars = candidate
    log_match, log_lag = math.log2(n_matching), math.log2(1 + lag_bars)
    return 1.0, float(is_alternate), log_match, min(log_match, CAP), log_lag, log_lag * log_lag


def add_match_bias(log_probs: np.ndarray, match_model: MatchModel) -> None:
    """Add each history's bias to its row of log probabilities float32 [B, V], in place.

    Rows stay normalised. A strength of 0 changes no bit.
    """
    weights, strength = match_model.weights, match_model.strength
    if not strength:
        return
    rows, ids, biases = [], [], []
    for row, history in enumerate(match_model.histories):
        for candidate in history.candidates():
            one, is_alternate, log_match, capped, log_lag, log_lag_sq = features(candidate)
            rows.append(row)
            ids.append(candidate.token_id)
            biases.append(
                weights.bias * one
                + weights.is_alternate * is_alternate
                + weights.log_match * log_match
                + weights.log_match_capped * capped
                + weights.log_lag * log_lag
                + weights.log_lag_sq * log_lag_sq
            )
    if not rows:
        return
    before = log_probs[rows, ids].astype(float)
    bias = np.array(biases) + weights.model_logprob * np.maximum(before, MIN_LOG_PROB)
    bias = strength * np.minimum(np.maximum(bias, -MAX_BIAS), MAX_BIAS)
    added = np.bincount(rows, np.exp(before) * np.expm1(bias), len(log_probs))
    log_probs -= np.log1p(np.maximum(added, -1 + 1e-9)).astype(np.float32)[:, None]
    log_probs[rows, ids] += bias.astype(np.float32)
