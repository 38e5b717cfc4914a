"""The file copies.json: passages of generated pieces that stand in training pieces.

`evaluate.py --generated=FOLDER` writes it beside the pieces, and `render.py --page` shows it. It
holds the notes of the training piece's passage, so that the page does not need the training data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from midilstm.fileio import InputError, read_json, write_atomically

FILE, MARK = "copies.json", '"written_by": "evaluate.py"'
MAX_BYTES, MAX_NOTES, MAX_SECONDS, MAX_TOKENS, MAX_BARS = 2**26, 20_000, 3600, 10**7, 10**6


class CopiedNote(NamedTuple):
    """A note of a passage, with times in seconds from the beginning of the passage."""

    start: float
    end: float
    pitch: int
    velocity: int
    program: int


@dataclass(frozen=True)
class Copy:
    """The longest passage of a file that stands in a training piece."""

    sha256: str  # of the file
    piece: str  # name of the training piece
    semitones: int  # to add to the file's passage to get the training piece's
    tokens: int  # length of the passage
    bars: tuple[float, float]  # begin and end of the passage, from the beginning of the file
    notes: tuple[CopiedNote, ...]  # of the training piece's passage

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for a value of another type or out of range."""
        begin, end = self.bars
        ranges = [(self.semitones, -127, 127), (self.tokens, 1, MAX_TOKENS)]
        ranges += [(note.pitch, 0, 127) for note in self.notes]
        ranges += [(note.velocity, 0, 127) for note in self.notes]
        ranges += [(note.program, -1, 127) for note in self.notes]
        is_valid = all(type(value) is int and low <= value <= high for value, low, high in ranges)
        is_valid &= type(self.piece) is str and len(self.piece) <= 4096
        is_valid &= all(0 <= note.start <= note.end <= MAX_SECONDS for note in self.notes)
        is_valid &= 0 <= begin <= end <= MAX_BARS and 0 < len(self.notes) <= MAX_NOTES
        if not is_valid or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("a value is out of range")


@dataclass(frozen=True)
class CopyReport:
    """The copies in the files of a folder, by file name."""

    copies: Mapping[str, Copy]

    @classmethod
    def read(cls, folder: Path) -> CopyReport:
        """Read a folder's report, an empty one without the file; raise InputError for a bad one."""
        path = folder / FILE
        try:
            copies: Mapping[str, Any] = read_json(path, MAX_BYTES)["copies"]
            return cls({name: _copy(**entry) for name, entry in copies.items()})
        except FileNotFoundError:
            return cls({})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a valid report of copies ({error})") from error

    def write(self, folder: Path) -> Path:
        """Write the report and return its path; raise InputError rather than replace other work."""
        path = folder / FILE
        if path.exists() and MARK.encode() not in path.read_bytes():
            raise InputError(f"{path} was not written by evaluate.py: move it away to write there")
        copies = {name: asdict(copy) for name, copy in self.copies.items()}
        body = {"written_by": "evaluate.py", "copies": copies}
        write_atomically(path, json.dumps(body, indent=1) + "\n")
        return path


def _copy(bars: list[float], notes: list[list[Any]], **fields: Any) -> Copy:
    begin, end = bars
    return Copy(**fields, bars=(begin, end), notes=tuple(CopiedNote(*note) for note in notes))
