"""The trained network run forward in NumPy alone; knows no Keras, no MIDI, no tokens."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from midilstm.files import InputError

ROW_BY_ROW = 8  # up to so many pieces, a product a row costs no more than one for all rows


@dataclass(frozen=True)
class Network:
    """Weights in the form that a step uses; all arrays float32.

    table [V, 4U] is what the first layer adds for each id; kernels[0] is [U, 4U], the others
    [2U, 4U] for input and last output side by side; biases [4U]; head [U, V], head_bias [V].
    Gates stand in the order input, forget, output, candidate, and the first three are halved:
    sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so one tanh serves all four, and a half is exact.
    """

    table: np.ndarray
    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    head: np.ndarray
    head_bias: np.ndarray
    digest: str

    def lanes(self, count: int = 1) -> Lanes:
        """Return `count` pieces side by side, none begun."""
        return Lanes(self, np.zeros((2, len(self.kernels), count, len(self.head)), np.float32))


@dataclass
class Lanes:
    """Pieces side by side.

    Up to ROW_BY_ROW, a piece gets the same bits however many others stand beside it. Larger groups
    share one product, and their rows may differ from rows alone in the last bits.
    """

    network: Network
    states: np.ndarray  # float32 [2, layers, B, units]: outputs and cells

    def take(self, rows: Sequence[int] | np.ndarray) -> Lanes:
        """Return a copy of these rows, some of them perhaps several times."""
        return Lanes(self.network, self.states[:, :, np.asarray(rows, np.intp)])

    def step(self, ids: np.ndarray) -> np.ndarray:
        """Feed ids int [B]; return the log probabilities of the next ids, float32 [B, V]."""
        network, outputs = self.network, self.states[0]
        z = _product(outputs[0], network.kernels[0])
        z += network.table[ids]
        x = self._cell(z, 0)
        for layer in range(1, len(network.kernels)):
            both = np.concatenate((x, outputs[layer]), axis=1)
            z = _product(both, network.kernels[layer])
            z += network.biases[layer]
            x = self._cell(z, layer)
        scores = _product(x, network.head)
        scores += network.head_bias
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def _cell(self, z: np.ndarray, layer: int) -> np.ndarray:
        """Turn gates z [B, 4U] into a layer's new output [B, U]; z is overwritten."""
        (output, cell), units = self.states[:, layer], z.shape[1] // 4
        np.tanh(z, out=z)
        gates, candidate = z[:, : 3 * units], z[:, 3 * units :]
        gates *= 0.5
        gates += 0.5
        candidate *= gates[:, :units]
        cell *= gates[:, units : 2 * units]
        cell += candidate
        np.tanh(cell, out=output)
        output *= gates[:, 2 * units :]
        return output


def _product(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (x[:, None] @ matrix)[:, 0] if len(x) <= ROW_BY_ROW else x @ matrix


def load(path: Path, settings: Mapping[str, Any]) -> Network:
    """Read a checkpoint of the network that the settings describe; raise InputError for another."""
    arrays = _arrays(path)
    _check(path, arrays, settings)
    units, layers = settings["units"], settings["layers"]
    order = np.r_[: 2 * units, 3 * units : 4 * units, 2 * units : 3 * units]  # Keras: i, f, c, o
    halves = np.repeat(np.array([0.5, 1], np.float32), [3 * units, units])

    def gates(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array[..., order] * halves)

    cells = [[gates(a) for a in arrays[f"lstm_{number}"]] for number in range(1, layers + 1)]
    kernel, recurrent, bias = cells[0]
    return Network(
        table=arrays["embedding"][0] @ kernel + bias,
        kernels=(recurrent, *(np.concatenate(cell[:2]) for cell in cells[1:])),
        biases=tuple(cell[2] for cell in cells),
        head=arrays["next_token"][0],
        head_bias=arrays["next_token"][1],
        digest=_digest(arrays),
    )


def _arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Return layer name → its arrays, out of the HDF5 file that a .keras archive holds."""
    found: dict[str, list[np.ndarray]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(weights, "r") as file:
            for layer in file["layers"].values():
                values = layer["cell/vars" if "cell" in layer else "vars"].values()
                if arrays := [array[()] for array in values]:
                    found[str(layer["vars"].attrs["name"])] = arrays
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged or no checkpoint of train.py ({error}); "
            "name another one with --checkpoint"
        ) from error
    return found


def _check(path: Path, arrays: dict[str, list[np.ndarray]], settings: Mapping[str, Any]) -> None:
    """Raise InputError unless the arrays are those of the network in the settings."""
    size, units = settings["vocabulary_size"], settings["units"]
    rows = settings["embedding_size"]
    expected: dict[str, list[tuple[int, ...]]] = {"embedding": [(size, rows)]}
    for number in range(1, settings["layers"] + 1):
        expected[f"lstm_{number}"] = [(rows, 4 * units), (units, 4 * units), (4 * units,)]
        rows = units
    expected["next_token"] = [(units, size), (size,)]
    for name in sorted({*expected, *arrays}):
        shapes = [array.shape for array in arrays.get(name, [])]
        if shapes != expected.get(name, []):
            raise InputError(
                f"{path} is not of the network in the settings beside it: layer {name} "
                f"has arrays {shapes}, expected {expected.get(name, [])}"
            )


def _digest(arrays: dict[str, list[np.ndarray]]) -> str:
    """Return the SHA-256 of all weights: equal weights have equal digests, whenever saved."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        for array in arrays[name]:
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
