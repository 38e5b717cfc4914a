"""Pieces → one listening page (HTML) that needs no network; page.html is its layout and script."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from midilstm.fileio import printable, read_json
from midilstm.midi import MAX_BYTES
from midilstm.rendering import MARK
from midilstm.rendering.copies import copy_of, read_copies
from midilstm.rendering.repeats import repeated_spans
from midilstm.rendering.timeline import TimedPiece

LAYOUT = Path(__file__).with_suffix(".html")


def build_page(pieces: Sequence[TimedPiece], title: str) -> bytes:
    """Fill the layout with the pieces, in the order given."""
    copies = {folder: read_copies(folder) for folder in {piece.path.parent for piece in pieces}}
    entries = [page_entry(piece, copies[piece.path.parent]) for piece in pieces]
    data = json.dumps({"title": title, "pieces": entries})
    # A file name must not be able to close the script element that holds it.
    data = data.replace("<", "\\u003c")
    layout = LAYOUT.read_text(encoding="utf-8")
    return layout.replace("{{mark}}", MARK).replace("{{data}}", data).encode()


def page_entry(piece: TimedPiece, copies: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a piece; its notes: start s, end s, pitch, velocity."""
    path, made = piece.path, piece.path.stat().st_mtime
    sound = path.with_suffix(".wav")
    returns = repeated_spans(piece)
    # Of a name that is too long is_file() raises an error; there is no such file.
    heard = os.access(sound, os.R_OK) and sound.is_file()
    fresh = heard and sound.stat().st_mtime >= made
    return {
        "name": path.name,
        "made": datetime.fromtimestamp(made).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(piece.seconds, 3),
        "bars": [round(second, 3) for second in piece.bars],
        "returns": [(round(at, 3), round(end, 3), tint) for at, end, tint in returns],
        # Its bytes as a link, since a name may be no text.
        "sound": quote(os.fsencode(sound.name)) if fresh else None,
        "copy": copy_of(piece, copies),
        "settings": read_settings(path.with_suffix(".json")),
        "parts": [
            vars(part) | {"notes": [round(number, 3) for note in part.notes for number in note]}
            for part in piece.parts
        ],
    }


def read_settings(path: Path) -> dict[str, str]:
    """Read the JSON that says how a piece was made; name a broken one and go on without it."""
    try:
        if not path.is_file():
            return {}
        settings = read_json(path, MAX_BYTES)
        return {key: spell(value) for key, value in settings.items()}
    except (OSError, ValueError, AttributeError) as error:
        print(printable(f"left out: {path} holds no settings ({error})."), file=sys.stderr)
        return {}


def spell(value: object) -> str:
    """Spell a setting for people: four digits of a fraction, the length of a list."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value):,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {spell(item)}" for key, item in value.items())
    return str(value)
