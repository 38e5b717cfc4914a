"""The settings of a training run and of its dataset, as settings.json holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.schema import Config, from_json, setting, to_json

PARTS = ("model", "data", "train", "dataset", "initial_checkpoint")
MAX_VOCABULARY = 2**18  # a larger network would not fit into memory beside it


@dataclass(frozen=True, kw_only=True)
class DatasetSummary(Config):
    """What a run was trained on; `sha256` is the fingerprint of all ids, in order."""

    pieces: int = setting(0, "all pieces", low=0, high=2**63)
    held_out: tuple[str, ...] = setting((), "names of the held-out files")
    files: tuple[str, ...] = setting((), "hash of the tokens and file name of each piece")
    skipped: tuple[str, ...] = setting((), "names of the files that held no piece")
    tokens: int = setting(0, "ids of all pieces, ends included", low=0, high=2**63)
    sha256: str = setting("-", "fingerprint")
    vocabulary_size: int = setting(1, "tokens of the vocabulary", low=1, high=MAX_VOCABULARY)


@dataclass(frozen=True, kw_only=True)
class InitialCheckpoint(Config):
    """The checkpoint of another run that a run started from."""

    checkpoint: str = setting("-", "path of the file")
    sha256: str = setting("-", "hash of the file")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What shapes a run: equal settings give equal weights."""

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    dataset: DatasetSummary
    initial_checkpoint: InitialCheckpoint | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the settings as settings.json holds them."""
        parts = (self.model, self.data, self.train, self.dataset, self.initial_checkpoint)
        return {name: x and to_json(x) for name, x in zip(PARTS, parts, strict=True)}

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> RunSettings:
        """Return the settings of a JSON object; raise ValueError or KeyError where it has none."""
        start = body["initial_checkpoint"]
        return RunSettings(
            model=from_json(ModelConfig, body["model"]),
            data=from_json(DataConfig, body["data"]),
            train=from_json(TrainConfig, body["train"]),
            dataset=from_json(DatasetSummary, body["dataset"]),
            initial_checkpoint=None if start is None else from_json(InitialCheckpoint, start),
        )


def music_changes(old: DatasetSummary, new: DatasetSummary) -> str:
    """Return in words which pieces were added, removed or changed, up to three names of each."""
    before, now = (
        {name: digest for digest, _, name in (x.partition(" ") for x in summary.files)}
        for summary in (old, new)
    )
    added = [name for name, digest in now.items() if digest not in before.values()]
    removed = [name for name, digest in before.items() if digest not in now.values()]
    changed = [name for name in added if name in removed]
    kinds = {
        "added": [name for name in added if name not in changed],
        "removed or no longer readable": [name for name in removed if name not in changed],
        "changed": changed,
    }
    parts = [
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if names[3:] else ''} {kind}"
        for kind, names in kinds.items()
        if names
    ]
    return "; ".join(parts) or "the same files give other tokens"
