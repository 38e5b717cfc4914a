"""What training left, ready to sample from: network, vocabulary, the memory of the piece."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from midilstm import model_dir as runs
from midilstm.evaluation import ranking as best
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.generate import MatchModel
from midilstm.generation.network import Network, load
from midilstm.repetition import fit as fitting
from midilstm.repetition.fit import bars_per_token
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.vocabulary import Vocabulary

FITTED_ON = {"checkpoint": str, "weights_sha256": str, "pieces": int, "tokens": int, "seed": int}


@dataclass(frozen=True)
class LoadedModel:
    """A model folder, ready to sample from."""

    checkpoint: Path
    network: Network
    vocabulary: Vocabulary
    pedal: bool = True  # whether it heard the sustain pedal
    memory: MatchWeights | None = None
    scores: Mapping[str, float] = field(default_factory=dict)  # of the checkpoint's epoch


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


def fit_match_model(
    folder: Path, pieces: Sequence[np.ndarray], held_out: Sequence[np.ndarray], seed: int
) -> None:
    """Fit the memory to a folder's best or last network, on training pieces, if it is not yet.

    Beside it stand people's ranges, which `sample.py --best` holds new pieces against.
    """
    path = folder / runs.MEMORY
    try:
        known = read_match_model(path)[1]
    except InputError:
        known = {}
        path.unlink()  # it is damaged, and made again
    trained = open_model(folder, None)
    digest = trained.network.digest
    if known.get("weights_sha256") == digest:
        write_reference(folder, [*held_out, *pieces])
        return
    lengths = sorted(len(ids) - 1 for ids in held_out)
    length = lengths[len(lengths) // 2] if lengths else None  # as evaluate.py draws pieces
    weights = fitting.fit(trained.network, trained.vocabulary, pieces, seed=seed, length=length)
    values = (trained.checkpoint.stem, digest, len(pieces), sum(map(len, pieces)), seed)
    write_match_model(path, weights, dict(zip(FITTED_ON, values, strict=True)))
    print(f"Saved {path}: how much comes back in a new piece, as in those trained on")
    write_reference(folder, [*held_out, *pieces])


def write_reference(folder: Path, pieces: Sequence[np.ndarray]) -> None:
    """Write the ranges of people's pieces, each with its end, unless they are there."""
    trained, path, known = open_model(folder, None), folder / runs.PEOPLE, None
    with suppress(InputError):  # it is damaged, and made again
        known = read_reference(path, trained.network.digest)
    if known is None:
        past = (
            MatchModel.begin(bars_per_token(trained.vocabulary), trained.memory)
            if trained.memory
            else None
        )
        order = np.random.default_rng(0).permutation(len(pieces))
        music = [pieces[number][:-1] for number in order]
        ranges = best.ranges_of(trained.network, trained.vocabulary, music, past)
        body = {"weights_sha256": trained.network.digest, "ranges": ranges}
        write_atomically(path, json.dumps(body, indent=1) + "\n")


def read_reference(path: Path, digest: str) -> best.Ranges | None:
    """Read people's ranges; None where there are none for the network of this digest."""
    try:
        body = read_json(path, 2**16)
        ranges = best.ranges_from_json(body["ranges"])
        return ranges if body["weights_sha256"] == digest else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} holds no ranges that train.py measured ({error}); remove it, and the train.py "
            "command of this model measures them again"
        ) from error


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
