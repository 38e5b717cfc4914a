"""Read the JSON file beside a piece, and which notes were kept where it was written into."""

import os
from bisect import bisect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midilstm import midi
from midilstm.fileio import read_json, warn
from midilstm.midi import MAX_BYTES, Note, Score, instrument_name
from midilstm.midi.bars import EARLY
from midilstm.midi.score_json import score_from_json


def read_body(path: Path) -> dict[str, Any]:
    """Return a piece's JSON, empty without a file; warn if it is broken."""
    try:
        # Path.is_file() raises an error for a name that is too long; os.access does not.
        has_file = os.access(path, os.F_OK) and path.is_file()
        body = read_json(path, MAX_BYTES) if has_file else {}
        if not isinstance(body, dict):
            raise ValueError("expected an object")
        return body
    except (OSError, ValueError) as error:
        warn(f"{path} cannot be read ({error})")
        return {}


def kept_notes(score: Score, body: Mapping[str, Any]) -> frozenset[Note]:
    """Return the notes of a piece that `sample.py` kept of the piece it wrote into, if it did.

    They begin as in that piece, and are in bars that were not drawn or of what was to be kept.
    """
    try:
        source, drawn = score_from_json(body["source_score"]), {*body["drawn_bars"]}
        kept = {*body["kept_instruments"]}
    except (KeyError, TypeError, ValueError):
        return frozenset()
    names = source.track_names
    tracks = {(x.start, x.pitch, x.program): names.get(x.track, "") for x in source.notes}
    bars, early = midi.bar_ticks(score), score.ticks_per_quarter // EARLY
    return frozenset(
        note
        for note in score.notes
        if (key := (note.start, note.pitch, note.program)) in tracks
        and (
            bisect(bars, note.start + early) not in drawn
            or not kept.isdisjoint({instrument_name(note.program), tracks[key]})
        )
    )
