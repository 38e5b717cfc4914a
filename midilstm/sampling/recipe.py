"""What stands beside a piece: the JSON from which it can be made again. Knows no network."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from midilstm import runs
from midilstm import tokens as encodings
from midilstm.files import InputError, write_atomically
from midilstm.midi import program_of
from midilstm.sampling.loop import GROUP
from midilstm.sampling.network import ROW_BY_ROW
from midilstm.sampling.options import KEPT, LENGTHS, stem_of
from midilstm.sampling.pieces import Trained

LIBRARIES = ("numpy", "music21", "miditok", "symusic")  # what shapes a piece's bytes


def recipe_of(
    argv: Sequence[str], values: Mapping[str, Any], trained: Trained, primer: list[str]
) -> dict[str, Any]:
    """Return what all pieces of a call have in common, from its options' values."""
    kept = {option.name: values[option.name] for option in KEPT}
    return {
        "command": shlex.join(["python", "sample.py", *argv]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        **kept,
        "model_dir": str(values["model_dir"]),
        "checkpoint": trained.checkpoint.stem.removeprefix("epoch-").lstrip("0"),
        "weights_sha256": trained.network.digest,
        "held_out_loss": runs.held_out_loss(trained.checkpoint),
        "encoding": trained.vocabulary.name,
        "versions": {"python": platform.python_version(), **{x: version(x) for x in LIBRARIES}},
        "primer": str(values["primer"]) if values["primer"] else None,
        "primer_tokens": primer,
    }


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a piece's JSON; raise InputError where it is not one that sample.py wrote."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        wrong = list(_mistakes(body)) if isinstance(body, dict) else ["it is no table of names"]
    except (OSError, ValueError, RecursionError) as error:
        wrong = [str(error)]
    if wrong:
        raise InputError(
            f"{path} does not describe a piece ({'; '.join(wrong[:3])}); "
            "--like takes the .json that sample.py writes beside a piece"
        )
    return dict(body)


def _mistakes(body: Mapping[str, Any]) -> Iterator[str]:
    """Say what a piece's JSON lacks or has wrong."""
    for option in KEPT:
        if option.name not in body:
            yield f"{option.name} is missing"
        elif not option.allows(body[option.name]):
            yield f"{option.name} is {body[option.name]!r}"[:60]
    if sum(body.get(name) is not None for name in LENGTHS) != 1:
        yield f"it has not one of {', '.join(LENGTHS)}"
    for name in ("tokens", "primer_tokens"):
        found = body.get(name)
        if not isinstance(found, list) or {type(token) for token in found} - {str}:
            yield f"{name} is no list of tokens"
    if "weights_sha256" not in body:
        yield "weights_sha256 is missing"
    match body.get("group"):
        case {"seed": int(first), "count": int(count)} if count <= GROUP:
            if body.get("seed") not in range(first, first + count):
                yield "group does not hold the seed"
        case _:
            yield "group is no seed and count"


def group_of(seed: int, seeds: range) -> dict[str, int]:
    """Name the seeds that a piece's bytes depend on: in a small group only its own."""
    start = (seed - seeds.start) // GROUP * GROUP
    group = seeds[start : start + GROUP]
    if len(group) <= ROW_BY_ROW:
        group = range(seed, seed + 1)
    return {"seed": group.start, "count": len(group)}


def seeds_for(wanted: range, like: Mapping[str, Any] | None) -> range:
    """Return the seeds to draw for those wanted: for a piece made again, those of its group."""
    if not like or wanted != range(like["seed"], like["seed"] + 1):
        return wanted
    first, count = like["group"]["seed"], like["group"]["count"]
    return range(first, first + count)


def same_notes(values: Mapping[str, Any], like: Mapping[str, Any]) -> bool:
    """Tell whether a call's options ask for the notes of a piece's JSON."""
    names = [option.name for option in KEPT if option.role == "notes"]
    names += ["bpm"] * (values["seconds"] is not None)
    same = all(values[name] == like[name] for name in names)
    return same and not values["primer"] and values["count"] == 1


def write_piece(folder: Path, checkpoint: Path, body: Mapping[str, Any]) -> tuple[Path, int]:
    """Write the piece that a JSON describes, and the JSON, under a free name.

    Return the .mid's path, and how many tokens were left out as no music. Where it fails, or is
    stopped, neither file stays.
    """
    path, instrument = _claim(folder, stem_of(checkpoint, body)), body["instrument"]
    try:
        program = None if instrument is None else program_of(instrument)
        left_out = encodings.write(
            body["tokens"], path, body["encoding"], bpm=body["bpm"], instrument=program
        )
        text = json.dumps({**body, "tokens_left_out": left_out}, indent=2, ensure_ascii=False)
        write_atomically(path.with_suffix(".json"), text + "\n")
    except BaseException as error:  # Ctrl-C too: a description without its piece is a riddle
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink()
        if isinstance(error, ValueError):
            what = f"the piece of seed {body['seed']} cannot be written: {error}"
            raise InputError(what) from error
        raise
    return path, left_out


def _claim(folder: Path, stem: str) -> Path:
    """Take the first free name, folder/stem.mid or -2, -3 ..., by creating its empty JSON.

    Of two processes that want one name only one can create it, and only that one writes the .mid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / f"{stem if number == 1 else f'{stem}-{number}'}.mid"
        number += 1
        with suppress(FileExistsError):
            if not path.exists():
                path.with_suffix(".json").touch(exist_ok=False)
                return path
