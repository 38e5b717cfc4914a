"""Read a .keras file that may come from an untrusted source, without Keras.

A .keras file is a zip archive of four uncompressed parts, one of which is an HDF5 file of arrays.
HDF5 can name other files, declare data that it does not hold, and decompress data without limit:
all of that is refused, and so is every layer class that this project's networks do not use.
"""

from __future__ import annotations

import io
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from midilstm.fileio import InputError, open_regular, read_json

WEIGHTS, CONFIG, METRICS = "model.weights.h5", "config.json", "metrics.json"
PARTS = {"metadata.json", CONFIG, WEIGHTS, METRICS}
LAYER_CLASSES = {"InputLayer", "Embedding", "Dropout", "LSTM", "Dense"}
MAX_BYTES, MAX_JSON_BYTES = 2**33, 2**22
MAX_DIRECTORY_BYTES = 2**17  # zipfile reads the archive's directory at one go
MAX_LINKS, MAX_DEPTH = 4096, 6  # 64 layers have 1,700 links; layers/lstm/cell/vars/0 is the deepest
MAX_WEIGHT = 1e6  # with no weight above it, no step of the network leaves the range of float32
Shapes = Mapping[str, Sequence[tuple[int, ...]]]  # layer name → the shapes of its arrays


class CheckpointError(ValueError):
    """Report in a few words why a .keras file is refused."""


@dataclass(frozen=True)
class CheckpointContents:
    """A checkpoint's weights, layer name → arrays float32, and the metrics of its epoch."""

    arrays: dict[str, list[np.ndarray]]
    metrics: dict[str, float]


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint whose archive has been checked; each part is checked where it is read."""

    archive: zipfile.ZipFile

    def is_whole(self) -> bool:
        """Tell whether all parts match their checksums and the metrics are among them."""
        return self.archive.testzip() is None and METRICS in self.archive.namelist()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics of the checkpoint's epoch; {} where it was saved without any."""
        if METRICS not in self.archive.namelist():
            return {}
        body = read_json(self._read(METRICS, MAX_JSON_BYTES))
        return {str(name): float(x) for name, x in body.items() if abs(x) <= sys.float_info.max}

    def arrays(self, shapes: Shapes) -> dict[str, list[h5py.Dataset]]:
        """Return each layer's arrays; raise CheckpointError unless they have these shapes.

        All arrays, the optimizer's too, can be read in no more memory than the file has bytes.
        """
        n_weights = sum(math.prod(shape) for layer in shapes.values() for shape in layer)
        # Each float32 weight is saved up to four times: itself, Adam's two moments, an average.
        data = self._read(WEIGHTS, min(2**22 + 32 * n_weights, MAX_BYTES))
        for layer in read_json(self._read(CONFIG, MAX_JSON_BYTES))["config"]["layers"]:
            if layer["class_name"] not in LAYER_CLASSES or layer.get("registered_name"):
                raise CheckpointError(f"it describes a layer {str(layer['class_name'])[:60]!a}")
        file = h5py.File(io.BytesIO(data), "r")
        _check_tree(file, len(data))
        arrays = {
            _layer_name(group): list(layer["cell/vars" if "cell" in layer else "vars"].values())
            for group, layer in file["layers"].items()
        }
        for name in sorted({*shapes, *arrays}):
            actual = [array.shape for array in arrays.get(name, [])]
            if actual != (expected := list(shapes.get(name, []))):
                reason = f"layer {name[:60]!a} has arrays {actual[:3]}, expected {expected}"
                raise CheckpointError(reason)
        return {name: arrays[name] for name in shapes}

    def _read(self, name: str, max_bytes: int) -> bytes:
        if (size := self.archive.getinfo(name).file_size) > max_bytes:
            raise CheckpointError(f"its {name} has {size:,} bytes, more than {max_bytes:,}")
        return self.archive.read(name)


class _BoundedReader(io.BufferedReader):
    """A file from which no single read takes more than `max_read` bytes."""

    max_read = MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell()
        if min(rest, size if size is not None and size >= 0 else rest) > self.max_read:
            raise CheckpointError("its directory is too large")
        return super().read(size)


@contextmanager
def open_checkpoint(path: Path) -> Iterator[OpenCheckpoint]:
    """Open a .keras file; raise CheckpointError for anything but a checkpoint of train.py.

    Whatever zipfile, h5py or Keras raise within the context becomes a CheckpointError.
    """
    try:
        with open_regular(path) as file, _BoundedReader(file.raw) as bounded:
            if os.fstat(bounded.fileno()).st_size > MAX_BYTES:
                raise CheckpointError(f"it has more than {MAX_BYTES / 2**30:g} GiB")
            with zipfile.ZipFile(bounded) as archive:
                bounded.max_read = MAX_BYTES
                _check_parts(archive.infolist())
                yield OpenCheckpoint(archive)
    except (CheckpointError, InputError):
        raise
    except Exception as error:  # the three libraries raise a dozen kinds
        raise CheckpointError(str(error) or type(error).__name__) from error


def read_checkpoint(path: Path, shapes: Shapes) -> CheckpointContents:
    """Read a checkpoint's weights, which must have these shapes, and its metrics.

    Raise CheckpointError where it is damaged, too large, or a weight is not finite or too large.
    """
    with open_checkpoint(path) as checkpoint:
        datasets = checkpoint.arrays(shapes)
        arrays = {name: [dataset[()] for dataset in datasets[name]] for name in shapes}
        if not all(np.abs(array).max() <= MAX_WEIGHT for array in chain(*arrays.values())):
            raise CheckpointError(f"it has weights that are not finite, or above {MAX_WEIGHT:,.0f}")
        return CheckpointContents(arrays, checkpoint.metrics)


def _layer_name(group: str) -> str:
    """Return the name of the layer whose arrays are in an HDF5 group.

    Keras names the groups by class and position. The layer's name is their attribute, which is
    not read because damaged attributes make HDF5 hang.
    """
    if group.startswith("lstm"):
        return f"lstm_{int(group[5:] or 0) + 1}"
    return "next_token" if group == "dense" else group


def _check_parts(parts: Sequence[zipfile.ZipInfo]) -> None:
    """Raise CheckpointError for parts that Keras does not write, repeated or compressed parts."""
    names = [part.filename for part in parts]
    if unknown := set(names) - PARTS:
        raise CheckpointError(f"it holds {min(unknown)[:60]!a}, not a part of a checkpoint")
    if len(set(names)) < len(names):
        raise CheckpointError("it holds a part twice")
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise CheckpointError(f"its {part.filename} is compressed, which Keras does not do")


def _check_tree(file: h5py.File, size: int) -> None:
    """Raise CheckpointError unless every object in the file is a group or an array of its own."""
    n_links, groups = 0, [(file, 0)]
    while groups:
        group, depth = groups.pop()
        n_links += len(group)
        if n_links > MAX_LINKS or depth > MAX_DEPTH:
            raise CheckpointError("it has too many arrays, or levels of them")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise CheckpointError(f"its {name[:60]!a} is a link")
            if isinstance(node := group[name], h5py.Group):
                groups.append((node, depth + 1))
            else:
                _check_array(node, size)


def _check_array(node: Any, size: int) -> None:
    """Raise CheckpointError unless a node is an array that lies uncompressed in `size` bytes."""
    if not isinstance(node, h5py.Dataset):
        raise CheckpointError("it holds a type without an array")
    layout, name = node.id.get_create_plist(), node.name[:60]
    if (
        layout.get_layout() != h5py.h5d.CONTIGUOUS
        or layout.get_external_count()
        or layout.get_nfilters()
    ):
        raise CheckpointError(f"its array {name!a} is virtual, compressed or in another file")
    dtypes = ("<f4", "<i8") if name.startswith("/optimizer/") else ("<f4",)
    if node.dtype.str not in dtypes or len(node.attrs):
        raise CheckpointError(f"its array {name!a} is of {node.dtype}, not of float32")
    n_bytes, offset = node.id.get_storage_size(), node.id.get_offset()
    if n_bytes != node.nbytes or offset is None or offset + n_bytes > size:
        raise CheckpointError(f"its array {name!a} of {node.shape} is not all there")
