"""The trained network run forward in NumPy alone; knows no Keras, no MIDI, no tokens."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from midilstm import checkpoint as checkpoints
from midilstm.fileio import InputError

ROW_BY_ROW = 8  # up to so many pieces, a product a row costs no more than one for all rows
LARGEST = 1e6  # of a weight: with none above it, no step leaves the range of float32
Shapes = dict[str, list[tuple[int, ...]]]
SIZES = ("vocabulary_size", "embedding_size", "units", "layers")


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

    def initial_state(self, rows: int = 1) -> RNNState:
        """Return the state of `rows` pieces that have not begun."""
        return RNNState(self, np.zeros((2, len(self.kernels), rows, len(self.head)), np.float32))


@dataclass
class RNNState:
    """Pieces side by side.

    Up to ROW_BY_ROW, a piece gets the same bits however many others stand beside it. Larger groups
    share one product, and their rows may differ from rows alone in the last bits.
    """

    network: Network
    states: np.ndarray  # float32 [2, layers, B, units]: outputs and cells

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> RNNState:
        """Return a copy of these rows, some of them perhaps several times."""
        return RNNState(self.network, self.states[:, :, np.asarray(rows, np.intp)])

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
    arrays = _arrays(path, settings)
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


def _arrays(path: Path, settings: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
    """Return layer name → its arrays, out of the checkpoint of the network in the settings."""
    expected = _expected(settings)
    numbers = sum(math.prod(shape) for shapes in expected.values() for shape in shapes)
    # Keras calls a layer's group by its class and turn; HDF5 hangs on damaged attributes.
    names = {"embedding": "embedding", "lstm": "lstm_1", "dense": "next_token"}
    names |= {f"lstm_{number}": f"lstm_{number + 1}" for number in range(1, settings["layers"])}
    most = 2**22 + 32 * numbers  # each in float32 four times: Adam's moments, an average
    try:
        with checkpoints.open_weights(path, most) as file:
            found = {}
            for group, layer in file["layers"].items():
                arrays = layer["cell/vars" if "cell" in layer else "vars"].values()
                found[names.get(group, group)] = list(arrays)
            _check(path, {name: [a.shape for a in found[name]] for name in found}, expected)
            read = {name: [array[()] for array in found[name]] for name in expected}
    except checkpoints.CheckpointError as error:
        raise InputError(
            f"{path} is damaged or no checkpoint of train.py ({error}); "
            "name another one with --checkpoint"
        ) from error
    if not all(np.abs(array).max() <= LARGEST for arrays in read.values() for array in arrays):
        raise InputError(
            f"{path} has weights that are no numbers, or above {LARGEST:,.0f}; "
            "name another one with --checkpoint"
        )
    return read


def _expected(settings: Mapping[str, Any]) -> Shapes:
    """Return the shapes of each layer's arrays."""
    if lacking := [name for name in SIZES if name not in settings]:
        raise InputError(f"the settings of the network lack {', '.join(lacking)}")
    size, rows, units, layers = (settings[name] for name in SIZES)
    expected: Shapes = {"embedding": [(size, rows)]}
    for number in range(1, layers + 1):
        expected[f"lstm_{number}"] = [(rows, 4 * units), (units, 4 * units), (4 * units,)]
        rows = units
    return expected | {"next_token": [(units, size), (size,)]}


def _check(path: Path, there: Shapes, expected: Shapes) -> None:
    """Raise InputError unless the shapes in a checkpoint are those of the network."""
    for name in sorted({*expected, *there}):
        shapes = there.get(name, [])
        if shapes != expected.get(name, []):
            raise InputError(
                f"{path} is not of the network in the settings beside it: layer {name} "
                f"has arrays {shapes[:3]}, expected {expected.get(name, [])}"
            )


def _digest(arrays: dict[str, list[np.ndarray]]) -> str:
    """Return the SHA-256 of all weights: equal weights have equal digests, whenever saved."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        for array in arrays[name]:
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
