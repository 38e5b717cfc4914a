"""The model folders that the page offers, and how their training went."""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from midilstm.fileio import InputError
from midilstm.model_dir import SETTINGS, load_settings, metric_history, select_checkpoint
from midilstm.training.log import FILES, LogRow, read

MAX_MODELS, MAX_POINTS = 100, 400
SECONDS = 2.0  # for which a list is kept


class Model(NamedTuple):
    """A model folder, and the log of its training where that was found."""

    path: Path
    encoding: str
    log: Path | None

    @property
    def id(self) -> str:
        """Return an id that says nothing about where the folder is."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows: epochs with both losses, and the log's age in seconds."""
        rows, age = list[LogRow](), 0.0
        if self.log:
            rows = read(self.log)[0][-MAX_POINTS:]
            age = time.time() - self.log.stat().st_mtime
        return {
            "id": self.id,
            "name": f"{self.path.name or self.path.resolve().name} ({self.encoding})",
            "has_bars": self.encoding == "remi",
            "age": round(age),
            "curve": [
                [row.epoch, *(x if math.isfinite(x) else None for x in (row.loss, row.val_loss))]
                for row in rows
            ],
        }


class Models:
    """The models below the current folder, and those that were named."""

    def __init__(self, first: Path) -> None:
        """Put a model folder first, which need not be below the current one."""
        self.first = first
        self._list: list[Model] = []
        self._read_at = -math.inf

    def list(self) -> list[Model]:
        """Return the models that can be sampled from."""
        if time.monotonic() - self._read_at > SECONDS:
            below = sorted(
                path.parent for level in ("*", "*/*") for path in Path().glob(f"{level}/{SETTINGS}")
            )
            logs = [path for level in ("", "*/", "*/*/") for path in Path().glob(level + FILES[0])]
            folders = dict.fromkeys([self.first, *below[:MAX_MODELS]])
            found = (open_folder(x, logs) for x in folders)
            self._list = [model for model in found if model]
            self._read_at = time.monotonic()
        return self._list

    def find(self, model_id: str) -> Model:
        """Return the model of an id; raise KeyError for another."""
        return {model.id: model for model in self.list()}[model_id]


def open_folder(path: Path, logs: list[Path]) -> Model | None:
    """Return a model folder with the one of these logs that has a row of its checkpoints."""
    with suppress(InputError, OSError):
        select_checkpoint(path)
        encoding = load_settings(path).data.encoding
        known = {(int(x["epoch"]), f"{x.get('loss', 0):.6f}") for x in metric_history(path)}
        for log in logs:
            if any((row.epoch, f"{row.loss:.6f}") in known for row in read(log)[0]):
                return Model(path, encoding, log)
        return Model(path, encoding, None)
    return None
