"""Convert MIDI files to lists of token strings and back, in one of several encodings.

    from midilstm import tokenizers
    tokenizers.write(tokenizers.read("piece.mid"), "copy.mid")

To add an encoding, add one module and one line to ENCODINGS. Its module is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command line names the encodings without importing the libraries
    from midilstm.tokenizers.base import Encoding

# name → (its module, a short description)
ENCODINGS = {
    "notes": ("notes", "pitches alone"),
    "tsd": ("miditok", "rhythm, too"),
    "remi": ("miditok", "bars, tempo and the whole band, too"),
}


def get(name: str) -> Encoding:
    """Return the encoding of that name; raise ValueError for an unknown one."""
    if name not in ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}: choose from {', '.join(ENCODINGS)}")
    module = import_module(f"midilstm.tokenizers.{ENCODINGS[name][0]}")
    encoding: Encoding = module.ENCODINGS[name]
    return encoding


def read(path: Path | str, encoding: str = "notes", *, pedal: bool = True) -> list[str]:
    """Return the tokens of the MIDI file at `path`; raise MidiError if that is impossible."""
    return get(encoding).read(path, pedal=pedal)


def write(
    tokens: Iterable[str],
    path: Path | str,
    encoding: str = "notes",
    *,
    bpm: float | None = None,
    instrument: int | None = None,
) -> int:
    """Write tokens as a MIDI file; see `Encoding.write` in base.py."""
    return get(encoding).write(tokens, path, bpm=bpm, instrument=instrument)
