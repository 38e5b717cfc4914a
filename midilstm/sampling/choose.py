"""One id out of log probabilities: the knobs; knows no network, no piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

END = 0  # vocabularies.END's id
WINDOW = 64  # tokens that the repetition penalty looks back on


@dataclass(frozen=True)
class Knobs:
    """Say how a token is chosen from log probabilities; each default leaves them as they are.

    In this order: a token among the last WINDOW has its log probability multiplied by
    `repetition_penalty`, its probability raised to that power (CTRL: Keskar et al. 2019, arXiv
    1909.05858; log probabilities are scores that are all negative); all are divided by
    `temperature` (0: the likeliest is taken); the `top_k` likeliest stay (0: all do); of these the
    fewest that together have `top_p` of what they sum to (Holtzman et al. 2020, arXiv 1904.09751).
    Tokens exactly as likely as the last that stays, stay. Until `until_end`, END is never chosen.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    until_end: bool = False

    @property
    def cut(self) -> bool:
        """Tell whether only the likeliest tokens can be drawn."""
        return self.temperature > 0 and (self.top_k > 0 or self.top_p < 1)


def choose(
    probabilities: np.ndarray,
    rng: np.random.Generator,
    knobs: Knobs,
    recent: Sequence[int] = (),
) -> int:
    """Draw the next id from probabilities [V], after the ids in `recent`."""
    with np.errstate(divide="ignore"):
        scores = np.log(np.asarray(probabilities, np.float64))[None]
    heard = np.array([list(recent)[-WINDOW:]], np.intp)
    return int(choose_rows(scores, race(rng, (1, scores.shape[1])), knobs, heard)[0][0])


def race(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw standard Gumbel noise, float32.

    The largest of log probability + noise is a draw from the probabilities (E. J. Gumbel 1954).
    Unlike a walk along their cumulative sum it hardly minds the last bits: they matter only where
    the two best are about equal, whatever the size of the vocabulary.
    """
    waits = rng.standard_exponential(shape, dtype=np.float32)
    np.maximum(waits, np.finfo(np.float32).tiny, out=waits)
    np.log(waits, out=waits)
    return np.negative(waits, out=waits)


def choose_rows(
    log_probabilities: np.ndarray,
    noise: np.ndarray,
    knobs: Knobs,
    heard: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    slack: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose from each row of log probabilities [B, V] with noise [B, V], after heard [B, ...].

    A mask [B, V], -inf where an id is forbidden and 0 elsewhere, is added before any knob turns.
    Return ids int [B], and which of them are sure: the same for any log probabilities that differ
    from these by less than `slack` nats.
    """
    scores = log_probabilities.copy() if mask is None else log_probabilities + mask
    rows = np.arange(len(scores))
    slack *= 2 * knobs.repetition_penalty  # of a difference between two scores
    if knobs.repetition_penalty != 1 and heard.size:
        penalised = np.take_along_axis(scores, heard, 1) * knobs.repetition_penalty
        np.put_along_axis(scores, heard, penalised, 1)
    if not knobs.until_end:
        scores[:, END] = -np.inf
    surely_kept: np.ndarray | float = -np.inf
    noisy = scores
    if knobs.temperature:
        scores /= knobs.temperature
        slack /= knobs.temperature
        if knobs.cut:
            perhaps_kept, surely_kept = _cuts(scores, knobs, slack)
            scores[scores < perhaps_kept[:, None]] = -np.inf
        noisy = scores + noise
    ids = noisy.argmax(axis=1)
    if not slack:
        return ids, np.ones(len(ids), bool)
    kept, best = scores[rows, ids] >= surely_kept, noisy[rows, ids]
    noisy[rows, ids] = -np.inf
    return ids, kept & (best - noisy.max(axis=1) > slack)


def _cuts(scores: np.ndarray, knobs: Knobs, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two thresholds [B] for top-k and top-p: scores below the first surely go, scores from
    the second on surely stay, if all are right within `slack`. Without slack both are the same.
    """
    size = scores.shape[1]
    most = min(knobs.top_k or size, size)
    ordered = np.concatenate([-np.sort(-scores, axis=1), np.full((len(scores), 1), -np.inf)], 1)
    masses = np.exp((ordered[:, :most] - ordered[:, :1]).astype(np.float64))
    masses /= masses.sum(axis=1, keepdims=True)
    likelier = np.cumsum(masses, axis=1) - masses  # what all likelier tokens have together

    def threshold(share: float) -> np.ndarray:
        stay = (likelier < share).sum(axis=1) if share < 1 else np.full(len(scores), most)
        pair = np.stack([np.maximum(stay, 1) - 1, np.maximum(stay, 1)], 1)
        return np.take_along_axis(ordered, pair, 1).mean(axis=1)

    if not slack:
        return threshold(knobs.top_p), threshold(knobs.top_p)
    sure = knobs.top_p - slack if knobs.top_p < 1 else 1.0
    return threshold(knobs.top_p + slack) - slack, threshold(sure) + slack
