"""copies.json beside the pieces → what of them stands in a training piece. Knows no tokens."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from midilstm.fileio import printable, read_json
from midilstm.rendering.timeline import MAX_SECONDS, TimedPiece

FILE = "copies.json"  # as evaluate.py --generated=FOLDER writes it
MOST = 20_000  # notes of a passage


def read_copies(folder: Path) -> dict[str, Any]:
    """Return the copies by file name, none where there is no such file; name a broken one."""
    path = folder / FILE
    try:
        return {**read_json(path)["copies"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(printable(f"left out: {path} holds no copies ({error})."), file=sys.stderr)
        return {}


def copy_of(piece: TimedPiece, copies: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page shows of a piece's copy; None for none, or of a file that has changed.

    Times are in seconds, notes start, end, pitch and velocity.
    """
    try:
        found = copies[piece.path.name]
        if found["sha256"] != hashlib.sha256(piece.path.read_bytes()).hexdigest():
            return None
        bars = np.arange(len(piece.bars))
        start, end = (float(np.interp(bar, bars, piece.bars)) for bar in found["bars"])
        if found["bars"][1] > bars[-1]:
            end = piece.seconds
        parts: dict[int, list[float]] = {}
        for begins, ends, pitch, velocity, program in found["notes"][:MOST]:
            inside = 0 <= begins <= ends <= MAX_SECONDS and 0 <= pitch < 128 and 0 <= velocity < 128
            if not inside or program not in range(-1, 128):
                raise ValueError("a note is out of range")
            parts.setdefault(program, []).extend((begins, ends, pitch, velocity))
        seconds = max(end for notes in parts.values() for end in notes[1::4])
        return {
            "piece": str(found["piece"]),
            "semitones": int(found["semitones"]),
            "tokens": int(found["tokens"]),
            "start": round(start, 3),
            "end": round(end, 3),
            "seconds": seconds,
            "parts": [{"program": program, "notes": notes} for program, notes in parts.items()],
        }
    except KeyError:
        return None
    except (TypeError, ValueError, IndexError) as error:
        print(printable(f"left out: the copy in {piece.path} ({error})."), file=sys.stderr)
        return None
