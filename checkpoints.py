"""What a model folder holds: numbered checkpoints and settings. Knows no Keras and no MIDI."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from collection import InputError

SETTINGS = "settings.json"
NUMBERED = re.compile(r"epoch-(\d+)\.keras")


def path_of(model_dir: Path, epoch: int | str) -> Path:
    """Return the file of an epoch's checkpoint, or of the one named 'best'."""
    return model_dir / (f"epoch-{epoch:04d}.keras" if isinstance(epoch, int) else f"{epoch}.keras")


def numbered(model_dir: Path) -> dict[int, Path]:
    """Return the numbered checkpoints, epoch → file, in order."""
    found = ((NUMBERED.fullmatch(path.name), path) for path in model_dir.glob("epoch-*.keras"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def choose(model_dir: Path, which: str) -> Path:
    """Return the checkpoint 'latest', 'best' or of an epoch; raise InputError for any other."""
    saved = numbered(model_dir)
    if not saved or not (model_dir / SETTINGS).exists():
        raise InputError(
            f"no trained model in {model_dir}: run 'python train.py' first "
            "('python train.py --demo' needs no files of your own), or name another --model-dir"
        )
    if which == "latest":
        return saved[max(saved)]
    path = path_of(model_dir, int(which) if which.isdigit() else which)
    if not path.exists():
        epochs = ", ".join(map(str, saved))
        raise InputError(f"{path} does not exist; --checkpoint can be latest or one of {epochs}")
    return path


def load_settings(model_dir: Path) -> dict[str, Any]:
    """Read the settings of the run in a folder; raise InputError where they are damaged."""
    path = model_dir / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings["network"], dict):
            raise TypeError("no network in it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); put it back, or begin again with --fresh"
        ) from error
    return settings


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what differs between two runs' settings, each as 'name old, now new'."""
    named = []
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            named += differences(before, now, f"{prefix}{key}.")
        elif before != now:
            named.append(f"{prefix}{key} was {before} and is now {now}")
    return named


def move_aside(folder: Path, names: Iterable[str]) -> Path | None:
    """Move files of these name patterns into a new folder inside `folder`; return that folder."""
    files = sorted({path for name in names for path in folder.glob(name) if path.is_file()})
    if not files:
        return None
    stamp = time.strftime("before-%Y%m%d-%H%M%S")
    aside, number = folder / stamp, 1
    while aside.exists():
        number += 1
        aside = folder / f"{stamp}-{number}"
    aside.mkdir(parents=True)
    for path in files:
        path.replace(aside / path.name)
    return aside
