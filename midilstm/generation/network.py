"""Run the trained network forward in NumPy alone, without Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from midilstm.checkpoint import CheckpointError, read_checkpoint
from midilstm.config import ModelConfig
from midilstm.fileio import InputError

ROW_BY_ROW = 8  # with up to this many rows, one product per row is as fast as one for all


@dataclass(frozen=True)
class Network:
    """A network's weights in the form that a step uses; all arrays float32.

    table [V, 4U] holds the first layer's input term for each id; kernels[0] is [U, 4U], the others
    [2U, 4U], for input and previous output side by side; biases [4U]; head [U, V], head_bias [V].
    Gates are ordered input, forget, output, candidate, and the first three are halved:
    sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so that one tanh serves all four. Halving is exact.
    `digest` is the SHA-256 of the weights, and `metrics` are those of the checkpoint's epoch.
    """

    table: np.ndarray
    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    head: np.ndarray
    head_bias: np.ndarray
    digest: str
    metrics: Mapping[str, float]

    def initial_state(self, rows: int = 1) -> RNNState:
        """Return the state of `rows` pieces that have not begun."""
        return RNNState(self, np.zeros((2, len(self.kernels), rows, len(self.head)), np.float32))


@dataclass
class RNNState:
    """The LSTM state of a batch of pieces, one per row.

    In a batch of up to ROW_BY_ROW rows, a row's values do not depend on the others. Larger batches
    share one matrix product, and their rows may differ from single rows in the last bits.
    """

    network: Network
    states: np.ndarray  # float32 [2, layers, B, units]: outputs and cells

    def select_rows(self, rows: Sequence[int] | np.ndarray) -> RNNState:
        """Return a copy of these rows; a row may be selected several times."""
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
        log_probs = _product(x, network.head)
        log_probs += network.head_bias
        log_probs -= log_probs.max(axis=1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
        return log_probs

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


def layer_shapes(config: ModelConfig, vocabulary_size: int) -> dict[str, list[tuple[int, ...]]]:
    """Return by layer name the shapes of a network's arrays, as Keras saves them."""
    size, units = config.embedding_size, config.units
    shapes: dict[str, list[tuple[int, ...]]] = {"embedding": [(vocabulary_size, size)]}
    for layer in range(1, config.layers + 1):
        shapes[f"lstm_{layer}"] = [(size, 4 * units), (units, 4 * units), (4 * units,)]
        size = units
    return shapes | {"next_token": [(units, vocabulary_size), (vocabulary_size,)]}


def load(path: Path, config: ModelConfig, vocabulary_size: int) -> Network:
    """Read the network of a checkpoint; raise InputError where it is damaged or another one."""
    try:
        checkpoint = read_checkpoint(path, layer_shapes(config, vocabulary_size))
    except CheckpointError as error:
        raise InputError(
            f"{path} is damaged or not of the network in the settings beside it ({error}); "
            "name another one with --checkpoint"
        ) from error
    arrays, units = checkpoint.arrays, config.units
    order = np.r_[: 2 * units, 3 * units : 4 * units, 2 * units : 3 * units]  # Keras: i, f, c, o
    halves = np.repeat(np.array([0.5, 1], np.float32), [3 * units, units])
    cells = [
        [np.ascontiguousarray(array[..., order] * halves) for array in arrays[f"lstm_{layer}"]]
        for layer in range(1, config.layers + 1)
    ]
    kernel, recurrent, bias = cells[0]
    return Network(
        table=arrays["embedding"][0] @ kernel + bias,
        kernels=(recurrent, *(np.concatenate(cell[:2]) for cell in cells[1:])),
        biases=tuple(cell[2] for cell in cells),
        head=arrays["next_token"][0],
        head_bias=arrays["next_token"][1],
        digest=_digest(arrays),
        metrics=checkpoint.metrics,
    )


def _digest(arrays: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Return the SHA-256 of all weights: equal weights have equal digests, whenever saved."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        for array in arrays[name]:
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
