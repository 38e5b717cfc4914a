"""What a model folder holds: numbered checkpoints and settings. Knows no Keras and no MIDI."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from midilstm.files import InputError

SETTINGS = "settings.json"
SCORES = "scores.json"  # inside a checkpoint's archive: what its epoch's row in the log says
NUMBERED = re.compile(r"epoch-(\d+)\.keras")


def path_of(model_dir: Path, epoch: int | str) -> Path:
    """Return the file of an epoch's checkpoint, or of the one named 'best'."""
    return model_dir / (f"epoch-{epoch:04d}.keras" if isinstance(epoch, int) else f"{epoch}.keras")


def numbered(model_dir: Path) -> dict[int, Path]:
    """Return the numbered checkpoints, epoch → file, in order."""
    found = ((NUMBERED.fullmatch(path.name), path) for path in model_dir.glob("epoch-*.keras"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def choose(model_dir: Path, which: str | None = None) -> Path:
    """Return the checkpoint 'latest', 'best' or of an epoch; raise InputError for any other.

    None stands for the best where there is one, and for the latest otherwise.
    """
    saved, best = numbered(model_dir), path_of(model_dir, "best")
    if not (saved or best.exists()) or not (model_dir / SETTINGS).exists():
        raise InputError(
            f"no trained model in {model_dir}: run 'python train.py' first "
            "('python train.py --demo' needs no files of your own), or name another --model-dir"
        )
    if which == "latest" and saved:
        return saved[max(saved)]
    if best.exists() and which in (None, "best"):
        return best
    if which is None:
        return saved[max(saved)]
    path = path_of(model_dir, int(which) if which.isdecimal() else which)
    if not which.isdecimal() or not path.exists():
        words = ["latest"] * bool(saved) + ["best"] * best.exists()
        epochs = f" or one of {', '.join(map(str, saved))}" if saved else ""
        missing = f"{path} does not exist" if which.isdecimal() else f"there is no {which!r}"
        raise InputError(f"{missing}; --checkpoint can be {' or '.join(words)}{epochs}")
    return path


def scores(row: Any) -> dict[str, str]:
    """Return what model.save takes along of an epoch's log.Row, for held_out_loss to find."""
    finite = {name: value for name, value in vars(row).items() if value == value}  # JSON has no nan
    return {SCORES: json.dumps(finite)}


def held_out_loss(checkpoint: Path) -> float | None:
    """Return the held-out loss, nats a token, that train.py saved in a checkpoint; None for none.

    It travels inside the .keras archive, so the two cannot be parted or mixed up.
    """
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            loss = json.loads(archive.read(SCORES))["val_loss"]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None  # saved without any, or damaged, which reading its weights will report
    return float(loss) if isinstance(loss, int | float) else None


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
