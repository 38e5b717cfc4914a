"""What training left, ready to sample from: network, vocabulary, the memory of the piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from midilstm import model_dir as runs
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.network import Network, load
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.vocabulary import Vocabulary

FITTED_ON = {"checkpoint": str, "weights_sha256": str, "pieces": int, "tokens": int, "seed": int}


@dataclass(frozen=True)
class LoadedModel:
    """A model folder, ready to sample from."""

    checkpoint_path: Path
    network: Network
    vocabulary: Vocabulary
    pedal: bool = True  # whether it heard the sustain pedal
    match_weights: MatchWeights | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the checkpoint's epoch


def open_model(folder: Path, which: str | None) -> LoadedModel:
    """Read a model folder; raise InputError or OSError in one sentence where it does not fit."""
    runs.choose(folder, which)  # or there is nothing to read
    settings = runs.load_settings(folder)
    vocabulary = Vocabulary.load_for(
        folder / runs.VOCABULARY, settings["network"].get("vocabulary_size", 0)
    )
    pedal = settings.get("training", {}).get("pedal", True)
    checkpoint, network, scores = _read(folder, which, settings["network"])
    memory, _ = read_match_model(folder / runs.MEMORY)
    return LoadedModel(checkpoint, network, vocabulary, pedal, memory, scores)


def _read(
    folder: Path, which: str | None, sizes: Mapping[str, Any]
) -> tuple[Path, Network, dict[str, float]]:
    """Return a checkpoint, its network and its epoch's scores, all of one file.

    Meanwhile training may have put another in its place, or removed it: then choose again.
    """
    while True:
        checkpoint = runs.choose(folder, which)
        before = _identity(checkpoint)
        try:
            found = checkpoint, load(checkpoint, sizes), runs.scores(checkpoint)
        except InputError:
            if before and before == _identity(checkpoint):
                raise
        else:
            if before == _identity(checkpoint):
                return found


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of its name; None where there is none."""
    try:
        status = path.lstat()  # a link that leads nowhere is one, too
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def write_match_model(path: Path, weights: MatchWeights, fitted_on: dict[str, Any]) -> None:
    """Write the memory's weights, and what they were fitted on, as JSON."""
    body = {"weights": weights.to_json(), "fitted_on": fitted_on}
    write_atomically(path, json.dumps(body, indent=2) + "\n")


def read_match_model(path: Path) -> tuple[MatchWeights | None, dict[str, Any]]:
    """Read what `write_memory` wrote; where there is no file there is no memory."""
    try:
        body = read_json(path, 2**16)
        if set(body) != {"weights", "fitted_on"}:
            raise ValueError("expected weights and fitted_on")
        if {name: type(value) for name, value in body["fitted_on"].items()} != FITTED_ON:
            raise ValueError(f"expected fitted_on to have {', '.join(FITTED_ON)}")
        return MatchWeights.from_json(body["weights"]), body["fitted_on"]
    except FileNotFoundError:
        return None, {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no memory that train.py fitted ({error}); remove it, and the train.py "
            "command of this model fits it again"
        ) from error
