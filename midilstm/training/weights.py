"""Save, load, average and reset a network's weights, states and random numbers."""

import json
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from midilstm import model_dir
from midilstm.checkpoint import METRICS, CheckpointError, open_checkpoint
from midilstm.fileio import InputError, atomic_path
from midilstm.tokenizers.vocabulary import Vocabulary


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
    for index, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            words = np.random.SeedSequence([seed % 2**63, epoch, index]).generate_state(2)
            layer.seed_generator.state.assign(words.astype(layer.seed_generator.state.dtype))


@contextmanager
def ema_weights(network: keras.Model) -> Iterator[None]:
    """Exchange the weights and their averages, where the optimizer keeps any, for a while."""
    _swap_averages(network)
    yield
    _swap_averages(network)


def _swap_averages(network: keras.Model) -> None:
    if network.compiled and network.optimizer.use_ema:
        averages = [v for v in network.optimizer.variables if v.path.endswith("_average")]
        for weight, average in zip(network.trainable_variables, averages, strict=True):
            value = weight.numpy().copy()
            weight.assign(average)
            average.assign(value)


def save(network: keras.Model, path: Path, metrics: Mapping[str, float] | None = None) -> None:
    """Write weights, optimizer state and the epoch's metrics as a .keras file, atomically.

    Where the optimizer keeps averages these are the weights in the file, and the weights that
    training continues from stand in the place of the averages; `load` swaps them back.
    """
    finite = {name: value for name, value in (metrics or {}).items() if np.isfinite(value)}
    with atomic_path(path) as partial:
        with ema_weights(network):
            network.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(METRICS, json.dumps(finite))  # which Keras leaves alone
        if not model_dir.is_whole(partial):  # before the checkpoint that it replaces goes
            raise OSError("it cannot be read back")


def load(network: keras.Model, path: Path) -> None:
    """Read weights, and optimizer state where the network is compiled, from a .keras file.

    Only arrays are read, never the network's description: a file cannot bring code along.
    """
    values = (*network.variables, *(network.optimizer.variables if network.compiled else ()))
    shapes = {
        layer.name: [tuple(variable.shape) for variable in layer.trainable_variables]
        for layer in network.layers
        if layer.trainable_variables
    }
    try:
        # Keras drops an optimizer's state with a mere warning.
        with open_checkpoint(path) as checkpoint, warnings.catch_warnings():
            checkpoint.arrays(shapes)
            warnings.filterwarnings("error", "Skipping variable loading")
            network.load_weights(path)
    except CheckpointError as error:
        paragraphs = str(error).strip().split("\n\n")[:2]  # Keras has a preamble, then the reason
        reason = paragraphs[-1].splitlines()[0].rstrip(". ")
        raise InputError(
            f"{path} is damaged or from another run than the settings beside it ({reason}); "
            "move it away to go on from the checkpoint before it"
        ) from error
    if not all(np.isfinite(variable.numpy()).all() for variable in values):
        raise InputError(f"{path} has weights that are not finite: move it away")
    _swap_averages(network)


def copy_shared_tokens(
    network: keras.Model, vocabulary: Vocabulary, other: keras.Model, other_vocabulary: Vocabulary
) -> int:
    """Copy the weights of another network; of single tokens where both vocabularies have them.

    Return how many tokens both have.
    """
    shared = [token for token in vocabulary.tokens if token in other_vocabulary.token_ids]
    ids, other_ids = vocabulary.ids_of(shared), other_vocabulary.ids_of(shared)
    for layer in network.layers:
        others = other.get_layer(layer.name).trainable_variables
        for variable, other_variable in zip(layer.trainable_variables, others, strict=True):
            values, other_values = variable.numpy().copy(), other_variable.numpy()
            if layer.name == "embedding":
                values[ids] = other_values[other_ids]
            elif layer.name == "next_token":
                values[..., ids] = other_values[..., other_ids]
            else:
                values = other_values
            variable.assign(values)
    return len(shared)


def snapshot(network: keras.Model) -> list[np.ndarray]:
    """Copy weights and optimizer state, to be given back by `restore`."""
    return [v.numpy().copy() for v in (*network.weights, *network.optimizer.variables)]


def restore(network: keras.Model, values: Iterable[np.ndarray]) -> None:
    """Put a snapshot's values back."""
    variables = (*network.weights, *network.optimizer.variables)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
