"""The room of encodings: MIDI files ⇄ lists of token strings. Knows no networks, no folders.

    from midilstm import tokenizers as tokens
    tokens.write(tokens.read("piece.mid"), "copy.mid")

To add an encoding, add one file and one line to ENCODINGS. Its file is loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a command line can name the encodings without waiting for libraries
    from midilstm.tokenizers.base import Encoding

# name → (the file that holds it, what it is, in a few words)
ENCODINGS = {
    "notes": ("notes", "pitches alone"),
    "tsd": ("miditok", "rhythm, too"),
    "remi": ("miditok", "bars, tempo and the whole band, too"),
}


def get(name: str) -> Encoding:
    """Return the encoding of that name; raise ValueError for an unknown one."""
    if name not in ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}: choose from {', '.join(ENCODINGS)}")
    found: Encoding = import_module(f"midilstm.tokenizers.{ENCODINGS[name][0]}").ENCODINGS[name]
    return found


def read(path: Path | str, encoding: str = "notes", *, pedal: bool = True) -> list[str]:
    """Return the tokens of the MIDI file at `path`; raise MidiError where it holds no piece."""
    return get(encoding).read(path, pedal=pedal)


def write(
    tokens: Iterable[str],
    path: Path | str,
    encoding: str = "notes",
    *,
    bpm: float | None = None,
    instrument: int | None = None,
) -> int:
    """Write tokens as a MIDI file; return how many invalid tokens were dropped.

    `bpm` and `instrument`, a General MIDI program, replace those in the tokens. Where neither
    gives one, the tempo is 120 and the instrument piano. Raise ValueError if no token is a note.
    """
    return get(encoding).write(tokens, path, bpm=bpm, instrument=instrument)
