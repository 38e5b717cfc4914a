"""Fuzz what reads strangers' files, coverage-guided, with atheris (pip install atheris).

`python benchmarks/fuzz.py TARGET --minutes 10`: anything but a result, an InputError (of MIDI a
MidiError) or an OSError is a crash.
Each kind of crash is told once, and one input of it kept under --out. Memory and time an input
takes are bounded by libFuzzer, whose counts (executions, coverage) end the output.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

try:
    import atheris
except ImportError:
    sys.exit("benchmarks/fuzz.py needs atheris: pip install atheris")

READERS = ["midilstm", *(["music21.midi"] if "midi" in sys.argv else [])]  # it takes a while
with atheris.instrument_imports(include=READERS):
    from midilstm import checkpoint as checkpoints
    from midilstm import midi
    from midilstm import model_dir as runs
    from midilstm import tokenizers as tokens
    from midilstm.config import DataConfig, ModelConfig, SamplingConfig, TrainConfig
    from midilstm.fileio import InputError
    from midilstm.generation import loaded_model as folder
    from midilstm.generation import metadata as recipe
    from midilstm.generation import network
    from midilstm.repetition.match_model import MatchWeights
    from midilstm.schema import to_json
    from midilstm.tokenizers.vocabulary import Vocabulary

SECONDS, MEGABYTES = 20, 2048  # that one input may take
SIZES = ModelConfig(embedding_size=2, units=2, layers=1)
VOCABULARY_SIZE = 3
PULLS = {field.name: 0.5 for field in fields(MatchWeights)}
SHARED = Path("/dev/shm")  # in memory, where there is one
PLACE = (SHARED if SHARED.is_dir() else Path(tempfile.gettempdir())) / "midilstm-fuzz"
PLACE.mkdir(exist_ok=True)


def written(data: bytes, name: str) -> Path:
    """Write an input where a reader of files finds it."""
    path = PLACE / name
    path.write_bytes(data)
    return path


def read_midi(data: bytes) -> None:
    """Read MIDI, as every encoding."""
    song = midi.read(data)
    for name in tokens.ENCODINGS:
        tokens.get(name).encode(song)


def read_vocabulary(data: bytes) -> None:
    """Read a vocabulary, and ask what sampling asks of it."""
    found = Vocabulary.load(written(edited(VOCABULARIES, data), runs.VOCABULARY))
    found.grammar()
    found.apply_merges(found.tokens[1:])
    found.encoding.timed_notes(found.tokens[1:])


def read_settings(data: bytes) -> None:
    """Read settings, and hold them against those of another run."""
    written(edited([SETTINGS], data), runs.SETTINGS)
    found = runs.load_settings(PLACE)
    runs.check_same_run(PLACE, found, RUN)


def read_metadata(data: bytes) -> None:
    """Read a piece's JSON."""
    recipe.read_metadata(written(edited([RECIPE], data), "piece.json"))


def read_match_model(data: bytes) -> None:
    """Read a model's memory."""
    folder.read_match_model(written(edited([MEMORY], data), runs.MATCH_MODEL))


def read_keras(data: bytes) -> None:
    """Read a checkpoint that holds the input as its HDF5 file, or that the input is."""
    path = written(data if data[:2] == b"PK" else archive(data), "best.keras")
    runs.metrics(path)
    network.load(path, SIZES, VOCABULARY_SIZE)


@atheris.instrument_func
def edited(bodies: list[Any], data: bytes) -> bytes:
    """Return one of the JSON bodies, edited as the input says; JSON itself, or none, is kept."""
    if data[:1] in (b"{", b"["):
        return data
    source = atheris.FuzzedDataProvider(data)
    body = copy.deepcopy(bodies[source.ConsumeIntInRange(0, len(bodies) - 1)])
    for _ in range(source.ConsumeIntInRange(1, 4)):
        part = body
        while part:
            names = list(part if isinstance(part, dict) else range(len(part)))
            name = names[source.ConsumeIntInRange(0, len(names) - 1)]
            if not isinstance(part[name], dict | list) or source.ConsumeBool():
                part[name] = anything(source)
                break
            part = part[name]
    return json.dumps(body).encode()


@atheris.instrument_func
def anything(source: Any, level: int = 0) -> Any:
    """Return a JSON value of any kind."""
    kind = source.ConsumeIntInRange(0, 9 if level < 3 else 7)
    subsample = range(source.ConsumeIntInRange(0, 4)) if kind > 7 else ()
    match kind:
        case 0:
            return source.ConsumeInt(9)
        case 1:
            return 10 ** source.ConsumeIntInRange(0, 400)
        case 2:
            return source.ConsumeFloat()
        case 3:
            return source.ConsumeUnicode(12)
        case 8:
            return [anything(source, level + 1) for _ in subsample]
        case 9:
            return {source.ConsumeUnicode(5): anything(source, level + 1) for _ in subsample}
    return VALUES[source.ConsumeIntInRange(0, len(VALUES) - 1)]


def archive(weights: bytes) -> bytes:
    """Return a checkpoint with these weights."""
    config = {"config": {"layers": [{"class_name": "LSTM"}]}}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("metadata.json", "{}")
        made.writestr(checkpoints.CONFIG, json.dumps(config))
        made.writestr(checkpoints.WEIGHTS, weights)
        made.writestr(checkpoints.METRICS, '{"val_loss": 1}')
    return file.getvalue()


def hdf5() -> bytes:
    """Return the weights of a network of SIZES."""
    layers: dict[str, tuple[str, list[tuple[int, ...]]]] = {
        "embedding": ("vars", [(3, 2)]),
        "lstm_1": ("cell/vars", [(2, 8), (2, 8), (8,)]),
        "next_token": ("vars", [(2, 3), (3,)]),
    }
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for name, (where, shapes) in layers.items():
            file.create_group(f"layers/{name}/vars").attrs["name"] = name
            group = file.require_group(f"layers/{name}/{where}")
            for number, shape in enumerate(shapes):
                group[str(number)] = np.full(shape, 0.5, np.float32)
    return data.getvalue()


RUN = runs.RunSettings(
    model=SIZES,
    data=DataConfig(),
    train=TrainConfig(),
    dataset=runs.DatasetSummary(
        pieces=6, tokens=1366, held_out=("a.mid",), sha256="ab", vocabulary_size=VOCABULARY_SIZE
    ),
)
SETTINGS = {"format": runs.FORMAT, **RUN.to_json()}
RECIPE = to_json(SamplingConfig(chars=9, seed=1)) | {
    **{"rng_batch": {"seed": 1, "count": 1}, "weights_sha256": "ab"},
    **{"primer_tokens": ["C4"], "memory_weights": PULLS},
}
FITTED_ON = {"checkpoint": "best", "weights_sha256": "0", "pieces": 1, "tokens": 2, "seed": 0}
MEMORY = {"weights": PULLS, "fitted_on": FITTED_ON}
SONG = ["Bar_None", "TimeSig_4/4", "Position_0", "Tempo_120.0", "Program_0"]
SONG += ["Pitch_60", "Velocity_63", "Duration_1.0.12"]
VOCABULARIES = [
    {"encoding": "notes", "merges": [], "tokens": ["<end>", "C4", "0.4.7"]},
    {"encoding": "remi", "merges": [SONG[:2]], "tokens": ["<end>", *SONG, " ".join(SONG[:2])]},
]


def songs() -> list[bytes]:
    """Return a small MIDI file of each kind."""
    made = []
    for encoding, piece in (("notes", ["C4", "0.4.7"]), ("remi", SONG)):
        tokens.write(piece, PLACE / "a.mid", encoding)
        made.append((PLACE / "a.mid").read_bytes())
    return made


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "midi": (read_midi, songs),
    "vocabulary": (read_vocabulary, lambda: [json.dumps(v).encode() for v in VOCABULARIES]),
    "settings": (read_settings, lambda: [json.dumps(SETTINGS).encode()]),
    "recipe": (read_metadata, lambda: [json.dumps(RECIPE).encode()]),
    "memory": (read_match_model, lambda: [json.dumps(MEMORY).encode()]),
    "keras": (read_keras, lambda: [hdf5(), archive(hdf5())]),
}
VALUES = (None, True, False, -1, 0, "", "notes", "remi", *SONG, "<end>", "0.4.7", "C4", "\x1b[2J")
WORDS = ("[", "]", "{", "}", ",", ":", "null", "true", "-1", "1e999", "NaN", "0.5", "[[[[", '""')


def main() -> None:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("logs/fuzz"), help="crashes and seeds")
    arguments = parser.parse_args()
    read, seeds = TARGETS[arguments.target]
    out = arguments.out / arguments.target
    (out / "seeds").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*seeds(), bytes(64), bytes(range(255, 0, -1))]):
        (out / "seeds" / f"{number}").write_bytes(seed)
    (out / "words").write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
    known: set[str] = set()

    def one(data: bytes) -> None:
        try:
            read(data)
        except (InputError, midi.MidiError, OSError) as error:
            if len(str(error)) < 5000:
                return
            kind = f"{type(error).__name__} of {len(str(error))} characters"
        except (SystemExit, Exception) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        else:
            return
        if kind not in known:
            known.add(kind)
            (out / f"found-{len(known)}").write_bytes(data)
            print(f"CRASH {len(known)}: {kind}: {data[:2000]!r}", flush=True)

    flags = [f"-max_total_time={arguments.minutes * 60:.0f}", f"-timeout={SECONDS}"]
    flags += [f"-rss_limit_mb={MEGABYTES}", f"-max_len={2**15}", f"-artifact_prefix={out}/"]
    flags += ["-print_final_stats=1", f"-dict={out / 'words'}", str(out / "seeds")]
    atheris.Setup([sys.argv[0], *flags], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
