"""Draw ids from log probabilities: temperature, top-k, top-p, repetition penalty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midilstm.config import SamplingConfig

WINDOW = 64  # tokens that the repetition penalty looks back on


def gumbel_noise(rngs: Sequence[np.random.Generator], size: int) -> np.ndarray:
    """Draw Gumbel noise, float32 [B, size]: adding it makes the largest a draw (Gumbel 1954)."""
    waits = np.empty((len(rngs), size), np.float32)
    for rng, row in zip(rngs, waits, strict=True):
        rng.standard_exponential(out=row, dtype=np.float32)
    np.maximum(waits, np.finfo(np.float32).tiny, out=waits)
    np.log(waits, out=waits)
    return np.negative(waits, out=waits)


def sample_tokens(
    log_probs: np.ndarray,
    noise: np.ndarray,
    config: SamplingConfig,
    history: Sequence[Sequence[int]],
) -> np.ndarray:
    """Return ids int [B] drawn by log probabilities and Gumbel noise, float32 [B, V] each.

    `history` holds each row's ids so far, of which the first is END. See SamplingConfig.
    """
    logits = log_probs.copy()
    if config.repetition_penalty != 1:
        recent = np.array([ids[max(1, len(ids) - WINDOW) :] for ids in history], np.intp)
        penalised = np.take_along_axis(logits, recent, 1) * config.repetition_penalty
        np.put_along_axis(logits, recent, penalised, 1)
    if config.temperature:
        logits /= config.temperature
        if config.top_k or (config.top_p or 1) < 1:
            logits[logits < _threshold(logits, config)] = -np.inf
        logits += noise
    ids: np.ndarray = logits.argmax(axis=1)
    return ids


def _threshold(logits: np.ndarray, config: SamplingConfig) -> np.ndarray:
    """Return the smallest logit [B, 1] that top-k and top-p keep."""
    descending = -np.sort(-logits, axis=1)[:, : config.top_k or None]
    if config.top_p in (None, 1):
        return descending[:, -1:]
    probabilities = np.exp((descending - descending[:, :1]).astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    more_likely = np.cumsum(probabilities, axis=1) - probabilities
    last = np.maximum((more_likely < (config.top_p or 1)).sum(axis=1, keepdims=True), 1) - 1
    return np.take_along_axis(descending, last, 1)
