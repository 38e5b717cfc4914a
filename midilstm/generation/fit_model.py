"""Fit the match model to a trained network, as train.py does at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.generation.loaded_model import (
    FittedOn,
    open_model,
    read_match_model,
    write_match_model,
)
from midilstm.generation.network import Network
from midilstm.generation.opening import Opening
from midilstm.generation.sampler import Sampler
from midilstm.model_dir import MATCH_MODEL
from midilstm.repetition.fit import MIN_LAG_BARS, ROUNDS, calibrate, collect_examples, fit_weights
from midilstm.repetition.match_model import History, MatchWeights, bars_per_token
from midilstm.repetition.metrics import bar_lags, repeat_lags
from midilstm.tokenizers.base import split
from midilstm.tokenizers.vocabulary import END_ID, Vocabulary

FIT_TOKENS = 30_000  # of training pieces for the regression, about
MAX_SAMPLED = 400_000  # tokens in all rounds of the calibration
MIN_PIECES, MAX_LENGTH = 10, 8000  # pieces per round, and tokens per piece: five rounds at least
MAX_REFERENCE = 200  # reference pieces
SPANS = (8, 16)  # ids; pieces are compared by these where the encoding has no places


def fit_match_model(
    model_dir: Path, training: Sequence[np.ndarray], held_out: Sequence[np.ndarray], seed: int
) -> None:
    """Fit the match model to a folder's best or last network, unless that is done already."""
    path = model_dir / MATCH_MODEL
    try:
        fitted_on = read_match_model(path)[1]
    except InputError:
        fitted_on = None
        path.unlink()  # it is damaged and written again
    model = open_model(model_dir, None)
    if fitted_on and fitted_on.weights_sha256 == model.network.digest:
        return
    lengths = sorted(len(ids) - 1 for ids in held_out)
    length = lengths[len(lengths) // 2] if lengths else None  # as evaluate.py draws pieces
    print(f"Fitting the memory to {model.checkpoint_path}, by drawing pieces ...", flush=True)
    weights = fit_match_weights(
        model.network,
        model.vocabulary,
        training,
        seed=seed,
        length=length,
        openings=model.openings,
    )
    fitted_on = FittedOn(
        checkpoint=model.checkpoint_path.stem,
        weights_sha256=model.network.digest,
        pieces=len(training),
        tokens=sum(map(len, training)),
        seed=seed,
    )
    write_match_model(path, weights, fitted_on)
    print(f"Saved {path}: how strongly new pieces repeat themselves, as the training pieces do")


def fit_match_weights(
    network: Network,
    vocabulary: Vocabulary,
    pieces: Sequence[np.ndarray],
    *,
    seed: int,
    length: int | None = None,
    openings: Sequence[Opening] = (),
) -> MatchWeights:
    """Return the match model's weights for a network, from training pieces int [n] with their ends.

    New pieces of `length` ids (None: of the median piece's) are compared with the training pieces.
    """
    rng = np.random.default_rng(seed % 2**63)
    order = [pieces[index][:MAX_LENGTH] for index in rng.permutation(len(pieces))]
    fitted = order[: 1 + int(np.searchsorted(np.cumsum([len(ids) for ids in order]), FIT_TOKENS))]
    length = min(length or max(1, int(np.median([len(ids) - 1 for ids in pieces]))), MAX_LENGTH)
    count = max(MIN_PIECES, min(128, 16_000 // length))
    config = SamplingConfig(chars=length)
    rounds = min(ROUNDS, MAX_SAMPLED // (count * length))
    total = sum(map(len, fitted)) + rounds * count * length
    with tqdm(None, "memory", total, unit="token", delay=1, leave=False, disable=None) as bar:

        def predict(ids: np.ndarray) -> np.ndarray:
            bar.update(len(ids))
            state = network.initial_state()
            inputs = np.r_[END_ID, ids[:-1]][:, None]
            return np.concatenate([state.step(input_ids) for input_ids in inputs])

        def sample(weights: MatchWeights, round_index: int) -> list[np.ndarray]:
            first = int(start) + 1000 * round_index
            sampler = Sampler(network, vocabulary, config, weights, openings=openings)
            pieces = sampler.draw(range(first, first + count), bar.update)
            return [np.array(piece.ids) for piece in pieces]

        start = rng.integers(2**32)
        reference = [ids[:-1][:length] for ids in order[:MAX_REFERENCE]]
        begin = partial(History.begin, vocabulary, MIN_LAG_BARS)
        weights = fit_weights(collect_examples(fitted, predict, begin), MIN_LAG_BARS)
        return calibrate(weights, sample, reference, repeats_of(vocabulary), rounds=rounds)


def repeats_of(vocabulary: Vocabulary) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return the function that finds how many bars ago parts of a piece int [n] were last played.

    These are bars of an instrument and whole bars, whatever their velocities and durations; or
    spans of ids.
    """
    bars = np.array(bars_per_token(vocabulary))

    def find(ids: np.ndarray) -> list[np.ndarray]:
        if vocabulary.encoding.has_places:
            return bar_lags(split(vocabulary.tokens[i] for i in ids))
        return [repeat_lags(ids, span) * bars[ids].mean() for span in SPANS]

    return find
