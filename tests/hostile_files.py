"""A tiny model folder, and hostile checkpoints made from the parts of its own."""

import io
import json
import operator
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.model_dir import FORMAT
from midilstm.run_settings import DatasetSummary, RunSettings
from midilstm.tokenizers.vocabulary import END, Vocabulary

Parts = dict[str, bytes]
WEIGHTS, CONFIG = "model.weights.h5", "config.json"
ARRAY = "layers/embedding/vars/0"


SETTINGS: dict[str, Any] = {
    "format": FORMAT,
    **RunSettings(
        model=ModelConfig(embedding_size=4, units=6, layers=1),
        data=DataConfig(),
        train=TrainConfig(),
        dataset=DatasetSummary(
            pieces=2, tokens=9, held_out=("a.mid",), sha256="ab", vocabulary_size=5
        ),
    ).to_json(),
}
LAYERS: dict[str, tuple[str, str, list[tuple[int, ...]]]] = {
    "embedding": ("embedding", "vars", [(5, 4)]),
    "lstm": ("lstm_1", "cell/vars", [(4, 24), (6, 24), (24,)]),
    "dense": ("next_token", "vars", [(6, 5), (5,)]),
}
SECONDS, MEGABYTES = 5.0, 200  # of this process; far more than it takes


def good_parts() -> Parts:
    """Return the parts of a checkpoint, written without Keras."""
    path = Path("arrays.h5")
    with h5py.File(path, "w") as file:
        for layer, (name, group, shapes) in LAYERS.items():
            file.create_group(f"layers/{layer}/vars").attrs["name"] = name
            for index, shape in enumerate(shapes):
                file[f"layers/{layer}/{group}/{index}"] = np.full(shape, 0.5, np.float32)
    config = {"config": {"layers": [{"class_name": "LSTM"}]}}
    arrays = path.read_bytes()
    path.unlink()
    return {
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": arrays,
        "metadata.json": b"{}",
        "metrics.json": b'{"val_loss": 1.5}',
    }


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block takes more than SECONDS of processor time or MEGABYTES of memory."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def peak() -> int:
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)

    with suppress(OSError):
        clear.write_text("5")  # the peak is what it takes now
    before, began = peak(), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert peak() - before < MEGABYTES * 1024


def refusal(capsys: pytest.CaptureFixture[str], script: Any, *words: str) -> str:
    """Run a script that must end with status 2; return its one line of error."""
    with bounded():
        assert script.main(list(words)) == 2
    lines = capsys.readouterr().err.splitlines()
    (error,) = (line for line in lines if "warning: " not in line)
    assert error.isprintable()
    assert len(error) < 1500
    return error


def write_model(folder: Path) -> None:
    """Write a model folder that can be sampled from."""
    folder.mkdir()
    Vocabulary((END, "C4", "E4", "0.4.7", "2.5.9")).save(folder / "vocabulary.json")
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    pack(folder / "best.keras", good_parts())


def parts_of(path: Path) -> Parts:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: Parts, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@contextmanager
def weights(path: Path, parts: Parts) -> Iterator[h5py.File]:
    """Yield the HDF5 file of the arrays to change, and pack the checkpoint."""
    data = io.BytesIO(parts[WEIGHTS])
    with h5py.File(data, "r+") as file:
        yield file
    pack(path, {**parts, WEIGHTS: data.getvalue()})


def with_change(change: Callable[[h5py.File], object]) -> Callable[[Path, Parts], None]:
    """Return a function that changes the HDF5 file of the arrays."""

    def write(path: Path, parts: Parts) -> None:
        with weights(path, parts) as file:
            change(file)

    return write


def with_array(values: Any = None, **options: Any) -> Callable[[Path, Parts], None]:
    """Return a function that replaces a valid array."""

    def write(path: Path, parts: Parts) -> None:
        with weights(path, parts) as file:
            good = file[ARRAY][()]
            del file[ARRAY]
            if values is not None:
                options["data"] = values(good)
            file.create_dataset(ARRAY, **options)

    return write


def with_part(name: str, data: bytes) -> Callable[[Path, Parts], None]:
    return lambda path, parts: pack(path, {**parts, name: data})


def with_layer(layer: dict[str, Any]) -> Callable[[Path, Parts], None]:
    """Return a function that adds a layer to the description."""

    def write(path: Path, parts: Parts) -> None:
        config = json.loads(parts[CONFIG])
        config["config"]["layers"].append(layer)
        pack(path, {**parts, CONFIG: json.dumps(config).encode()})

    return write


def with_link(link: Any) -> Callable[[Path, Parts], None]:
    """Return a function that replaces an array by a link."""

    def write(path: Path, parts: Parts) -> None:
        with h5py.File(path.with_name("other.h5"), "w") as other:
            other["secret"] = h5py.File(io.BytesIO(parts[WEIGHTS]), "r")[ARRAY][()]
        with weights(path, parts) as file:
            file["kept"] = file[ARRAY]
            del file[ARRAY]
            file[ARRAY] = link(path.with_name("other.h5"))

    return write


def in_another_file(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        good = file[ARRAY][()]
        good.tofile(path.with_name("secret"))
        del file[ARRAY]
        external = [(str(path.with_name("secret")), 0, good.nbytes)]
        file.create_dataset(ARRAY, good.shape, np.float32, external=external)


def virtual(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        good = file[ARRAY][()]
        with h5py.File(path.with_name("other.h5"), "w") as other:
            other["secret"] = good
        layout = h5py.VirtualLayout(good.shape, np.float32)
        layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "secret", good.shape)
        del file[ARRAY]
        file.create_virtual_dataset(ARRAY, layout)


def twice(path: Path, parts: Parts) -> None:
    pack(path, parts)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x" * len(WEIGHTS), parts[WEIGHTS])
    path.write_bytes(path.read_bytes().replace(b"x" * len(WEIGHTS), WEIGHTS.encode()))


def lying(path: Path, parts: Parts) -> None:
    """Declare in the directory that the arrays have 3 GB."""
    pack(path, parts)
    size, large = len(parts[WEIGHTS]).to_bytes(4, "little"), (3 * 10**9).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size + size, large + large))


def sparse(path: Path, parts: Parts) -> None:
    pack(path, parts)
    with path.open("r+b") as file:
        file.truncate(2**40)


def changed(good: np.ndarray, value: float) -> np.ndarray:
    array = good.copy()
    array.flat[-1] = value
    return array


LAMBDA = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}
# name → the function that writes it, and a part of the error message
ARCHIVES: dict[str, tuple[Callable[[Path, Parts], object], str]] = {
    "a bomb": (
        lambda path, parts: pack(path, {**parts, WEIGHTS: bytes(2**26)}, zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    "a lying size": (lying, "damaged"),
    "many parts": (
        lambda path, parts: pack(path, {**parts, **{str(n): b"" for n in range(5000)}}),
        "directory is too large",
    ),
    "a path upwards": (with_part("../../x", b""), "'../../x', not a part of"),
    "an absolute path": (with_part("/tmp/x", b""), "not a part of a checkpoint"),
    "a name with escapes": (with_part("\x1b[2J", b""), "\\x1b[2J"),
    "a part twice": (twice, "a part twice"),
    "a pipe": (lambda path, _: os.mkfifo(path), "not a regular file"),
    "a folder": (lambda path, _: path.mkdir(), "irectory"),
    "a device": (lambda path, _: path.symlink_to("/dev/zero"), "not a regular file"),
    "a file of a terabyte": (sparse, "more than 8 GiB"),
    "nothing": (lambda path, _: path.write_bytes(b""), "damaged"),
}
CONTENTS: dict[str, tuple[Callable[[Path, Parts], object], str]] = {
    "a link out": (with_link(lambda other: h5py.ExternalLink(other, "secret")), "is a link"),
    "a soft link": (with_link(lambda _: h5py.SoftLink("/kept")), "is a link"),
    "arrays elsewhere": (in_another_file, "in another file"),
    "virtual arrays": (virtual, "virtual"),
    "a huge array": (with_array(shape=(40_000, 40_000), dtype="f4"), "not all there"),
    "a huger array": (with_array(shape=(2**60, 2), dtype="f4"), "damaged"),
    "a chunk bomb": (
        with_array(shape=(2**24,), dtype="f4", compression="gzip", fillvalue=1),
        "compressed",
    ),
    "whole numbers": (with_array(lambda x: x.astype("i4")), "of int32, not of float32"),
    "double precision": (with_array(lambda x: x.astype("f8")), "of float64"),
    "texts": (with_array(lambda x: np.full(x.shape, b"1")), "not of float32"),
    "records": (with_array(lambda x: np.zeros(x.shape, "f4,f4")), "not of float32"),
    "not a number": (with_array(lambda x: changed(x, np.nan)), "weights that are not finite"),
    "infinity": (with_array(lambda x: changed(x, -np.inf)), "weights that are not finite"),
    "another shape": (with_array(lambda x: x[1:]), ""),
    "an array less": (with_change(lambda file: operator.delitem(file, ARRAY)), ""),
    "groups in a circle": (
        with_change(lambda file: operator.setitem(file, "layers/again", file["layers"])),
        "too many arrays, or levels",
    ),
    "a crowd of groups": (
        with_change(lambda file: [file.create_group(f"layers/{n}") for n in range(5000)]),
        "too many arrays, or levels",
    ),
    "a type": (
        with_change(lambda file: operator.setitem(file, "layers/type", np.dtype("f4"))),
        "type without an array",
    ),
    "arrays cut short": (
        lambda path, parts: pack(path, {**parts, WEIGHTS: parts[WEIGHTS][:-900]}),
        "damaged",
    ),
    "no arrays": (with_part(WEIGHTS, b""), "damaged"),
    "more arrays than the network has": (
        lambda path, parts: pack(path, {**parts, WEIGHTS: parts[WEIGHTS] + bytes(2**23)}),
        "bytes, more than",
    ),
    "a Lambda": (with_layer(LAMBDA), "describes a layer 'Lambda'"),
    "an unknown class": (with_layer({"class_name": "Evil\x1b"}), "a layer 'Evil\\x1b'"),
    "another's LSTM": (
        with_layer({"class_name": "LSTM", "registered_name": "evil>LSTM"}),
        "describes a layer",
    ),
    "a deep description": (with_part(CONFIG, b'{"config":' * 10_000), "nested too deep"),
    "a long description": (with_part(CONFIG, b" " * 2**23), "bytes, more than"),
    "a large number": (with_part(CONFIG, b"[" + b"9" * 9999 + b"]"), "damaged"),
    "no description": (with_part(CONFIG, b"null"), "damaged"),
}
CHECKPOINTS = ARCHIVES | CONTENTS
# Keras would train on these; sampling refuses them.
NUMBERS: dict[str, tuple[Callable[[Path, Parts], object], str]] = {
    "weights above all": (with_array(lambda x: changed(x, 1e30)), "or above 1,000,000"),
}
