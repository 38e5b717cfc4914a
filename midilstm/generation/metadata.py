"""What stands beside a piece: the JSON from which it can be made again. Knows no network."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from midilstm import tokenizers as encodings
from midilstm.fileio import InputError, read_json, write_atomically
from midilstm.generation.generate import GROUP
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.network import ROW_BY_ROW
from midilstm.generation.options import KEPT, LENGTHS, default_stem
from midilstm.midi import program_of
from midilstm.repetition.match_model import MatchWeights

LATER: dict[str, Any] = {
    **{"memory": 0, "memory_weights": None, "key": None, "chords": None, "instruments": None},
    "control_strength": 1,
}
MAX_BYTES = 2**26  # of a piece's JSON
LIBRARIES = ("numpy", "music21", "miditok", "symusic")  # what shapes a piece's bytes


def build_metadata(
    argv: Sequence[str], values: Mapping[str, Any], trained: LoadedModel, primer: list[str]
) -> dict[str, Any]:
    """Return what all pieces of a call have in common, from its options' values."""
    return {
        "command": shlex.join(["python", "sample.py", *argv]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        **{option.name: values[option.name] for option in KEPT},
        "model_dir": str(values["model_dir"]),
        "checkpoint": trained.checkpoint_path.stem.removeprefix("epoch-").lstrip("0"),
        "weights_sha256": trained.network.digest,
        "epoch": trained.metrics.get("epoch"),
        "val_loss": trained.metrics.get("val_loss"),
        "memory_weights": trained.match_weights.to_json() if trained.match_weights else None,
        "encoding": trained.vocabulary.encoding_name,
        "versions": {"python": platform.python_version(), **{x: version(x) for x in LIBRARIES}},
        "primer": str(values["primer"]) if values["primer"] else None,
        "primer_tokens": primer,
    }


def read_metadata(path: Path) -> dict[str, Any]:
    """Read a piece's JSON; raise InputError where it is not one that sample.py wrote."""
    try:
        body = {**LATER, **read_json(path, MAX_BYTES)}  # as before there was any
        if not (wrong := next(_mistakes(body), "")):
            return dict(body)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        wrong = str(error)
    raise InputError(
        f"{path} does not describe a piece ({wrong}); "
        "--reproduce takes the .json that sample.py writes beside a piece"
    )


def _mistakes(body: Mapping[str, Any]) -> Iterator[str]:
    """Say what a piece's JSON lacks or has wrong."""
    names = [option.name for option in KEPT] + ["primer_tokens", "weights_sha256", "group"]
    yield from (f"{name} is missing" for name in names if name not in body)
    yield from (f"{o.name} is {body[o.name]!r}"[:60] for o in KEPT if not o.allows(body[o.name]))
    if sum(body[name] is not None for name in LENGTHS) != 1:
        yield f"it has not one of {', '.join(LENGTHS)}"
    primer = body["primer_tokens"]
    if not isinstance(primer, list) or not all(isinstance(token, str) for token in primer):
        yield "primer_tokens is no list of tokens"
    if body["memory_weights"] is not None:
        MatchWeights.from_json(body["memory_weights"])  # or ValueError
    match body["group"]:
        case {"seed": int(first), "count": int(number)} if number <= GROUP:
            if body["seed"] in range(first, first + number):
                return
    yield "group does not hold the seed"


def memory_for(
    strength: float, trained: LoadedModel, like: Mapping[str, Any] | None
) -> MatchWeights | None:
    """Return the memory that a piece is drawn with: of the piece it is made like, or the model's.

    Raise InputError where there is none to be stronger or weaker.
    """
    weights = trained.match_weights
    if like and (like["memory_weights"] or like["memory"] == strength):
        weights = like["memory_weights"] and MatchWeights.from_json(like["memory_weights"])
    if not weights and strength not in (0, 1):
        raise InputError(
            f"--memory={strength:g} is for a model with a memory, which train.py fits at its end "
            "unless told --no-memory; this one has none"
        )
    return weights if strength else None


def rng_batch_of(seed: int, seeds: range) -> dict[str, int]:
    """Name the seeds that a piece's bytes depend on: in a small group only its own."""
    start = (seed - seeds.start) // GROUP * GROUP
    group = seeds[start : start + GROUP]
    if len(group) <= ROW_BY_ROW:
        group = range(seed, seed + 1)
    return {"seed": group.start, "count": len(group)}


def write_piece(folder: Path, checkpoint: Path, body: Mapping[str, Any]) -> tuple[Path, int]:
    """Write the piece that a JSON describes, and the JSON, under a free name, or neither.

    Return the .mid's path, and how many tokens were left out as no music.
    """
    path, instrument = _claim(folder, default_stem(checkpoint, body)), body["instrument"]
    try:
        program = None if instrument is None else program_of(instrument)
        left_out = encodings.write(
            body["tokens"], path, body["encoding"], bpm=body["bpm"], instrument=program
        )
        text = json.dumps({**body, "n_invalid_tokens": left_out}, indent=2, ensure_ascii=False)
        write_atomically(path.with_suffix(".json"), text + "\n")
    except BaseException as error:  # Ctrl-C too: a description without its piece is a riddle
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink()
        if isinstance(error, ValueError) and not isinstance(error, InputError):
            raise InputError(f"seed {body['seed']} cannot be written: {error}") from error
        raise
    return path, left_out


def _claim(folder: Path, stem: str) -> Path:
    """Take the first free name, stem.mid or -2, -3 ..., by creating its JSON: only one can."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = folder / f"{stem if number == 1 else f'{stem}-{number}'}.mid"
        with suppress(FileExistsError):
            if not path.exists():
                path.with_suffix(".json").touch(exist_ok=False)
                break
    return path
