"""A model folder: its checkpoints, and the settings that say which run they belong to."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

from midilstm import checkpoint
from midilstm.fileio import InputError, open_regular, read_json, write_atomically
from midilstm.run_settings import InitialCheckpoint, RunSettings, music_changes

SETTINGS, VOCABULARY = "settings.json", "vocabulary.json"
MATCH_MODEL, REFERENCE, OPENINGS = "match_model.json", "reference.json", "openings.json"
CHECKPOINTS = ("epoch-*.keras", "best.keras", "damaged-*.keras")
FILES = (*CHECKPOINTS, VOCABULARY, SETTINGS, MATCH_MODEL, REFERENCE, OPENINGS)
MOVING = ".moving-"  # beginning of the name of an archive that is not complete
FORMAT = 5  # of the folder; raised where tokens or settings change their meaning


def checkpoint_path(model_dir: Path, epoch: int | str) -> Path:
    """Return the path of an epoch's checkpoint, or of the one named 'best'."""
    return model_dir / (f"epoch-{epoch:04d}.keras" if isinstance(epoch, int) else f"{epoch}.keras")


def numbered_checkpoints(model_dir: Path) -> dict[int, Path]:
    """Return the numbered checkpoints, epoch → file, in order."""
    matches = {path: re.fullmatch(r"epoch-(\d+)\.keras", path.name) for path in model_dir.glob("*")}
    return dict(sorted((int(match[1]), path) for path, match in matches.items() if match))


def select_checkpoint(model_dir: Path, which: str | None = None) -> Path:
    """Return the checkpoint 'latest', 'best' or of an epoch; raise InputError for any other.

    None stands for the best where there is one, and for the latest otherwise.
    """
    saved, best_path = numbered_checkpoints(model_dir), checkpoint_path(model_dir, "best")
    choices = {"best": best_path} if best_path.exists() else {}
    if saved:
        choices["latest"] = saved[max(saved)]
    if not choices or not (model_dir / SETTINGS).exists():
        raise InputError(
            f"there is no trained model in {model_dir}: run 'python train.py' first, with --demo "
            "if you have no MIDI files, or name another --model-dir"
        )
    choices |= {str(epoch): path for epoch, path in saved.items()}
    which = (which or next(iter(choices))).lstrip("0")
    if which not in choices:
        raise InputError(f"there is no {which!r}; --checkpoint can be {', '.join(choices)}")
    return choices[which]


def metrics(checkpoint_file: Path) -> dict[str, float]:
    """Return the epoch's row of the log that a checkpoint holds; {} where it is damaged."""
    try:
        with checkpoint.open_checkpoint(checkpoint_file) as opened:
            return opened.metrics
    except checkpoint.CheckpointError:
        return {}


def metric_history(model_dir: Path) -> list[dict[str, float]]:
    """Return the rows of the log that a folder's checkpoints hold."""
    paths = [*numbered_checkpoints(model_dir).values(), checkpoint_path(model_dir, "best")]
    return [row for row in map(metrics, paths) if "epoch" in row]


def is_whole(checkpoint_file: Path) -> bool:
    """Tell whether all of a checkpoint can be read back and its checksums hold."""
    try:
        with checkpoint.open_checkpoint(checkpoint_file) as opened:
            return opened.is_whole()
    except checkpoint.CheckpointError:
        return False


def quarantine_damaged(model_dir: Path) -> None:
    """Rename a damaged best checkpoint, and damaged latest ones until one is whole."""
    best_path = checkpoint_path(model_dir, "best")
    latest_first = reversed(numbered_checkpoints(model_dir).values())
    damaged = [*takewhile(lambda path: not is_whole(path), latest_first)]
    damaged += [best_path] if best_path.exists() and not is_whole(best_path) else []
    for path in damaged:
        renamed = path.replace(path.with_name(f"damaged-{path.name}"))
        print(f"warning: {path} is damaged and was renamed to {renamed.name}", file=sys.stderr)


def keep_newest(model_dir: Path, count: int) -> None:
    """Remove all numbered checkpoints but the newest `count`, if the newest can be read back."""
    paths = [*numbered_checkpoints(model_dir).values()]
    if is_whole(paths[-1]):
        for path in paths[:-count]:
            path.unlink()


def load_settings(model_dir: Path) -> RunSettings:
    """Read a run's settings; raise InputError where they are damaged or of another version."""
    try:
        body = read_json(model_dir / SETTINGS)
        if body["format"] != FORMAT:
            raise ValueError("another format")
        return RunSettings.from_json(body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the model in {model_dir} cannot be used: its {SETTINGS} is missing, damaged or of "
            f"another version ({str(error)[:200]}); train again with 'python train.py --fresh', "
            "or name another --model-dir"
        ) from error


def save_settings(model_dir: Path, settings: RunSettings) -> None:
    """Write a run's settings, and the versions of the libraries that shape it."""
    versions = {name: version(name) for name in ("keras", "tensorflow", "music21", "miditok")}
    body = {"format": FORMAT, **settings.to_json(), "versions": versions}
    # json escapes what is not ASCII: old archives unpack to file names that are not UTF-8.
    write_atomically(model_dir / SETTINGS, json.dumps(body, indent=2) + "\n")


def begin_or_resume(model_dir: Path, settings: RunSettings) -> tuple[int, RunSettings]:
    """Return the epoch to go on from, 0 where a run begins, and the settings, which are saved.

    Raise InputError where the folder holds a run with other settings or other music.
    """
    if _unfinished_archive(model_dir):
        archive_run(model_dir, FILES)
    quarantine_damaged(model_dir)
    saved = numbered_checkpoints(model_dir)
    if saved or checkpoint_path(model_dir, "best").exists():
        check_same_run(model_dir, load_settings(model_dir), settings)
    if not saved:
        if folder := settings.train.start_from:
            start = initial_checkpoint(folder, settings)
            settings = replace(settings, initial_checkpoint=start)
        save_settings(model_dir, settings)
    return max(saved, default=0), settings


def check_same_run(model_dir: Path, old: RunSettings, new: RunSettings) -> None:
    """Raise InputError naming what differs, unless both runs have the same settings and music."""
    before, now = old.to_json(), new.to_json()
    differences = [
        f"{name} was {before[part][name]} and is now {value}"
        for part in ("model", "data", "train")
        for name, value in now[part].items()
        if value != before[part][name]
    ]
    if differences:
        raise InputError(
            f"the run in {model_dir} was started with other settings: {'; '.join(differences)}. "
            "Give the same to go on, --fresh to move that run aside and start again, or another "
            "--model-dir"
        )
    if old.dataset.sha256 != new.dataset.sha256:
        raise InputError(
            f"the run in {model_dir} was started with other music: "
            f"{music_changes(old.dataset, new.dataset)}. Give the same to go on, --fresh to move "
            f"that run aside and start again, or --model-dir=NEW --start-from={model_dir} to keep "
            "what was learned"
        )


def skipped_files(model_dir: Path) -> tuple[str, ...]:
    """Return the names of files that the run in a folder skipped; () where there is no run."""
    with suppress(InputError):
        if select_checkpoint(model_dir):
            return load_settings(model_dir).dataset.skipped
    return ()


def initial_checkpoint(folder: Path, settings: RunSettings) -> InitialCheckpoint:
    """Return the checkpoint of another model folder that a run with these settings starts from.

    Raise InputError unless that model has this run's encoding and sizes.
    """
    path, other = select_checkpoint(folder), load_settings(folder)
    shapes = [
        f"{run.data.encoding} with {run.model.layers} layers of {run.model.units} units and "
        f"embeddings of {run.model.embedding_size}"
        for run in (other, settings)
    ]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"--start-from={folder} holds a model of {shapes[0]}, and this run is {shapes[1]}: "
            "give this run the same, or start from another model"
        )
    if not is_whole(path):
        raise InputError(f"{path} is damaged: start from another model")
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InitialCheckpoint(checkpoint=str(path), sha256=digest)


def archive_run(folder: Path, patterns: Iterable[str]) -> None:
    """Move the files of these name patterns into a new folder inside `folder`, and say so.

    The new folder has a hidden name until all files are there: the next call, or the next run,
    finishes a move that was interrupted.
    """
    paths = sorted({path for name in patterns for path in folder.glob(name) if path.is_file()})
    hidden = _unfinished_archive(folder)
    if paths or hidden:
        hidden = hidden or Path(tempfile.mkdtemp(prefix=MOVING, dir=folder))
        for path in paths:
            path.replace(hidden / path.name)
        prefix = time.strftime("before-%Y%m%d-%H%M%S-")
        archive = hidden.rename(folder / (prefix + hidden.name.removeprefix(MOVING)))
        print(f"Moved the earlier run's files from {folder} to {archive}")


def _unfinished_archive(folder: Path) -> Path | None:
    folders = (path for path in folder.glob(f"{MOVING}*") if not path.is_symlink())
    return next((path for path in folders if path.is_dir()), None)
