"""Measure how well a network or an n-gram predicts whole pieces, with and without a match model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from midilstm.data.parsing import ParsedPiece
from midilstm.evaluation.estimates import Estimate, estimate_mean
from midilstm.evaluation.ngram import NGram
from midilstm.evaluation.piece_sets import Pieces
from midilstm.generation.network import Network
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.repetition.metrics import repeated_mask
from midilstm.tokenizers.vocabulary import END_ID

TOP = 5
GROUP = 64  # pieces that are scored side by side
THIRDS = ("first third", "second third", "last third")
REPEATS = (8, 32)  # tokens of the verbatim repeats that sections are made of

# Per piece float32 [2, n]: each id's negative log likelihood in nats, and the more likely ids.
Predictions = Sequence[np.ndarray]
Sections = Mapping[str, Mapping[str, float | None]]


def _measure(
    log_probs: np.ndarray, inputs: np.ndarray, targets: np.ndarray, memory: MatchModel | None
) -> np.ndarray:
    """Return the targets' nats and the number of more likely ids, float [1 or 2, 2, B], of [B, V].

    The second row is with the match model, which changes `log_probs`.
    """

    def measure() -> np.ndarray:
        of_targets = log_probs[np.arange(len(log_probs)), targets, None]
        return np.stack([-of_targets[:, 0], (log_probs > of_targets).sum(axis=1)])

    rows = [measure()]
    if memory:
        memory.update(inputs)
        add_match_bias(log_probs, memory)
        rows.append(measure())
    return np.stack(rows)


def score_network(
    network: Network, pieces: Sequence[np.ndarray], match_model: MatchModel | None = None
) -> list[Predictions]:
    """Predict pieces int [n], each from a state of zeros, without and with a new match model."""
    results = [np.empty(0)] * len(pieces)
    # Pieces of about the same length are scored side by side.
    order = np.argsort([-len(ids) for ids in pieces], kind="stable")
    total = sum(map(len, pieces))
    bar = tqdm(None, "Scoring pieces", total, unit="token", delay=1, leave=False, disable=None)
    for group in np.split(order, range(GROUP, len(order), GROUP)):
        lengths = np.array([len(pieces[index]) for index in group])
        ids = np.full((lengths[0] + 1, len(group)), END_ID)
        for row, index in enumerate(group):
            ids[1 : lengths[row] + 1, row] = pieces[index]
        output = np.zeros((2 if match_model else 1, 2, lengths[0], len(group)), np.float32)
        state, n_rows = network.initial_state(len(group)), len(group)
        memory = match_model and match_model.select_rows([0] * n_rows)
        for step, (inputs, targets) in enumerate(pairwise(ids)):
            if (n_longer := int(np.count_nonzero(lengths > step))) < n_rows:
                state, n_rows = state.select_rows(range(n_longer)), n_longer
                memory = memory and replace(memory, histories=memory.histories[:n_longer])
            inputs, targets = inputs[:n_rows], targets[:n_rows]
            output[:, :, step, :n_rows] = _measure(state.step(inputs), inputs, targets, memory)
            bar.update(n_rows)
        for row, index in enumerate(group):
            results[index] = output[:, :, : lengths[row], row]
    bar.close()
    return list(zip(*results, strict=True))


def score_ngram(
    ngram: NGram, pieces: Sequence[np.ndarray], match_model: MatchModel | None = None
) -> list[Predictions]:
    """Predict pieces int [n] by an n-gram, as `score_network` does by a network."""
    results = []
    for ids in tqdm(pieces, "Scoring an n-gram", delay=1, leave=False, disable=None):
        memory, inputs = match_model and match_model.select_rows([0]), np.append(END_ID, ids[:-1])
        outputs, start = [], 0
        for log_probs in map(np.log, ngram.probabilities(ids)):
            size = 1 if memory else len(log_probs)  # a match model reads one id after another
            for rows in np.split(log_probs, range(size, len(log_probs), size)):
                part = slice(start, start + size)
                outputs.append(_measure(rows, inputs[part], ids[part], memory))
                start = part.stop
        results.append(np.concatenate(outputs, axis=2, dtype=np.float32))
    return list(zip(*results, strict=True))


def nll_per_piece(predictions: Predictions) -> np.ndarray:
    """Return each piece's nats, float [pieces]."""
    return np.array([nll.sum(dtype=float) for nll, _ in predictions])


@dataclass(frozen=True)
class Likelihood:
    """How well pieces are predicted, of which there are `n_available`: sums, divided once."""

    pieces: int
    n_available: int
    tokens: int
    nll_per_token: Estimate
    nll_per_note: Estimate
    nll_per_quarter: Estimate
    perplexity: Estimate
    accuracy: Estimate
    top_5: Estimate
    with_memory: Likelihood | None = None  # with the match model


def summarize(
    variants: Sequence[Predictions],
    pieces: Pieces,
    sizes: Mapping[str, ParsedPiece],
    n_available: int,
) -> Likelihood:
    """Return the likelihood of pieces, predicted without and perhaps also with a match model."""
    (predictions, *with_memory), tokens = variants, [len(ids) for ids in pieces.values()]
    nll, ranks = nll_per_piece(predictions), [ranks for _, ranks in predictions]
    per_token = estimate_mean(nll, tokens)
    return Likelihood(
        pieces=len(tokens),
        n_available=n_available,
        tokens=sum(tokens),
        nll_per_token=per_token,
        nll_per_note=estimate_mean(nll, [sizes[name].notes for name in pieces]),
        nll_per_quarter=estimate_mean(nll, [sizes[name].quarters for name in pieces]),
        perplexity=Estimate(float(np.exp(per_token.value or 0))),
        accuracy=estimate_mean([(rank == 0).sum() for rank in ranks], tokens),
        top_5=estimate_mean([(rank < TOP).sum() for rank in ranks], tokens),
        with_memory=summarize(with_memory, pieces, sizes, n_available) if with_memory else None,
    )


def section_masks(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sections of a piece, bool [n] each: thirds, inside and outside of repeats."""
    third = np.arange(len(ids)) * 3 // len(ids)
    masks = {name: third == index for index, name in enumerate(THIRDS)}
    for span in REPEATS:
        masks[f"in repeats of {span}"] = repeated = repeated_mask(ids, span)
        masks[f"outside repeats of {span}"] = ~repeated
    return masks


def by_section(
    pieces: Sequence[np.ndarray], predictors: Mapping[str, Predictions]
) -> dict[str, dict[str, float | None]]:
    """Return each section's `share` of all tokens and its nats per token, None for no tokens."""
    masks = [section_masks(ids) for ids in pieces]
    total = sum(map(len, pieces))
    sections: dict[str, dict[str, float | None]] = {}
    for section in masks[0]:
        chosen = [mask[section] for mask in masks]
        size = sum(int(mask.sum()) for mask in chosen)
        sections[section] = {"share": size / total}
        for name, predictions in predictors.items():
            pairs = zip(predictions, chosen, strict=True)
            nll = sum(float(nats[mask].sum(dtype=float)) for (nats, _), mask in pairs)
            sections[section][name] = nll / size if size else None
    return sections
