"""Checkpoints as an enemy would write them, each made from the parts of a good one."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Parts = dict[str, bytes]
WEIGHTS, CONFIG = "model.weights.h5", "config.json"
ARRAY = "layers/embedding/vars/0"


def parts_of(path: Path) -> Parts:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: Parts, how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@contextmanager
def weights(path: Path, parts: Parts) -> Iterator[h5py.File]:
    """Let the arrays be changed, and pack."""
    data = io.BytesIO(parts[WEIGHTS])
    with h5py.File(data, "r+") as file:
        yield file
    pack(path, {**parts, WEIGHTS: data.getvalue()})


def with_array(values: Any = None, **how: Any) -> Callable[[Path, Parts], None]:
    """Return what puts another array in the place of a good one."""

    def write(path: Path, parts: Parts) -> None:
        with weights(path, parts) as file:
            good = file[ARRAY][()]
            del file[ARRAY]
            if values is not None:
                how["data"] = values(good)
            file.create_dataset(ARRAY, **how)

    return write


def with_part(name: str, data: bytes) -> Callable[[Path, Parts], None]:
    return lambda path, parts: pack(path, {**parts, name: data})


def with_layer(layer: dict[str, Any]) -> Callable[[Path, Parts], None]:
    """Return what describes a layer more than there is."""

    def write(path: Path, parts: Parts) -> None:
        config = json.loads(parts[CONFIG])
        config["config"]["layers"].append(layer)
        pack(path, {**parts, CONFIG: json.dumps(config).encode()})

    return write


def with_link(link: Any) -> Callable[[Path, Parts], None]:
    """Return what has a link in the place of an array."""

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
        there = [(str(path.with_name("secret")), 0, good.nbytes)]
        file.create_dataset(ARRAY, good.shape, np.float32, external=there)


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
    """Say in the directory that the arrays take 3 GB."""
    pack(path, parts)
    size, large = len(parts[WEIGHTS]).to_bytes(4, "little"), (3 * 10**9).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size + size, large + large))


def loop(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        file["layers/embedding/again"] = file["layers"]


def crowded(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        for number in range(5000):
            file.create_group(f"layers/{number}")


def lacking(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        del file[ARRAY]


def typed(path: Path, parts: Parts) -> None:
    with weights(path, parts) as file:
        file["layers/embedding/type"] = np.dtype("f4")


def sparse(path: Path, parts: Parts) -> None:
    pack(path, parts)
    with path.open("r+b") as file:
        file.truncate(2**40)


def changed(good: np.ndarray, value: float) -> np.ndarray:
    found = good.copy()
    found.flat[-1] = value
    return found


LAMBDA = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}
# a name → what writes it, and what the refusal says
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
    "an array less": (lacking, ""),
    "groups in a circle": (loop, "too many arrays, or levels"),
    "a crowd of groups": (crowded, "too many arrays, or levels"),
    "a type": (typed, "type without an array"),
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
    "a deep description": (with_part(CONFIG, b'{"config":' * 10_000), "nested more than"),
    "a long description": (with_part(CONFIG, b" " * 2**23), "bytes, more than"),
    "a large number": (with_part(CONFIG, b"[" + b"9" * 9999 + b"]"), "damaged"),
    "no description": (with_part(CONFIG, b"null"), "damaged"),
}
CHECKPOINTS = ARCHIVES | CONTENTS
# What Keras would train on, and sampling cannot draw from.
NUMBERS: dict[str, tuple[Callable[[Path, Parts], object], str]] = {
    "weights above all": (with_array(lambda x: changed(x, 1e30)), "or above 1,000,000"),
}
