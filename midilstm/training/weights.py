"""Save, load, average and reset a network's weights, states and random numbers."""

import json
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from midilstm import model_dir
from midilstm.checkpoint import METRICS, CheckpointError, open_checkpoint
from midilstm.fileio import InputError, atomic_path
from midilstm.model_dir import RunSettings
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
    for number, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            words = np.random.SeedSequence([seed % 2**63, epoch, number]).generate_state(2)
            layer.seed_generator.state.assign(words.astype(layer.seed_generator.state.dtype))


@contextmanager
def ema_weights(network: keras.Model) -> Iterator[None]:
    """Put the averages in the place of the weights, and these in theirs, for a while."""
    _swap_averages(network)
    yield
    _swap_averages(network)


def _swap_averages(network: keras.Model) -> None:
    if network.compiled and network.optimizer.use_ema:
        kept = [v for v in network.optimizer.variables if v.path.endswith("_average")]
        for weight, average in zip(network.trainable_variables, kept, strict=True):
            value = weight.numpy().copy()
            weight.assign(average)
            average.assign(value)


def save(network: keras.Model, path: Path, scores: Mapping[str, float] | None = None) -> None:
    """Write weights, optimizer state and the epoch's scores as a .keras file, atomically.

    Where the optimizer keeps averages these are the file's weights, which whoever opens it reads;
    the weights that training goes on from stand in their place, and `load` swaps them back.
    """
    finite = {name: value for name, value in (scores or {}).items() if np.isfinite(value)}
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
        said = str(error).strip().split("\n\n")  # Keras has a preamble, then the reason
        reason = said[min(1, len(said) - 1)].splitlines()[0].rstrip(". ")
        raise InputError(
            f"{path} is damaged or from another run than the settings beside it ({reason}); "
            "move it away to go on from the checkpoint before it"
        ) from error
    if not all(np.isfinite(variable.numpy()).all() for variable in values):
        raise InputError(f"{path} has weights that are not finite: move it away")
    _swap_averages(network)


def transfer_weights(
    network: keras.Model,
    vocabulary: Vocabulary,
    settings: RunSettings,
    build_model: Callable[..., keras.Model],
    **shape: int,
) -> str:
    """Take the weights of the model that a run starts from; return a sentence that says so."""
    assert settings.train.start_from
    assert settings.initial_checkpoint
    other = Vocabulary.load(settings.train.start_from / model_dir.VOCABULARY)
    network_of_other = build_model(settings.model, len(other), **shape)
    checkpoint = Path(settings.initial_checkpoint.checkpoint)
    load(network_of_other, checkpoint)
    known = copy_shared_tokens(network, vocabulary, network_of_other, other)
    return f"Took the weights of {checkpoint}: {known:,} of {len(vocabulary):,} tokens known"


def copy_shared_tokens(
    network: keras.Model, ours: Vocabulary, other: keras.Model, theirs: Vocabulary
) -> int:
    """Take another network's weights, token by token where these stand for tokens.

    Return how many tokens of our vocabulary theirs has; the weights of the others stay.
    """
    both = [token for token in ours.tokens if token in theirs.token_ids]
    rows, their_rows = ours.ids_of(both), theirs.ids_of(both)
    for layer in network.layers:
        values = other.get_layer(layer.name).trainable_variables
        for variable, value in zip(layer.trainable_variables, values, strict=True):
            mine, known = variable.numpy().copy(), value.numpy()
            if layer.name == "embedding":
                mine[rows] = known[their_rows]
            elif layer.name == "next_token":
                mine[..., rows] = known[..., their_rows]
            else:
                mine[:] = known
            variable.assign(mine)
    return len(both)


def snapshot(network: keras.Model) -> list[np.ndarray]:
    """Copy weights and optimizer state, to be given back by `restore`."""
    return [v.numpy().copy() for v in (*network.weights, *network.optimizer.variables)]


def restore(network: keras.Model, values: Iterable[np.ndarray]) -> None:
    """Put a snapshot's values back."""
    variables = (*network.weights, *network.optimizer.variables)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
