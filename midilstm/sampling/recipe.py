"""What stands beside a piece: the JSON from which it can be made again. Knows no model, no MIDI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from midilstm.files import InputError, write_atomically

# What the JSON of a piece must hold to make it again, by the flags of sample.py they stand for.
# None: the flag was not given.
FLAGS: dict[str, type | tuple[type, ...]] = {
    "chars": (int, NoneType),
    "bars": (int, NoneType),
    "seconds": (int, float, NoneType),
    "seed": int,
    "temperature": (int, float),
    "top_k": int,
    "top_p": (int, float),
    "repetition_penalty": (int, float),
    "until_end": bool,
    "strict_grammar": bool,
    "include_primer": bool,
    "bpm": (int, float, NoneType),
    "instrument": (str, NoneType),
    "model_dir": str,
    "checkpoint": str,
}
# What a JSON from before these flags says without a word.
LATER: dict[str, Any] = {"bars": None, "seconds": None, "strict_grammar": True}


def load(path: Path) -> dict[str, Any]:
    """Read a piece's JSON; raise InputError where it is not one that `claim` wrote."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); --like takes the .json beside a piece"
        ) from error
    wrong = [] if isinstance(body, dict) else ["it is no table of names"]
    if not wrong:
        body = {**LATER, **body}
        for name, kind in FLAGS.items():
            value = body.get(name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                wrong.append(f"{name} is {'missing' if name not in body else repr(value)[:40]}")
        for name in ("tokens", "primer_tokens"):
            value = body.get(name)
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                wrong.append(f"{name} is no list of tokens")
        if not isinstance(body.get("weights_sha256"), str):
            wrong.append("weights_sha256 is missing")
    if wrong:
        raise InputError(
            f"{path} does not describe a piece ({'; '.join(wrong[:3])}); "
            "--like takes the .json that sample.py writes beside a piece"
        )
    return body


def flags(body: Mapping[str, Any]) -> list[str]:
    """Return the flags of sample.py that make the piece again."""
    words = []
    for name in FLAGS:
        flag, value = name.replace("_", "-"), body[name]
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag}={value}")
    return words


def claim(folder: Path, stem: str, body: Mapping[str, Any]) -> Path:
    """Write the JSON under a free name: folder/stem.json, or -2, -3 ...; return the .mid's path.

    The file is created only where neither it nor the .mid exists, so of two processes that want
    one name only one gets it, and whoever has the .json may write the .mid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / f"{stem if number == 1 else f'{stem}-{number}'}.mid"
        number += 1
        if path.exists():
            continue
        try:
            with path.with_suffix(".json").open("x", encoding="utf-8") as file:
                file.write(_text(body))
        except FileExistsError:
            continue
        return path


def amend(path: Path, body: Mapping[str, Any]) -> None:
    """Write the JSON beside the piece at `path` anew."""
    write_atomically(path.with_suffix(".json"), _text(body))


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
