"""One id out of log probabilities: the knobs; knows no network, no piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 64  # tokens that the repetition penalty looks back on


@dataclass(frozen=True)
class SamplingConfig:
    """Say how a token is chosen; each default leaves the log probabilities as they are.

    In the order that loop.generate names: tokens among the last WINDOW have their log probability
    multiplied by `repetition_penalty` (CTRL: Keskar et al. 2019, arXiv 1909.05858); all are divided
    by `temperature` (0: the likeliest is taken); the `top_k` likeliest stay (0: all do); of these
    the fewest that together have `top_p` of their sum (Holtzman et al. 2020, arXiv 1904.09751), and
    those as likely as the last of them. Only with `until_end` can a piece end.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop_at_end: bool = False


def gumbel_noise(rngs: Sequence[np.random.Generator], size: int) -> np.ndarray:
    """Draw Gumbel noise, float32 [B, size]: adding it makes the largest a draw (Gumbel 1954)."""
    waits = np.empty((len(rngs), size), np.float32)
    for rng, row in zip(rngs, waits, strict=True):
        rng.standard_exponential(out=row, dtype=np.float32)
    np.maximum(waits, np.finfo(np.float32).tiny, out=waits)
    np.log(waits, out=waits)
    return np.negative(waits, out=waits)


def sample_tokens(
    log_probabilities: np.ndarray,
    noise: np.ndarray,
    knobs: SamplingConfig,
    heard: Sequence[Sequence[int]],
) -> np.ndarray:
    """Choose ids [B] by log probabilities and noise [B, V], after B lists of ids, each from END."""
    scores = log_probabilities.copy()
    if knobs.repetition_penalty != 1:
        recent = np.array([ids[max(1, len(ids) - WINDOW) :] for ids in heard], np.intp)
        penalised = np.take_along_axis(scores, recent, 1) * knobs.repetition_penalty
        np.put_along_axis(scores, recent, penalised, 1)
    if knobs.temperature:
        scores /= knobs.temperature
        if knobs.top_k or knobs.top_p < 1:
            scores[scores < _least(scores, knobs)] = -np.inf
        scores += noise
    ids: np.ndarray = scores.argmax(axis=1)
    return ids


def _least(scores: np.ndarray, knobs: SamplingConfig) -> np.ndarray:
    """Return the least score [B, 1] that top-k and top-p let stay."""
    ordered = -np.sort(-scores, axis=1)[:, : knobs.top_k or None]
    if knobs.top_p == 1:
        return ordered[:, -1:]
    masses = np.exp((ordered - ordered[:, :1]).astype(np.float64))
    masses /= masses.sum(axis=1, keepdims=True)
    likelier = np.cumsum(masses, axis=1) - masses  # what all likelier tokens have together
    last = np.maximum((likelier < knobs.top_p).sum(axis=1, keepdims=True), 1) - 1
    return np.take_along_axis(ordered, last, 1)
