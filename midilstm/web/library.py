"""The pieces that the page lists: files of the output folder, which are moved but never deleted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from midilstm.fileio import exclusive_lock, write_atomically

THROWN_AWAY, PRIMERS = "thrown-away", "primers"
SIBLINGS = (".mid", ".json", ".stems", ".wav", ".musicxml", ".png", ".self-similarity.png")


@dataclass(frozen=True)
class Item:
    """A MIDI file of the list; its id says nothing about where it is."""

    path: Path
    folder: str  # "", THROWN_AWAY or PRIMERS
    version: int  # changes with the file

    @property
    def id(self) -> str:
        """Return the id."""
        name = os.fsencode(f"{self.folder}/{self.path.name}")
        return hashlib.sha256(name).hexdigest()[:16]


class Library:
    """The MIDI files of the output folder, of those thrown away, and of primers."""

    def __init__(self, folder: Path) -> None:
        """Begin without a piece to decide on."""
        self.folder = folder
        self.undecided: set[Path] = set()  # drawn by this server, neither kept nor thrown away

    def items(self) -> list[Item]:
        """Return all files, the newest first."""
        found = []
        for folder in ("", THROWN_AWAY, PRIMERS):
            with suppress(OSError):
                for path in (self.folder / folder).glob("[!.]*.mid"):
                    state = path.lstat()
                    if path.is_file() and not path.is_symlink():
                        found.append((state.st_mtime_ns, Item(path, folder, state.st_mtime_ns)))
        return [item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def find(self, piece_id: str) -> Item:
        """Return the file of an id; raise KeyError for another."""
        return {item.id: item for item in self.items()}[piece_id]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the list as the page shows it."""
        return [
            {
                "id": item.id,
                "name": item.path.name,
                "version": str(item.version),
                "state": item.folder or ("new" if item.path in self.undecided else "kept"),
            }
            for item in self.items()
        ]

    def add_drawn(self, paths: Iterable[Path]) -> None:
        """Remember that these pieces are to be decided on."""
        self.undecided.update(paths)

    def keep(self, item: Item) -> None:
        """Decide for a piece; one that was thrown away comes back."""
        self.undecided.discard(item.path)
        if item.folder == THROWN_AWAY:
            self._move(item.path, self.folder)

    def throw_away(self, item: Item) -> None:
        """Move a piece and what was made of it to the folder of those thrown away."""
        self.undecided.discard(item.path)
        if item.folder != THROWN_AWAY:
            self._move(item.path, self.folder / THROWN_AWAY)

    def add_primer(self, data: bytes) -> str:
        """Write a MIDI file to the primers, under a name of its content; return its id."""
        path = self.folder / PRIMERS / f"{hashlib.sha256(data).hexdigest()[:16]}.mid"
        if not path.exists():
            with exclusive_lock(path.parent, timeout=10):
                write_atomically(path, data)
        return Item(path, PRIMERS, 0).id

    def _move(self, path: Path, folder: Path) -> None:
        """Move a piece and its siblings under a free name; nothing is overwritten."""
        with exclusive_lock(self.folder, folder, timeout=10):
            for number in count(1):
                stem = path.stem if number == 1 else f"{path.stem}-{number}"
                targets = [folder / f"{stem}{suffix}" for suffix in SIBLINGS]
                if not any(os.path.lexists(target) for target in targets):
                    break
            for suffix, target in zip(SIBLINGS, targets, strict=True):
                with suppress(FileNotFoundError):
                    path.with_name(path.stem + suffix).rename(target)
