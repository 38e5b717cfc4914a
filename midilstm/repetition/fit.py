"""Fit the weights of the match model on training pieces, in two steps.

`fit_weights` finds what predicts best: a logistic regression on the network's log probabilities.
`calibrate` then scales the weights and shifts the one of the lag until new pieces repeat as much
as the reference pieces do, and from as far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from midilstm.repetition.match_model import (
    MAX_CANDIDATES,
    N_FEATURES,
    N_MATCH_FEATURES,
    History,
    MatchWeights,
    features,
)

MIN_LAG_BARS = 1.0
# The regression's Gaussian prior. It keeps weights finite where few pieces repeat; and likelihood
# alone hardly limits `log_lag_sq`, without which long pieces repeat ever more, from ever farther.
PRIOR_MEAN = np.zeros(N_FEATURES)
PRIOR_PRECISION = np.full(N_FEATURES, 0.05)
PRIOR_MEAN[5], PRIOR_PRECISION[5] = -0.4, 4000.0
ROUNDS = 8  # of sampling
# The assumed slopes of the log odds of a repeat over the scale, and of the log lag over the shift,
# and how much that assumption counts beside the measured slopes.
PRIOR_SLOPES, SLOPE_WEIGHT = np.array([12.0, 0.8]), np.array([2e-3, 1e-2])
BANDWIDTH, MAX_STEP = 0.08, np.array([0.08, 0.25])  # of scale; of scale and shift per round


@dataclass(frozen=True)
class Examples:
    """Candidates at N positions of pieces, K or fewer at each.

    features float64 [N, K, D]; log_probs float64 [N, K], of the candidates, -inf for none;
    labels int [N], which of them came next: 1 to K, or 0 for none. K is 2 and D N_MATCH_FEATURES,
    or MAX_CANDIDATES and N_FEATURES where the encoding has places.
    """

    features: np.ndarray
    log_probs: np.ndarray
    labels: np.ndarray


def collect_examples(
    pieces: Sequence[np.ndarray],
    predict: Callable[[np.ndarray], np.ndarray],
    begin: Callable[[], History],
) -> Examples:
    """Collect the candidates in pieces int [n]; `predict` gives their log probabilities [n, V]."""
    size = (MAX_CANDIDATES, N_FEATURES) if begin().places else (2, N_MATCH_FEATURES)
    rows, log_probs, labels = [], [], []
    for piece in pieces:
        history, predictions = begin(), predict(piece)
        for token_id, prediction in zip(piece.tolist(), predictions, strict=True):
            if candidates := history.candidates():
                ids, row, known = [], np.zeros(size), np.full(size[0], -np.inf)
                for index, candidate in enumerate(candidates):
                    ids.append(candidate.token_id)
                    known[index] = prediction[candidate.token_id]
                    row[index] = features(candidate, known[index])[: size[1]]
                rows.append(row)
                log_probs.append(known)
                labels.append(ids.index(token_id) + 1 if token_id in ids else 0)
            history.update(token_id)
    return Examples(
        np.array(rows, float).reshape(-1, *size),
        np.array(log_probs, float).reshape(-1, size[0]),
        np.array(labels, int),
    )


def mixture(examples: Examples, vector: np.ndarray) -> np.ndarray:
    """Return the log probabilities of no candidate and of each one, float64 [N, 1 + K].

    `vector` float64 [D] is as MatchWeights.vector.
    """
    rest = np.log(np.maximum(1 - np.exp(examples.log_probs).sum(axis=1, keepdims=True), 1e-9))
    before = np.concatenate([rest, examples.log_probs], axis=1)
    after = before + np.pad(examples.features @ vector, ((0, 0), (1, 0)))
    highest = after.max(axis=1, keepdims=True)
    after -= highest + np.log(np.exp(after - highest).sum(axis=1, keepdims=True))
    return after


def fit_weights(examples: Examples, min_lag_bars: float) -> MatchWeights:
    """Return the most probable weights under the prior, by Newton's method with step halving."""
    _, n_candidates, size = examples.features.shape
    vector = prior_mean = PRIOR_MEAN[:size]
    precision = PRIOR_PRECISION[:size]
    observed = np.arange(len(examples.labels)), examples.labels
    is_next = examples.labels[:, None] == np.arange(1, n_candidates + 1)

    def loss(vector: np.ndarray) -> float:
        penalty = precision @ (vector - prior_mean) ** 2 / 2
        return float(penalty - mixture(examples, vector)[observed].sum())

    current = loss(vector)
    for _ in range(60):
        probs = np.exp(mixture(examples, vector)[:, 1:])
        gradient = np.einsum("nk,nkd->d", probs - is_next, examples.features)
        gradient = gradient + precision * (vector - prior_mean)
        means = np.einsum("nk,nkd->nd", probs, examples.features)
        squares = np.einsum("nk,nkd,nke->de", probs, examples.features, examples.features)
        hessian = squares - means.T @ means + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        while loss(vector - step) > current and np.abs(step).max() > 1e-6:
            step /= 2
        vector = vector - step
        current, previous = loss(vector), current
        if previous - current < 1e-6 * max(1.0, abs(current)):
            break
    return MatchWeights(min_lag_bars, *vector.tolist())


def calibrate(
    weights: MatchWeights,
    sample: Callable[[MatchWeights, int], Sequence[np.ndarray]],
    reference: Sequence[np.ndarray],
    repeats: Callable[[np.ndarray], Sequence[np.ndarray]],
    *,
    rounds: int = ROUNDS,
) -> MatchWeights:
    """Return the weights with which sampled pieces repeat as reference pieces int [n] do.

    `sample(weights, round)` draws pieces of the reference's length. `repeats` returns, for each of
    some sizes, how many bars ago each part of a piece of that size was last played, 0 for never.
    Local regressions through the rounds predict where the repetition matches. Two rounds in a row
    within the 95 % interval of the reference end the search.
    """
    lags = [repeats(ids) for ids in reference]
    sizes = [
        index for index, column in enumerate(zip(*lags, strict=True)) if any(map(np.any, column))
    ]
    if not sizes:
        return weights
    lags = [[arrays[size] for size in sizes] for arrays in lags]
    rng = np.random.default_rng(0)
    resamples = [
        summarize_lags([lags[i] for i in rng.integers(0, len(lags), len(lags))]) for _ in range(100)
    ]
    low, high = np.nanpercentile(resamples, [2.5, 97.5], axis=0)
    target = (low + high) / 2
    importance = 1 / np.maximum(high - low, 0.05) ** 2  # more where the reference varies less
    log_lag = math.log2(1 + math.exp(target[1].mean()))
    trials, errors, n_inside, trial = [], [], 0, np.array([1.05, 0.0])
    for round_index in range(rounds):
        pieces = sample(rescale(weights, trial, log_lag), round_index)
        drawn = map(repeats, pieces)
        summary = summarize_lags([[arrays[size] for size in sizes] for arrays in drawn])
        trials.append(trial)
        errors.append(np.average(np.nan_to_num(summary - target), 1, importance))
        trial = np.clip(_next_trial(np.array(trials), np.array(errors)), [0.5, -1.0], [2, 1.0])
        n_inside = n_inside + 1 if ((low <= summary) & (summary <= high)).all() else 0
        if n_inside == 2:
            break
    return rescale(weights, trial, log_lag)


def summarize_lags(pieces: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return float [2, sizes] of pieces' lags in bars, one array for each size of a piece.

    Row 0 is the log odds of the mean share of repeated parts; row 1 the log of the median lag, nan
    where nothing repeats.
    """
    columns = []
    for lags in zip(*pieces, strict=True):
        share = float(np.mean([np.mean(lag > 0) for lag in lags if len(lag)] or [0.0]))
        share, joined = min(max(share, 0.001), 0.999), np.concatenate(lags)
        median = math.log(np.median(joined[joined > 0])) if joined.any() else math.nan
        columns.append((math.log(share / (1 - share)), median))
    return np.array(columns).T


def _next_trial(trials: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return scale and shift where the errors are predicted to vanish, at most one step away.

    `trials` float [N, 2]; `errors` float [N, 2]: of the log odds of the share, of the log lag.
    """
    kernel = np.exp(-(((trials[:, :1] - trials[-1, 0]) / BANDWIDTH) ** 2))
    kernel /= kernel.sum()
    x, y = (kernel * trials).sum(axis=0), (kernel * errors).sum(axis=0)
    deviations = len(trials) * kernel * (trials - x)
    slopes = (deviations * (errors - y)).sum(axis=0) + SLOPE_WEIGHT * PRIOR_SLOPES
    variance = (deviations * (trials - x)).sum(axis=0) + SLOPE_WEIGHT
    slopes = np.maximum(slopes / variance, PRIOR_SLOPES / 4)
    result: np.ndarray = trials[-1] + np.clip(x - y / slopes - trials[-1], -MAX_STEP, MAX_STEP)
    return result


def rescale(weights: MatchWeights, trial: np.ndarray, log_lag: float) -> MatchWeights:
    """Return the weights times a scale, and more in favour of lags above `log_lag` by a shift.

    `trial` float [2] has the scale and the shift; `log_lag` is in log2 of bars.
    """
    scale, shift = trial.tolist()
    scaled = MatchWeights(weights.min_lag_bars, *(scale * weights.vector).tolist())
    return replace(scaled, bias=scaled.bias - shift * log_lag, log_lag=scaled.log_lag + shift)
