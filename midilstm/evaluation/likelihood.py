"""Measure how well a network or an n-gram predicts whole pieces, with and without a match model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from midilstm.data.dataset import Dataset
from midilstm.evaluation.estimates import Estimate, estimate_mean
from midilstm.evaluation.ngram import NGram
from midilstm.evaluation.piece_sets import Pieces
from midilstm.generation.network import Network
from midilstm.repetition.match_model import MatchModel, add_match_bias
from midilstm.repetition.metrics import repeated_mask
from midilstm.tokenizers.vocabulary import END_ID

TOP = 5
GROUP = 64  # pieces that the network reads side by side
THIRDS = ("first third", "second third", "last third")
REPEATS = (8, 32)  # tokens of the verbatim repeats that sections are made of

# Per piece float32 [1 or 2, 2, n]: without and, where there is one, with the match model; the
# negative log likelihood in nats and the number of more likely ids; per id.
Predictions = list[np.ndarray]
Sections = Mapping[str, Mapping[str, float | None]]


def _measure(log_probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the targets' nats and the number of more likely ids, float [2, B], of [B, V]."""
    of_targets = log_probs[np.arange(len(log_probs)), targets, None]
    return np.stack([-of_targets[:, 0], (log_probs > of_targets).sum(axis=1)])


def score_network(
    network: Network,
    pieces: Sequence[np.ndarray],
    match_model: MatchModel | None = None,
    label: str = "Scoring",
) -> Predictions:
    """Predict pieces int [n], each from a state of zeros, by groups of about the same length.

    `match_model` is that of one piece, not begun.
    """
    results = [np.empty(0)] * len(pieces)
    order = np.argsort([-len(ids) for ids in pieces], kind="stable")
    for group in tqdm(np.split(order, range(GROUP, len(order), GROUP)), label, **_bar()):
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
            log_probs = state.step(inputs[:n_rows])
            output[0, :, step, :n_rows] = _measure(log_probs, targets[:n_rows])
            if memory:
                memory.update(inputs[:n_rows])
                add_match_bias(log_probs, memory)
                output[1, :, step, :n_rows] = _measure(log_probs, targets[:n_rows])
        for row, index in enumerate(group):
            results[index] = output[:, :, : lengths[row], row]
    return results


def score_ngram(
    ngram: NGram,
    pieces: Sequence[np.ndarray],
    match_model: MatchModel | None = None,
    label: str = "Scoring",
) -> Predictions:
    """Predict pieces int [n] by an n-gram, as `score_network` does by a network."""
    results = []
    for ids in tqdm(pieces, label, **_bar()):
        output, start = np.zeros((2 if match_model else 1, 2, len(ids)), np.float32), 0
        memory, inputs = match_model and match_model.select_rows([0]), np.append(END_ID, ids[:-1])
        for log_probs in map(np.log, ngram.probabilities(ids)):
            part = slice(start, start + len(log_probs))
            output[0, :, part] = _measure(log_probs, ids[part])
            if memory:
                for row in range(len(log_probs)):
                    memory.update(inputs[start + row :][:1])
                    add_match_bias(log_probs[row : row + 1], memory)
                output[1, :, part] = _measure(log_probs, ids[part])
            start = part.stop
        results.append(output)
    return results


def _bar() -> dict[str, object]:
    return {"delay": 1, "leave": False, "disable": None}


def nll_per_piece(predictions: Predictions, variant: int) -> np.ndarray:
    """Return each piece's nats, float [pieces]; `variant` 1 is with the match model."""
    return np.array([prediction[variant, 0].sum(dtype=float) for prediction in predictions])


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
    predictions: Predictions,
    variant: int,
    pieces: Pieces,
    dataset: Dataset,
    rng: np.random.Generator,
) -> Likelihood:
    """Return the likelihood of pieces of a dataset; `variant` 1 is with the match model."""
    is_training = next(iter(pieces)) in dataset.training
    nll, ranks = nll_per_piece(predictions, variant), [row[variant, 1] for row in predictions]
    tokens = np.array([len(ids) for ids in pieces.values()])
    sizes = [dataset.pieces[name] for name in pieces]
    notes, quarters = np.array([(size.notes, size.quarters) for size in sizes]).T
    per_token = estimate_mean(nll, tokens, rng=rng)
    low_high = per_token.interval and np.exp(per_token.interval)
    return Likelihood(
        pieces=len(tokens),
        n_available=len(dataset.training if is_training else dataset.held_out),
        tokens=int(tokens.sum()),
        nll_per_token=per_token,
        nll_per_note=estimate_mean(nll, notes, rng=rng),
        nll_per_quarter=estimate_mean(nll, quarters, rng=rng),
        perplexity=Estimate(
            float(np.exp(per_token.value or 0)),
            None if low_high is None else (float(low_high[0]), float(low_high[1])),
        ),
        accuracy=estimate_mean([(rank == 0).sum() for rank in ranks], tokens, rng=rng),
        top_5=estimate_mean([(rank < TOP).sum() for rank in ranks], tokens, rng=rng),
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
    pieces: Sequence[np.ndarray], predictors: Mapping[str, tuple[Predictions, int]]
) -> Sections:
    """Return each section's `share` of all tokens and its nats per token by each predictor.

    `predictors` maps a name to predictions and their variant. None stands for an empty section.
    """
    masks = [section_masks(ids) for ids in pieces]
    total = sum(map(len, pieces))
    sections: dict[str, dict[str, float | None]] = {}
    for section in masks[0]:
        size = sum(int(mask[section].sum()) for mask in masks)
        sections[section] = {"share": size / total}
        for name, (predictions, variant) in predictors.items():
            nll = sum(
                float(prediction[variant, 0, mask[section]].sum(dtype=float))
                for prediction, mask in zip(predictions, masks, strict=True)
            )
            sections[section][name] = nll / size if size else None
    return sections
