"""The JSON file beside a piece, from which the piece can be drawn again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from midilstm import midi
from midilstm.config import SamplingConfig
from midilstm.fileio import InputError, atomic_path, read_json, warn, write_atomically
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.network import ROW_BY_ROW
from midilstm.generation.sampler import GROUP
from midilstm.midi.score_json import score_from_json
from midilstm.model_dir import OPENINGS
from midilstm.repetition.match_model import MatchWeights, read_weights
from midilstm.schema import from_json, specs, to_json

MAX_BYTES = 2**26  # of a piece's JSON
LIBRARIES = ("numpy", "music21", "miditok", "symusic")  # they determine a piece's bytes
SAVED = tuple(name for name, (spec, *_) in specs(SamplingConfig).items() if spec.saved)
# Settings that a file name states where they are not the default, and the word for each.
NAMED = {
    **{"top_k": "top-k", "top_p": "top-p", "repetition_penalty": "penalty", "memory": "memory"},
    **{"key": "key", "chords": "chords", "instruments": "instruments"},
    **{"fill": "fill", "fill_instruments": "instruments", "keep": "keep"},
    **{"control_strength": "control", "chars": "chars", "bars": "bars", "seconds": "seconds"},
    "ending": "ending",
}


@dataclass(frozen=True)
class RecordedPiece:
    """What a piece's JSON says that drawing it again needs.

    `rng_batch` holds the seeds of the pieces that must be drawn together.
    """

    config: SamplingConfig
    primer: list[str]
    weights_sha256: str
    match_weights: MatchWeights | None
    rng_batch: range
    source: midi.Score | None = None  # that the piece was written into
    openings_sha256: str | None = None


def build_metadata(
    command: str,
    config: SamplingConfig,
    model: LoadedModel,
    match_weights: MatchWeights | None,
    primer: Sequence[str],
) -> dict[str, Any]:
    """Return what the JSON files of all pieces of a call have in common."""
    checkpoint = model.checkpoint_path.stem.removeprefix("epoch-").lstrip("0")
    return {
        "command": command,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        **to_json(replace(config, checkpoint=checkpoint)),
        "weights_sha256": model.network.digest,
        "epoch": model.network.metrics.get("epoch"),
        "val_loss": model.network.metrics.get("val_loss"),
        "openings_sha256": _openings_digest(model),
        "memory_weights": to_json(match_weights) if match_weights else None,
        "encoding": model.vocabulary.encoding_name,
        "versions": {"python": platform.python_version(), **{x: version(x) for x in LIBRARIES}},
        "primer": str(config.primer) if config.primer else None,
        "primer_tokens": primer,
    }


def read_metadata(path: Path) -> RecordedPiece:
    """Read a piece's JSON; raise InputError where it is not one that sample.py wrote."""
    try:
        body = read_json(path, MAX_BYTES)
        if missing := {*SAVED, "primer_tokens", "weights_sha256", "rng_batch"}.difference(body):
            raise ValueError(f"{min(missing)} is missing")
        config = from_json(SamplingConfig, {name: body[name] for name in SAVED})
        primer, weights = body["primer_tokens"], body["memory_weights"]
        if not isinstance(primer, list) or not all(isinstance(token, str) for token in primer):
            raise ValueError("primer_tokens is not a list of tokens")
        match_weights = None if weights is None else read_weights(weights)
        match body["rng_batch"]:
            case {"seed": int(first), "count": int(size)} if first >= 0 and 1 <= size <= GROUP:
                batch = range(first, first + size)
            case _:
                batch = range(0)
        if config.seed not in batch:
            raise ValueError("rng_batch does not hold the seed")
        source = score_from_json(body["source_score"]) if "source_score" in body else None
        digest = str(body["weights_sha256"])
        openings = body.get("openings_sha256")
        return RecordedPiece(config, primer, digest, match_weights, batch, source, openings)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        is_json = not isinstance(error, UnicodeDecodeError | json.JSONDecodeError)
        raise InputError(
            f"{path} does not describe a piece ({error if is_json else 'it is not JSON'}); "
            "--reproduce takes the .json that sample.py writes beside a piece"
        ) from error


def check_reproducible(config: SamplingConfig, model: LoadedModel, recorded: RecordedPiece) -> None:
    """Warn of other weights; raise InputError for other openings of a piece that needs them."""
    begins = config.opening and not (config.primer or recorded.primer or recorded.source)
    needs_openings = begins or config.instruments or config.keep or config.fill_instruments
    if recorded.weights_sha256 != model.network.digest:
        warn(f"{model.checkpoint_path} has other weights than {config.reproduce} was drawn with")
    elif needs_openings and recorded.openings_sha256 != _openings_digest(model):
        raise InputError(
            f"{config.reproduce} was drawn with another {config.model_dir / OPENINGS}, which has "
            "been removed or changed since, so that the piece cannot be drawn again"
        )


def _openings_digest(model: LoadedModel) -> str | None:
    path = model.checkpoint_path.with_name(OPENINGS)
    return hashlib.sha256(path.read_bytes()).hexdigest() if model.openings else None


def select_match_weights(
    strength: float, model: LoadedModel, recorded: RecordedPiece | None
) -> MatchWeights | None:
    """Return the match model's weights to draw with: those of a recorded piece, or the model's.

    Raise InputError where there are none for a strength other than the default.
    """
    weights = model.match_weights
    if recorded and (recorded.match_weights or recorded.config.memory == strength):
        weights = recorded.match_weights
    if not weights and strength not in (0, 1):
        raise InputError(
            f"--memory={strength:g} needs a match model, which train.py fits at its end without "
            "--no-memory; this model has none"
        )
    return weights if strength else None


def rng_batch(seed: int, seeds: range) -> dict[str, int]:
    """Return which of the pieces drawn with it must be drawn to get a piece's bytes again.

    In a small group each piece depends on its own seed alone.
    """
    group = seeds[(seed - seeds.start) // GROUP * GROUP :][:GROUP]
    is_alone = len(group) <= ROW_BY_ROW
    return {"seed": seed if is_alone else group.start, "count": 1 if is_alone else len(group)}


def default_stem(model: LoadedModel, config: SamplingConfig) -> str:
    """Return the name of a piece's files: model, checkpoint, seed, and what is not default."""
    words = [
        model.checkpoint_path.stem,
        f"seed-{config.seed}",
        f"temperature-{config.temperature:g}",
    ]
    folder = config.model_dir.name or config.model_dir.resolve().name
    if folder != SamplingConfig().model_dir.name:
        words.insert(0, _word(folder).lstrip("."))
    values, defaults = to_json(config), {item.name: item.default for item in fields(config)}
    defaults["top_p"] = model.vocabulary.encoding.default_top_p
    for name, word in NAMED.items():
        if (value := values[name]) != defaults[name]:
            words.append(_word(word if value is True else f"{word} {value}".removesuffix(".0")))
    # File systems allow names of 255 bytes; "-2.mid" or another ending follows.
    return "_".join(filter(None, words)).encode()[:200].decode(errors="ignore")


def _word(text: str) -> str:
    """Return a text as part of a file name."""
    plain = "".join(x if x.isalnum() or x in ".#-" else " " for x in text)
    return "-".join(plain.split())[:60]


def write_piece(
    config: SamplingConfig,
    model: LoadedModel,
    metadata: dict[str, Any],
    tokens: Sequence[str],
    rest: float | None = None,
) -> tuple[Path, int]:
    """Write a piece and its JSON under a free name into the output folder, which is locked.

    The .mid gets its name after the JSON, so that it never lacks one. Return its path and how many
    tokens were left out because they are no valid music. Raise NoNoteError without a note.
    """
    program = None if config.instrument is None else midi.program_of(config.instrument)
    content, n_invalid = model.vocabulary.encoding.to_midi(
        tokens, bpm=config.bpm, instrument=program, rest=rest, holds_end=config.ending
    )
    body = {**metadata, "tokens": tokens, "n_invalid_tokens": n_invalid}
    return write_files(config, model, body, content), n_invalid


def write_files(
    config: SamplingConfig, model: LoadedModel, body: dict[str, Any], content: bytes
) -> Path:
    """Write a MIDI file and its JSON as `write_piece` does; return the path."""
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    path = _free_path(config.output_dir, default_stem(model, config), text)
    with atomic_path(path) as partial:
        partial.write_bytes(content)
        write_atomically(path.with_suffix(".json"), text)
    if config.stems:
        for name, stem in midi.split_stems(content).items():
            folder = path.with_suffix(".stems")
            folder.mkdir(exist_ok=True)
            write_atomically(folder / f"{_word(name)}.mid", stem)
    return path


def _free_path(folder: Path, stem: str, text: str) -> Path:
    """Return the first free name: stem.mid or stem-2.mid, stem-3.mid ...

    A name is taken by a .mid, by a folder of stems, and by a JSON, unless that is the same piece's:
    then a process died before it wrote the .mid.
    """
    for attempt in count(1):
        path = folder / f"{stem if attempt == 1 else f'{stem}-{attempt}'}.mid"
        other, stems = path.with_suffix(".json"), path.with_suffix(".stems")
        is_free = not path.exists() and not stems.exists()
        if is_free and (not other.exists() or _describes_same(other, text)):
            break
    return path


def _describes_same(path: Path, text: str) -> bool:
    """Tell whether a JSON file has the content of `text` but for the call that wrote it."""
    with suppress(OSError, ValueError, AttributeError):
        saved, body = read_json(path, MAX_BYTES), json.loads(text)
        return bool(body == {**saved, **{key: body[key] for key in ("command", "created")}})
    return False
