"""What a model folder holds: checkpoints, settings, and which run they are. Knows no Keras."""

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any

from midilstm import checkpoint as checkpoints
from midilstm.fileio import InputError, open_regular, read_json, write_atomically

SETTINGS, VOCABULARY, MEMORY = "settings.json", "vocabulary.json", "match_model.json"
PEOPLE = "reference.json"
FILES = ("epoch-*.keras", "best.keras", "damaged-*.keras", VOCABULARY, SETTINGS, MEMORY, PEOPLE)
SCORES = checkpoints.SCORES  # inside a checkpoint, never to be parted: its epoch's row in the log
PARTS = ("network", "training", "corpus")  # of the settings
# The flags of train.py that settings are made of.
NETWORK = ("embedding_size", "units", "layers", "dropout", "input_dropout")
TRAINING = (
    *("encoding", "bpe", "pedal", "min_notes", "validation", "seed", "group_versions"),
    *("batch_size", "seq_length", "learning_rate", "ema", "transpose", "shuffle", "jit"),
    "start_from",
)
# What settings can hold: kinds of number, the least and the most; then what is on or off.
WHOLE, ANY = (int,), (int, float)
NUMBERS = {
    "vocabulary_size": (WHOLE, 1, 2**18),
    **dict.fromkeys(("embedding_size", "units"), (WHOLE, 1, 2**16)),
    "layers": (WHOLE, 1, 64),
    **dict.fromkeys(("bpe", "min_notes", "seed", "pieces", "tokens"), (WHOLE, 0, 2**63)),
    **dict.fromkeys(("batch_size", "seq_length"), (WHOLE, 1, 2**31)),
    **dict.fromkeys(("dropout", "input_dropout", "validation", "ema"), (ANY, 0, 1)),
    "learning_rate": (ANY, 0, 10),
}
SWITCHES = ("pedal", "group_versions", "transpose", "shuffle", "jit")
FORMAT = 2  # of the folder; raised where tokens or settings come to mean something else


def path_of(model_dir: Path, epoch: int | str) -> Path:
    """Return the file of an epoch's checkpoint, or of the one named 'best'."""
    return model_dir / (f"epoch-{epoch:04d}.keras" if isinstance(epoch, int) else f"{epoch}.keras")


def numbered(model_dir: Path) -> dict[int, Path]:
    """Return the numbered checkpoints, epoch → file, in order."""
    names = {path: re.fullmatch(r"epoch-(\d+)\.keras", path.name) for path in model_dir.glob("*")}
    return dict(sorted((int(match[1]), path) for path, match in names.items() if match))


def choose(model_dir: Path, which: str | None = None) -> Path:
    """Return the checkpoint 'latest', 'best' or of an epoch; raise InputError for any other.

    None stands for the best where there is one, and for the latest otherwise.
    """
    saved, best = numbered(model_dir), path_of(model_dir, "best")
    found = {"best": best} if best.exists() else {}
    if saved:
        found["latest"] = saved[max(saved)]
    if not found or not (model_dir / SETTINGS).exists():
        first = "run 'python train.py' first, with --demo if you have no MIDI files"
        raise InputError(f"no trained model in {model_dir}: {first}, or name another --model-dir")
    found |= {str(epoch): path for epoch, path in saved.items()}
    which = (which or next(iter(found))).lstrip("0")
    if which not in found:
        raise InputError(f"there is no {which!r}; --checkpoint can be {', '.join(found)}")
    return found[which]


def scores(checkpoint: Path) -> dict[str, float]:
    """Return the epoch's row in the log that training saved in a checkpoint, as far as there is."""
    try:
        with checkpoints.open_checkpoint(checkpoint) as archive:
            found = read_json(checkpoints.read(archive, SCORES))
            return {str(k): float(v) for k, v in found.items() if abs(v) <= sys.float_info.max}
    except checkpoints.CheckpointError:
        return {}  # saved without any, or damaged, which reading its weights will report


def metric_history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of the log that a folder's checkpoints hold."""
    rows = map(scores, [*numbered(folder).values(), path_of(folder, "best")])
    return [row for row in rows if "epoch" in row]


def is_whole(checkpoint: Path) -> bool:
    """Read a checkpoint back and hold it against its checksums."""
    try:
        with checkpoints.open_checkpoint(checkpoint) as archive:
            return archive.testzip() is None and SCORES in archive.namelist()
    except checkpoints.CheckpointError:
        return False


def quarantine_damaged(model_dir: Path) -> None:
    """Rename a damaged best checkpoint, and damaged latest ones until one is whole, and say so."""
    best, latest = path_of(model_dir, "best"), reversed(numbered(model_dir).values())
    damaged = [*takewhile(lambda path: not is_whole(path), latest)]
    for path in damaged + ([best] if best.exists() and not is_whole(best) else []):
        aside = path.replace(path.with_name(f"damaged-{path.name}"))
        print(f"{path} is damaged: it is called {aside.name} now", file=sys.stderr)


def keep_newest(model_dir: Path, count: int) -> None:
    """Remove all numbered checkpoints but the newest `count`, if the newest can be read back."""
    paths = [*numbered(model_dir).values()]
    if is_whole(paths[-1]):
        for path in paths[:-count]:
            path.unlink()


def load_settings(model_dir: Path) -> dict[str, Any]:
    """Read a run's settings; raise InputError where they are damaged or of another format."""
    try:
        settings: dict[str, Any] = read_json(model_dir / SETTINGS)
        if settings["format"] == FORMAT and not (wrong := next(_mistakes(settings), "")):
            return settings
        reason = wrong if settings["format"] == FORMAT else "another format"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error)
    raise InputError(
        f"the model in {model_dir} cannot be used: its {SETTINGS} is missing, damaged or of "
        f"another version ({reason}); train again with 'python train.py --fresh', or name another "
        "--model-dir"
    )


def _mistakes(settings: Mapping[str, Any]) -> Iterator[str]:
    """Say what our settings would not hold; they need not have all that they could."""
    for part in PARTS:
        if len(settings[part]) > 100:
            yield f"{part} has {len(settings[part]):,} entries"
        for name, value in settings[part].items():
            if not _may_be(name, value):
                yield f"{part}.{name[:40]} is {value!r}"[:100]


def _may_be(name: str, value: Any) -> bool:
    """Tell whether a setting can have a value."""
    if name in NUMBERS:
        kinds, least, most = NUMBERS[name]
        return type(value) in kinds and least <= value <= most
    if name in SWITCHES:
        return isinstance(value, bool)
    if name == "held_out":
        return isinstance(value, list) and all(isinstance(file, str) for file in value)
    return value is None or (isinstance(value, str | int | float) and len(str(value)) <= 4096)


def build_settings(flags: Mapping[str, Any], size: int, corpus: dict[str, Any]) -> dict[str, Any]:
    """Return what shapes a run, given train.py's flags: equal settings give equal weights."""
    return {
        "network": {"vocabulary_size": size, **{name: flags[name] for name in NETWORK}},
        "training": {name: flags[name] for name in TRAINING},
        "corpus": corpus,
    }


def begin_or_resume(model_dir: Path, settings: dict[str, Any]) -> int:
    """Return the epoch that a run goes on from; 0, and its settings saved, where it begins."""
    quarantine_damaged(model_dir)
    done = epoch_to_resume(model_dir, settings)
    if not done:
        if folder := settings["training"]["start_from"]:
            settings["start"] = base(Path(folder), settings)
        save_settings(model_dir, settings)
    return done


def epoch_to_resume(model_dir: Path, settings: dict[str, Any]) -> int:
    """Return the epoch of the checkpoint to go on from, 0 for none.

    Raise InputError where the folder holds a run of other settings or music.
    """
    saved = numbered(model_dir)
    if saved or path_of(model_dir, "best").exists():  # else there is nothing yet to protect
        check_same_run(model_dir, load_settings(model_dir), settings)
    return max(saved, default=0)


def save_settings(model_dir: Path, settings: dict[str, Any]) -> None:
    """Write a run's settings, and the versions of the libraries that shape it."""
    versions = {name: version(name) for name in ("keras", "tensorflow", "music21", "miditok")}
    # Escaped, because old archives unpack to file names that are no Unicode.
    text = json.dumps({"format": FORMAT, **settings, "versions": versions}, indent=2)
    write_atomically(model_dir / SETTINGS, text + "\n")


def base(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what says which weights of another model folder a run of these settings starts from.

    Raise InputError unless that model has this run's encoding and sizes.
    """
    checkpoint, other = choose(folder), load_settings(folder)
    sizes = ("embedding_size", "units", "layers")
    (there, *theirs), (here, *ours) = (
        (part["training"].get("encoding"), *map(part["network"].get, sizes))
        for part in (other, settings)
    )
    if (there, theirs) != (here, ours):
        raise InputError(
            f"--start-from={folder} has {there} with {', '.join(sizes)} {theirs}, and this run "
            f"{here} with {ours}: give this run the same, or start from another model"
        )
    if not is_whole(checkpoint):
        raise InputError(f"{checkpoint} is damaged: start from another model")
    with open_regular(checkpoint) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"checkpoint": str(checkpoint), "sha256": digest}


def check_same_run(model_dir: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise InputError naming what differs, unless both runs have the same settings and music."""
    different = [
        f"{part}.{name} was {old[part].get(name)} and is now {value}"
        for part in PARTS[:2]
        for name, value in new[part].items()
        if (value or 0) != (old[part].get(name) or 0)
        and name != "vocabulary_size"  # this follows from the rest
    ]
    then, now = old["corpus"], new["corpus"]
    if then != now and not different:  # other settings give other tokens of the same music
        was = f"{then.get('pieces', 0):,} pieces with {then.get('tokens', 0):,} tokens"
        here = f"{now['pieces']:,} with {now['tokens']:,}, or others of that size"
        different = [f"the music was {was} and is now {here}"]
    if different:
        raise InputError(
            f"the run in {model_dir} was begun differently: {'; '.join(different)}. Give the "
            "same to go on, --fresh to move that run aside and begin again, or another --model-dir"
        )


def archive_run(folder: Path, names: Iterable[str]) -> None:
    """Move files of these name patterns into a new folder inside `folder`, and say so."""
    files = sorted({path for name in names for path in folder.glob(name) if path.is_file()})
    if files:
        now = time.strftime("before-%Y%m%d-%H%M%S")  # which a clock set back says again
        names = chain([now], (f"{now}-{number}" for number in count(2)))
        asides = (folder / name for name in names)
        aside = next(x for x in asides if not any((x / path.name).exists() for path in files))
        aside.mkdir(exist_ok=True)  # one folder may hold checkpoints and log
        for path in files:
            path.replace(aside / path.name)
        print(f"Moved the earlier run's files from {folder} to {aside}")
