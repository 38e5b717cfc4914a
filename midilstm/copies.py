"""The file copies.json: passages of generated pieces that stand in training pieces.

`evaluate.py --generated=FOLDER` writes it beside the pieces, and `render.py --page` shows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from midilstm.fileio import InputError, exclusive_lock, read_json, write_atomically

FILE, MARK = "copies.json", '"written_by": "evaluate.py"'
MAX_NOTES = 20_000  # of a passage
MAX_SECONDS = 3600  # of a passage, and of a piece that render.py reads


class NoteSpan(NamedTuple):
    """A note with times in seconds, and its General MIDI program or midi.DRUMS."""

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
    notes: tuple[NoteSpan, ...]  # of the training piece's passage

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for a value of another type or out of range."""
        times = [(*self.bars, 10**6)]
        counts = [(self.semitones, -127, 127), (self.tokens, 1, 10**7)]
        counts += [(len(self.notes), 1, MAX_NOTES), (len(self.piece), 0, 4096)]
        for start, end, pitch, velocity, program in self.notes:
            times += [(start, end, MAX_SECONDS)]
            counts += [(pitch, 0, 127), (velocity, 0, 127), (program, -1, 127)]
        if not (
            isinstance(self.piece, str)
            and re.fullmatch("[0-9a-f]{64}", self.sha256)
            and all(type(value) is int and low <= value <= high for value, low, high in counts)
            and all(0 <= start <= end <= high for start, end, high in times)
            and not any(isinstance(value, bool) for span in times for value in span)
        ):
            raise ValueError("a value is out of range")


@dataclass(frozen=True)
class CopyReport:
    """The copies in a folder's pieces by file name; evaluation saves and rendering loads it."""

    copies: Mapping[str, Copy]

    @classmethod
    def load(cls, folder: Path) -> CopyReport:
        """Read a folder's report, empty if there is none; raise InputError for a damaged file."""
        path = folder / FILE
        try:
            entries = read_json(path, max_bytes=2**26)["copies"]
            for entry in entries.values():
                entry["bars"] = tuple(entry["bars"])
                entry["notes"] = tuple(NoteSpan(*note) for note in entry["notes"])
            return cls({name: Copy(**entry) for name, entry in entries.items()})
        except FileNotFoundError:
            return cls({})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            cause = str(error)[:200]
            raise InputError(f"{path} is not a valid report of copies ({cause})") from error

    def save(self, folder: Path) -> Path:
        """Write the report into a folder; raise InputError rather than replace a user's file."""
        path = folder / FILE
        if path.exists() and MARK.encode() not in path.read_bytes():
            raise InputError(f"{path} was not written by evaluate.py: move it away to write there")
        copies = {name: vars(copy) for name, copy in self.copies.items()}
        body = {"written_by": "evaluate.py", "copies": copies}
        with exclusive_lock(folder, timeout=60):
            write_atomically(path, json.dumps(body, indent=1) + "\n")
        return path
