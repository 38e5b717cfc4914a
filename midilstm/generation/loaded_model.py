"""Open a model folder: network, vocabulary, match model and settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.network import Network, load
from midilstm.generation.opening import Opening, read_openings
from midilstm.model_dir import (
    MATCH_MODEL,
    OPENINGS,
    VOCABULARY,
    load_settings,
    select_checkpoint,
)
from midilstm.repetition.match_model import MatchWeights, read_weights
from midilstm.schema import Config, from_json, setting, to_json
from midilstm.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class FittedOn(Config):
    """What the weights of a match model were fitted on."""

    checkpoint: str = setting("-", "name of the checkpoint")
    weights_sha256: str = setting("-", "digest of its weights")
    pieces: int = setting(0, "training pieces", low=0)
    tokens: int = setting(0, "tokens of the training pieces", low=0)
    seed: int = setting(0, "seed of the fit")


@dataclass(frozen=True)
class LoadedModel:
    """What a model folder holds, ready to sample from."""

    checkpoint_path: Path
    network: Network
    vocabulary: Vocabulary
    pedal: bool = True  # whether the training data was read with the sustain pedal
    match_weights: MatchWeights | None = None
    openings: tuple[Opening, ...] = ()  # of training pieces


def open_model(model_dir: Path, which: str | None) -> LoadedModel:
    """Read a model folder; raise InputError in one sentence where its files do not fit together.

    While training runs, the selected checkpoint may be replaced or removed between selecting and
    opening it: then the selection is made once more.
    """
    path = select_checkpoint(model_dir, which)  # or there is nothing to read
    settings = load_settings(model_dir)
    size = settings.dataset.vocabulary_size
    vocabulary = Vocabulary.load_for(model_dir / VOCABULARY, size)
    try:
        network = load(path, settings.model, size)
    except InputError:
        if not (path := select_checkpoint(model_dir, which)).exists():
            raise
        network = load(path, settings.model, size)
    match_weights, _ = read_match_model(model_dir / MATCH_MODEL)
    openings = read_openings(model_dir / OPENINGS, size)
    return LoadedModel(path, network, vocabulary, settings.data.pedal, match_weights, openings)


def write_match_model(path: Path, weights: MatchWeights, fitted_on: FittedOn) -> None:
    """Write the match model's weights, and what they were fitted on, as JSON."""
    body = {"weights": to_json(weights), "fitted_on": to_json(fitted_on)}
    write_atomically(path, json.dumps(body, indent=2) + "\n")


def read_match_model(path: Path) -> tuple[MatchWeights | None, FittedOn | None]:
    """Read what `write_match_model` wrote; return None twice where there is no file."""
    try:
        body = read_json(path, 2**16)
        if set(body) != {"weights", "fitted_on"}:
            raise ValueError("expected weights and fitted_on")
        return read_weights(body["weights"]), from_json(FittedOn, body["fitted_on"])
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a match model that train.py wrote ({error}); remove it, and the "
            "train.py command of this model fits it again"
        ) from error
