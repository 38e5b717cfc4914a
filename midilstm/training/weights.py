"""A network's weights, states and random numbers, in memory and as .keras files. Knows no music."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from midilstm import runs
from midilstm.files import InputError, atomic_path


def set_seed(seed: int) -> None:
    """Fix the initial weights of the next network that is built."""
    keras.utils.set_random_seed(seed % 2**32)


def reset_states(network: keras.Model) -> None:
    """Set every LSTM's state to zeros: a new piece, or a new epoch, begins."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.LSTM):
            layer.reset_state()


def reseed(network: keras.Model, seed: int, epoch: int) -> None:
    """Set the dropout generators from seed and epoch, so that a resumed epoch draws the same masks.

    Keras does not write them to .keras files.
    """
    for number, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            words = np.random.SeedSequence([seed % 2**63, epoch, number]).generate_state(2)
            layer.seed_generator.state.assign(words.astype(layer.seed_generator.state.dtype))


def save(network: keras.Model, path: Path, scores: Mapping[str, float] | None = None) -> None:
    """Write weights, optimizer state and the epoch's scores as a .keras file, atomically."""
    finite = {name: value for name, value in (scores or {}).items() if np.isfinite(value)}
    with atomic_path(path) as partial:
        network.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(runs.SCORES, json.dumps(finite))  # which Keras leaves alone


def load(network: keras.Model, path: Path) -> None:
    """Read weights, and optimizer state where the network is compiled, from a .keras file.

    Only arrays are read, never the network's description: a file cannot bring code along.
    """
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path} is damaged or from another run than the settings beside it ({reason}); "
            "move it away to go on from the checkpoint before it"
        ) from error


def snapshot(network: keras.Model) -> list[np.ndarray]:
    """Copy weights and optimizer state, to be given back by `restore`."""
    return [v.numpy().copy() for v in (*network.weights, *network.optimizer.variables)]


def restore(network: keras.Model, values: Iterable[np.ndarray]) -> None:
    """Put a snapshot's values back."""
    variables = (*network.weights, *network.optimizer.variables)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
