"""Build a web page that shows and plays pieces offline.

Its layout is page.html, its style page.css and its script page.js, which the page of serve.py
shares.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from midilstm.copies import Copy, CopyReport, NoteSpan
from midilstm.fileio import InputError, warn
from midilstm.rendering import MARK
from midilstm.rendering.repeats import repeated_spans
from midilstm.rendering.timeline import TimedPiece

LAYOUT, *_files = (Path(__file__).with_suffix(suffix) for suffix in (".html", ".css", ".js"))
ASSETS = {path.name: path for path in _files}
# The page loads nothing but sound files beside it.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "media-src 'self' file: blob:; img-src data:"
)
HEAD = f"""<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<style>
{{{{style}}}}</style>"""
END = """<script type="application/json" id="data">{{data}}</script>
<script>
{{script}}</script>"""


def fill_layout(**parts: str) -> str:
    """Return the layout with each {{name}} replaced, in this order."""
    text = LAYOUT.read_text(encoding="utf-8")
    for name, part in {"mark": MARK, **parts}.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text


def build_page(pieces: Sequence[TimedPiece], folder: Path) -> bytes:
    """Fill the layout with a folder's pieces in this order; warn if copies.json is broken."""
    report = CopyReport({})
    try:
        report = CopyReport.load(folder)
    except InputError as error:
        warn(str(error))
    entries = [page_entry(piece, report.copies.get(piece.path.name)) for piece in pieces]
    data = json.dumps({"title": folder.resolve().name, "pieces": entries})
    # A file name must not be able to close the script element that holds it.
    data = data.replace("<", "\\u003c")
    style, script = (path.read_text(encoding="utf-8") for path in ASSETS.values())
    return fill_layout(head=HEAD, form="", end=END, style=style, script=script, data=data).encode()


def page_entry(piece: TimedPiece, copy: Copy | None) -> dict[str, Any]:
    """Return what the page shows of a piece; each note is start s, end s, pitch, velocity."""
    path, modified = piece.path, piece.path.stat().st_mtime
    wav = path.with_suffix(".wav")
    # Path.is_file() raises an error for a name that is too long; os.access does not.
    has_sound = os.access(wav, os.R_OK) and wav.is_file() and wav.stat().st_mtime >= modified
    return {
        "name": path.name,
        "made": datetime.fromtimestamp(modified).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(piece.seconds, 3),
        "bars": [round(second, 3) for second in piece.bars],
        "repeats": [(round(at, 3), round(end, 3), tint) for at, end, tint in repeated_spans(piece)],
        # The bytes of the name as a link, since a name may not be valid text.
        "sound": quote(os.fsencode(wav.name)) if has_sound else None,
        "copy": copy_entry(piece, copy) if copy else None,
        "drawn": drawn_spans(piece, piece.body.get("drawn_bars")),
        "settings": {key: format_value(value) for key, value in piece.body.items()},
        "parts": [
            {
                **{"name": part.name, "label": part.label, "program": part.program},
                **{"colour": part.colour, "thickness": part.thickness},
                "style": "notes kept" if part.is_kept else "notes",
                "notes": flatten(part.notes),
            }
            for part in piece.parts
        ],
    }


def flatten(notes: Iterable[NoteSpan]) -> list[float]:
    """Return start s, end s, pitch and velocity of all notes in one list, times to milliseconds."""
    return [round(value, 3) for note in notes for value in note[:4]]


def copy_entry(piece: TimedPiece, copy: Copy) -> dict[str, Any] | None:
    """Return a copied passage as the page shows it; None if the file has changed since."""
    if copy.sha256 != hashlib.sha256(piece.path.read_bytes()).hexdigest():
        return None
    start, end = np.interp(copy.bars, range(len(piece.bars)), piece.bars).tolist()
    if copy.bars[1] > len(piece.bars) - 1:
        end = piece.seconds
    parts: dict[int, list[NoteSpan]] = {}
    for note in copy.notes:
        parts.setdefault(note.program, []).append(note)
    return {
        "piece": copy.piece,
        "semitones": copy.semitones,
        "tokens": copy.tokens,
        "start": round(start, 3),
        "end": round(end, 3),
        "seconds": max(note.end for note in copy.notes),
        "parts": [{"program": key, "notes": flatten(notes)} for key, notes in parts.items()],
    }


def drawn_spans(piece: TimedPiece, numbers: object) -> list[tuple[float, float]]:
    """Return begin and end in seconds of the bars that were drawn into a piece, if it says so."""
    lines, spans = [*piece.bars, piece.seconds], list[tuple[float, float]]()
    for number in numbers if isinstance(numbers, list) else ():
        if isinstance(number, int) and 1 <= number <= len(piece.bars):
            begin, end = (round(second, 3) for second in lines[number - 1 : number + 1])
            if spans and spans[-1][1] == begin:
                begin = spans.pop()[0]
            spans.append((begin, end))
    return spans


def format_value(value: object) -> str:
    """Return a setting as text: fractions with four digits, a list as its length."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value):,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {format_value(item)}" for key, item in value.items())
    return str(value)
