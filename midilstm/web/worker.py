"""What two processes of the server do: one draws pieces, the other reads MIDI files.

The first may be ended at any moment, and keeps the models in memory until then. The second has
limits of time and memory, as while a folder of MIDI files is read.
"""

from __future__ import annotations

import io
import os
import shlex
import zipfile
from collections.abc import MutableSequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError
from midilstm.schema import to_flags

if TYPE_CHECKING:
    from midilstm.generation.loaded_model import LoadedModel

# Shared with the server: the tokens or bars drawn, and their total, 0 where it is not known.
counters: MutableSequence[int] = [0, 0]


@dataclass(frozen=True)
class DrawRequest:
    """A piece to draw, with a seed; `like` is the JSON of one whose other settings are taken."""

    config: SamplingConfig
    like: Path | None = None
    model_dirs: tuple[Path, ...] = ()  # those that may be read


def start_drawing(shared: MutableSequence[int]) -> None:
    """Let this process count in memory that it shares with the server."""
    global counters
    counters = shared
    _end_with_server()


def start_reading() -> None:
    """Limit this process's memory."""
    from midilstm.data.parsing import limit_memory

    limit_memory()
    _end_with_server()


def _end_with_server() -> None:
    """Let this process end when the server does, even if the server was killed."""

    def wait() -> None:
        if server := parent_process():
            server.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def warm_up(model_dir: Path) -> None:
    """Import what drawing needs, and read a model."""
    with redirect_stderr(io.StringIO()):
        _load(model_dir, None)


def _load(model_dir: Path, which: str | None) -> LoadedModel:
    """Return a model, from memory where its checkpoint has not changed."""
    from midilstm.model_dir import MATCH_MODEL, select_checkpoint

    path, match_model = select_checkpoint(model_dir, which), model_dir / MATCH_MODEL
    times = [x.stat().st_mtime_ns if x.exists() else 0 for x in (path, match_model)]
    return _open(model_dir, which, path, *times)


@lru_cache(maxsize=4)
def _open(model_dir: Path, which: str | None, *_state: object) -> LoadedModel:
    from midilstm.generation.loaded_model import open_model

    return open_model(model_dir, which)


def draw(request: DrawRequest) -> tuple[list[Path], str]:
    """Draw and write what is requested; return the paths, and what sample.py would print.

    Raise InputError as sample.py does.
    """
    from midilstm.generation.generate import generate
    from midilstm.generation.metadata import read_metadata

    counters[:] = [0, 0]

    def count(number: int, total: int | None) -> None:
        counters[:] = [counters[0] + number, total or 0]

    config, recorded = request.config, None
    if config.primer and (config.fill or config.keep):
        config = _with_own_model(config, config.primer, request.model_dirs)
    flags = to_flags(config)
    if request.like:
        recorded = read_metadata(request.like)
        flags = [f"--reproduce={request.like}", f"--seed={config.seed}"]
        config = replace(recorded.config, seed=config.seed, output_dir=config.output_dir)
        if config.model_dir not in request.model_dirs:
            raise InputError(f"{config.model_dir}, which drew this piece, is not among the models")
    with redirect_stdout(io.StringIO()) as text, redirect_stderr(text):
        model = _load(config.model_dir, config.checkpoint)
        command = shlex.join(["python", "sample.py", *flags])
        paths = generate(config, model, command, recorded, progress=count)
    return paths, text.getvalue()


def _with_own_model(
    config: SamplingConfig, piece: Path, model_dirs: tuple[Path, ...]
) -> SamplingConfig:
    """Return the settings with the model that drew a piece, if its JSON names one of these."""
    from midilstm.rendering.piece_json import read_body

    saved = read_body(piece.with_suffix(".json")).get("model_dir")
    own = [folder for folder in model_dirs if str(folder) == saved]
    return replace(config, model_dir=own[0]) if own else config


def check_midi(data: bytes) -> str:
    """Return in words what a MIDI file holds; raise InputError where it cannot be read."""
    from midilstm import midi

    try:
        score = midi.read(data)
    except midi.MidiError as error:
        raise InputError(f"the file cannot be read: {error}") from error
    return f"{len(score.notes):,} notes for {', '.join(score.instruments)}"


def describe_piece(path: Path) -> dict[str, Any]:
    """Return what the page shows of a MIDI file."""
    from midilstm.rendering.page import page_entry
    from midilstm.rendering.timeline import read_timed

    return page_entry(read_timed(path), None)


def export(path: Path, kind: str) -> bytes:
    """Return a piece as `wav`, `musicxml` or `stems`, a ZIP of one file per instrument."""
    from midilstm import midi
    from midilstm.fileio import read_bytes
    from midilstm.rendering.audio import render_audio
    from midilstm.rendering.musicxml import write_score
    from midilstm.rendering.timeline import read_timed

    if kind != "stems":
        return {"wav": render_audio, "musicxml": write_score}[kind](read_timed(path))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, stem in midi.split_stems(read_bytes(path, midi.MAX_BYTES)).items():
            archive.writestr(f"{name.replace('/', ' ')}.mid", stem)
    return buffer.getvalue()
