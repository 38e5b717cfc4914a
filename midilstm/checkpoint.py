"""A .keras file read as a stranger's: what it may hold, and how much of it. Knows no Keras.

It is a zip archive of four parts, none of them compressed; one is an HDF5 file of arrays. HDF5 can
name other files, declare what it does not hold and unpack what it does: all that is refused.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from midilstm.fileio import InputError, open_regular, read_json

WEIGHTS, CONFIG, METRICS = "model.weights.h5", "config.json", "metrics.json"
PARTS = {"metadata.json", CONFIG, WEIGHTS, METRICS}
LAYERS = {"InputLayer", "Embedding", "Dropout", "LSTM", "Dense"}  # the classes of a network of ours
MOST = 2**33  # bytes of a checkpoint
MOST_JSON = 2**22  # bytes of a JSON part
DIRECTORY = 2**17  # bytes of the archive's directory, which zipfile reads at one go
LINKS, LEVELS = 4096, 6  # in the HDF5 file: 64 layers have 1,700, and layers/lstm/cell/vars/0


class CheckpointError(ValueError):
    """Say what is wrong with a .keras file, in a few words."""


class _Archive(io.BufferedReader):
    """A file of which no single read takes more than `most` bytes."""

    most = DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell()
        if min(rest, size if size is not None and size >= 0 else rest) > self.most:
            raise CheckpointError("its directory is too large")
        return super().read(size)


@contextmanager
def open_checkpoint(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .keras file; raise CheckpointError for what no checkpoint of train.py is.

    So do errors within the context, whatever the libraries call what they cannot read.
    """
    try:
        with open_regular(path) as file, _Archive(file.raw) as guarded:
            if os.fstat(guarded.fileno()).st_size > MOST:
                raise CheckpointError(f"it has more than {MOST / 2**30:g} GiB")
            with zipfile.ZipFile(guarded) as archive:
                guarded.most = MOST
                _check_parts(archive.infolist())
                yield archive
    except (CheckpointError, InputError):
        raise
    except Exception as error:  # zipfile and h5py raise a dozen kinds
        raise CheckpointError(str(error) or type(error).__name__) from error


def _check_parts(parts: list[zipfile.ZipInfo]) -> None:
    names = [part.filename for part in parts]
    if strange := set(names) - PARTS:
        raise CheckpointError(f"it holds {min(strange)[:60]!a}, which is no part of a checkpoint")
    if len(set(names)) < len(names):
        raise CheckpointError("it holds a part twice")
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise CheckpointError(f"its {part.filename} is compressed, which Keras does not do")


def read(archive: zipfile.ZipFile, name: str, most: int = MOST_JSON) -> bytes:
    """Return a part of the archive, its checksum checked; raise CheckpointError above `most`."""
    if (size := archive.getinfo(name).file_size) > most:
        raise CheckpointError(f"its {name} has {size:,} bytes, more than {most:,}")
    return archive.read(name)


@contextmanager
def open_weights(path: Path, most: int) -> Iterator[h5py.File]:
    """Open the HDF5 file of a checkpoint, of at most `most` bytes, every link and array checked.

    What is read of it then takes no more memory than the file has bytes.
    """
    with open_checkpoint(path) as archive:
        data = read(archive, WEIGHTS, min(most, MOST))
        with h5py.File(io.BytesIO(data), "r") as file:
            _check_links(file, len(data))
            yield file
        _check_layers(read_json(read(archive, CONFIG)))


def _check_layers(config: Any) -> None:
    """Raise CheckpointError unless Keras would build the network of our layers alone."""
    for layer in config["config"]["layers"]:
        if layer["class_name"] not in LAYERS or layer.get("registered_name"):
            raise CheckpointError(f"it describes a layer {str(layer['class_name'])[:60]!a}")


def _check_links(file: h5py.File, size: int) -> None:
    """Raise CheckpointError where anything is elsewhere, or other than an array of numbers."""
    seen, groups = 0, [(file, 0)]
    while groups:
        group, level = groups.pop()
        seen += len(group)
        if seen > LINKS or level > LEVELS:
            raise CheckpointError("it has too many arrays, or levels of them")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise CheckpointError(f"its {name[:60]!a} is a link")
            if isinstance(found := group[name], h5py.Group):
                groups.append((found, level + 1))
            else:
                _check_array(found, size)


def _check_array(found: Any, size: int) -> None:
    """Raise CheckpointError unless all of an array lies in the file's `size` bytes, as it is."""
    if not isinstance(found, h5py.Dataset):
        raise CheckpointError("it holds a type without an array")
    how, name = found.id.get_create_plist(), found.name[:60]
    if how.get_layout() != h5py.h5d.CONTIGUOUS or how.get_external_count() or how.get_nfilters():
        raise CheckpointError(f"its array {name!a} is virtual, compressed or in another file")
    kinds = ("<f4", "<i8") if name.startswith("/optimizer/") else ("<f4",)
    if found.dtype.str not in kinds or len(found.attrs):
        raise CheckpointError(f"its array {name!a} is of {found.dtype}, not of float32")
    bytes_there, offset = found.id.get_storage_size(), found.id.get_offset()
    if bytes_there != found.nbytes or offset is None or offset + bytes_there > size:
        raise CheckpointError(f"its array {name!a} of {found.shape} is not all there")
