"""The readers of untrusted files that fuzz.py tests, their valid seeds, and edits of JSON."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from midilstm import checkpoint, copies, midi, model_dir, tokenizers
from midilstm.config import DataConfig, ModelConfig, SamplingConfig, TrainConfig
from midilstm.evaluation import ranking
from midilstm.fileio import InputError
from midilstm.generation import loaded_model, metadata, network
from midilstm.generation.loaded_model import FittedOn
from midilstm.generation.opening import read_openings
from midilstm.midi.score_json import score_to_json
from midilstm.repetition.match_model import MatchWeights
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.schema import to_json
from midilstm.tokenizers.vocabulary import Vocabulary

SIZES = ModelConfig(embedding_size=2, units=2, layers=1)
VOCABULARY_SIZE = 3
MAX_MESSAGE = 5000  # characters of an error message
WEIGHTS = {field.name: 0.5 for field in fields(MatchWeights)}
RUN = RunSettings(
    model=SIZES,
    data=DataConfig(),
    train=TrainConfig(),
    dataset=DatasetSummary(
        pieces=6, tokens=1366, held_out=("a.mid",), sha256="ab", vocabulary_size=VOCABULARY_SIZE
    ),
)
SETTINGS = {"format": model_dir.FORMAT, **RUN.to_json()}
METADATA = to_json(SamplingConfig(chars=9, seed=1)) | {
    **{"rng_batch": {"seed": 1, "count": 1}, "weights_sha256": "ab"},
    **{"primer_tokens": ["C4"], "memory_weights": WEIGHTS},
}
SCORE = midi.Score(480, (midi.Note(0, 480, 60, 80, 0),), {0: 120.0}, {0: (3, 4)})
FILLED = METADATA | {"source_score": score_to_json(SCORE)}
FITTED_ON = FittedOn(checkpoint="best", weights_sha256="0", pieces=1, tokens=2, seed=0)
PARTS = {"33": [40, 44, False, False, 0.9, []], "-1": [36, 36, True, False, 1, [36]]}
OPENINGS = [["waltz.mid", [1, 99, 5], PARTS]]
MATCH_MODEL = {"weights": WEIGHTS, "fitted_on": to_json(FITTED_ON)}
COPY = copies.Copy("0" * 64, "a.mid", -2, 9, (1.0, 2.5), (copies.NoteSpan(0.0, 1.5, 60, 80, -1),))
COPIES = json.loads(json.dumps({"copies": {"b.mid": vars(COPY)}}))
METRICS = dict.fromkeys(ranking.METRICS, 1.0)
REFERENCE = {"ranges": {"ab": {"64": {x: to_json(ranking.Range(0, 1, 2)) for x in METRICS}}}}
LAYERS = {"embedding": "embedding", "lstm": "lstm_1", "dense": "next_token"}  # by HDF5 group
NOTES_TOKENS = ["C4", "0.4.7"]
REMI_TOKENS = ["Bar_None", "TimeSig_4/4", "Position_0", "Tempo_120.0", "Program_0"]
REMI_TOKENS += ["Position_12", "Pitch_60", "Velocity_63", "Duration_1.0.12"]
MERGE = REMI_TOKENS[:2]
VOCABULARIES = [
    {"encoding": "notes", "merges": [], "tokens": ["<end>", *NOTES_TOKENS]},
    {
        **{"encoding": "remi", "order": 2, "merges": [MERGE]},
        "tokens": ["<end>", *REMI_TOKENS, " ".join(MERGE)],
    },
    {"encoding": "remi", "order": 3, "merges": [], "tokens": ["<end>", *REMI_TOKENS]},
]
VALUES = (None, True, False, -1, 0, "", "notes", "remi", *REMI_TOKENS, "<end>", *NOTES_TOKENS)


@dataclass(frozen=True)
class Target:
    """A reader, its valid inputs, and the JSON bodies that other inputs edit, if it reads JSON."""

    read: Callable[[Path], object]
    file_name: str
    seeds: Callable[[Path], list[bytes]]
    bodies: Sequence[Any] = ()

    def run(self, data: bytes, folder: Path) -> None:
        """Read an input in a scratch folder; raise what the reader raises."""
        if self.bodies and data[:1] not in (b"{", b"["):
            data = edit_json(self.bodies, data)
        path = folder / self.file_name
        path.write_bytes(data)
        self.read(path)


def crash_kind(target: Target, data: bytes, folder: Path) -> str | None:
    """Return where and how a reader crashes on an input; None if it reads or refuses the input."""
    try:
        target.run(data, folder)
    except (InputError, midi.MidiError, OSError) as error:
        if len(str(error)) > MAX_MESSAGE:
            return f"{type(error).__name__} of {len(str(error))} characters"
    except (SystemExit, Exception) as error:
        traceback = error.__traceback__
        while traceback and traceback.tb_next:
            traceback = traceback.tb_next
        assert traceback
        file = Path(traceback.tb_frame.f_code.co_filename).name
        return f"{type(error).__name__} in {file}:{traceback.tb_lineno}"
    return None


def read_midi(path: Path) -> None:
    """Read a MIDI file and encode it in every encoding."""
    score = midi.read(path)
    for name in tokenizers.ENCODINGS:
        tokenizers.get(name).encode(score)


def read_vocabulary(path: Path) -> None:
    """Read a vocabulary and compute what sampling needs of it."""
    vocabulary = Vocabulary.load(path)
    vocabulary.grammar()
    vocabulary.apply_merges(vocabulary.tokens[1:])
    vocabulary.encoding.timed_notes(vocabulary.tokens[1:])


def read_settings(path: Path) -> None:
    """Read settings and compare them with those of another run."""
    model_dir.check_same_run(path.parent, model_dir.load_settings(path.parent), RUN)


def read_copies(path: Path) -> None:
    """Read a report of copies."""
    copies.CopyReport.load(path.parent)


def read_reference(path: Path) -> None:
    """Read reference ranges and score a piece by them."""
    for ranges in filter(None, ranking.read_reference(path).values()):
        body = ranking.score(METRICS, 64, ranges).to_json()
        if not math.isfinite(body["score"]):
            raise ArithmeticError(body)


def read_checkpoint(path: Path) -> None:
    """Read a checkpoint; an input that is not a zip archive becomes its HDF5 file."""
    data = path.read_bytes()
    if data[:2] != b"PK":
        path.write_bytes(checkpoint_archive(data))
    model_dir.metrics(path)
    network.load(path, SIZES, VOCABULARY_SIZE)


class Choices:
    """Choices that are made by the bytes of an input."""

    def __init__(self, data: bytes) -> None:
        self._data: Iterator[int] = iter(data)

    def take(self, count: int) -> bytes:
        """Return the next bytes, padded with zeros at the end of the input."""
        return bytes(islice(self._data, count)).ljust(count, b"\0")

    def integer(self, high: int) -> int:
        """Return an integer from 0 to `high`."""
        return int.from_bytes(self.take(2)) % (high + 1)

    def text(self) -> str:
        """Return a text of at most twelve characters."""
        return self.take(self.integer(12)).decode("latin-1")


def edit_json(bodies: Sequence[Any], data: bytes) -> bytes:
    """Return one of the JSON bodies with up to four values replaced, as the input says."""
    choices = Choices(data)
    body = copy.deepcopy(bodies[choices.integer(len(bodies) - 1)])
    for _ in range(1 + choices.integer(3)):
        part = body
        while part:
            keys = list(part if isinstance(part, dict) else range(len(part)))
            key = keys[choices.integer(len(keys) - 1)]
            if not isinstance(part[key], dict | list) or choices.integer(1):
                part[key] = any_value(choices)
                break
            part = part[key]
    return json.dumps(body).encode()


def any_value(choices: Choices, level: int = 0) -> Any:
    """Return a JSON value of any kind."""
    kind = choices.integer(9 if level < 3 else 7)
    size = choices.integer(4) if kind > 7 else 0
    match kind:
        case 0:
            return int.from_bytes(choices.take(8), signed=True)
        case 1:
            return 10 ** choices.integer(400)
        case 2:
            return struct.unpack("d", choices.take(8))[0]
        case 3:
            return choices.text()
        case 8:
            return [any_value(choices, level + 1) for _ in range(size)]
        case 9:
            return {choices.text(): any_value(choices, level + 1) for _ in range(size)}
    return VALUES[choices.integer(len(VALUES) - 1)]


def checkpoint_archive(weights: bytes) -> bytes:
    """Return a .keras file whose HDF5 file is `weights`."""
    config = {"config": {"layers": [{"class_name": "LSTM"}]}}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr(checkpoint.CONFIG, json.dumps(config))
        archive.writestr(checkpoint.WEIGHTS, weights)
        archive.writestr(checkpoint.METRICS, '{"val_loss": 1}')
    return file.getvalue()


def weights_file() -> bytes:
    """Return the HDF5 file of a network of SIZES."""
    shapes = network.layer_shapes(SIZES, VOCABULARY_SIZE)
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for group, layer in LAYERS.items():
            file.create_group(f"layers/{group}/vars").attrs["name"] = layer
            path = f"layers/{group}/cell/vars" if group == "lstm" else f"layers/{group}/vars"
            arrays = file.require_group(path)
            for index, shape in enumerate(shapes[layer]):
                arrays[str(index)] = np.full(shape, 0.5, np.float32)
    return data.getvalue()


def midi_seeds(folder: Path) -> list[bytes]:
    """Return a small MIDI file of each kind."""
    path = folder / "seed.mid"
    seeds = []
    for encoding, tokens in (("notes", NOTES_TOKENS), ("remi", REMI_TOKENS)):
        tokenizers.write(tokens, path, encoding)
        seeds.append(path.read_bytes())
    return seeds


def json_target(read: Callable[[Path], object], file_name: str, *bodies: Any) -> Target:
    """Return the target of a reader of JSON, whose seeds are the bodies."""
    return Target(read, file_name, lambda _: [json.dumps(x).encode() for x in bodies], bodies)


TARGETS = {
    "midi": Target(read_midi, "input.mid", midi_seeds),
    "vocabulary": json_target(read_vocabulary, model_dir.VOCABULARY, *VOCABULARIES),
    "settings": json_target(read_settings, model_dir.SETTINGS, SETTINGS),
    "metadata": json_target(metadata.read_metadata, "piece.json", METADATA, FILLED),
    "match-model": json_target(loaded_model.read_match_model, model_dir.MATCH_MODEL, MATCH_MODEL),
    "copies": json_target(read_copies, copies.FILE, COPIES),
    "openings": json_target(
        partial(read_openings, vocabulary_size=100), model_dir.OPENINGS, OPENINGS
    ),
    "reference": json_target(read_reference, model_dir.REFERENCE, REFERENCE),
    "keras": Target(
        read_checkpoint,
        "best.keras",
        lambda _: [weights_file(), checkpoint_archive(weights_file())],
    ),
}
