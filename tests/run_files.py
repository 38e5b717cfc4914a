"""Read in tests what a training run wrote."""

import csv
import io
import zipfile
from pathlib import Path

import h5py
import numpy as np


def read_arrays(checkpoint: Path) -> dict[str, np.ndarray]:
    """Return every array of a checkpoint by name, the optimizer's too, without Keras."""
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = node[()]

    with zipfile.ZipFile(checkpoint) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
    return arrays


def read_bits(checkpoint: Path) -> dict[str, bytes]:
    """Return the bytes of every array of a checkpoint."""
    return {name: values.tobytes() for name, values in read_arrays(checkpoint).items()}


def read_log(log_dir: Path) -> list[dict[str, str]]:
    """Return the rows of training.csv without their seconds."""
    with (log_dir / "training.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
