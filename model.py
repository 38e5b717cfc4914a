"""The network and its weights on disk; knows no MIDI and not what a token means.

With lstm.py it is the only importer of Keras.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what TensorFlow's libraries write to standard error as they load.

    No log level silences it: it comes before logging is set up. An error lets it through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(screen, chatter.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)


with _quiet():
    import keras
    import tensorflow as tf

    from midilstm.training import lstm


class CheckpointError(OSError):
    """Tell a person in one sentence why saved weights cannot be used."""


def build_model(
    vocabulary_size: int,
    *,
    batch_size: int,
    sequence_length: int,
    embedding_size: int = 512,
    units: int = 256,
    layers: int = 3,
    dropout: float = 0.2,
    input_dropout: float = 0.0,
) -> keras.Model:
    """Build the network ids int32 [B, T] → probabilities float32 [B, T, V].

    Embedding, `layers` stacked stateful LSTMs each followed by dropout, dense softmax. The same
    weights serve every batch size and length: training [16, 64], sampling [count, 1].
    """
    # Keras's own 0.05 is so small that each LSTM halves what is left of it: the last layer then
    # says nearly the same of every input, and learns note counts alone for tens of epochs.
    spread = keras.initializers.RandomNormal(stddev=1.0)
    inputs = keras.Input(batch_shape=(batch_size, sequence_length), dtype="int32", name="ids")
    x = keras.layers.Embedding(
        vocabulary_size, embedding_size, embeddings_initializer=spread, name="embedding"
    )(inputs)
    x = keras.layers.Dropout(input_dropout, name="dropout_0")(x)
    for number in range(1, layers + 1):
        x = lstm.LSTM(units, return_sequences=True, stateful=True, name=f"lstm_{number}")(x)
        x = keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)
    outputs = keras.layers.Dense(vocabulary_size, activation="softmax", name="next_token")(x)
    return keras.Model(inputs, outputs, name="music")


def compile_for_training(
    model: keras.Model, learning_rate: float, *, clip: float = 0.0, jit: bool = False
) -> None:
    """Give the model its loss, its accuracy and an Adam with all its variables made.

    Each variable's gradient is cut to the norm `clip`; 0 for as it is. `jit` compiles the whole
    step with XLA, without a GPU; otherwise only the layers' recurrence is.
    """
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate, clipnorm=clip or None),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=jit and not tf.config.list_physical_devices("GPU"),  # cuDNN's is no XLA
    )
    model.optimizer.build(model.trainable_variables)


def set_seed(seed: int) -> None:
    """Fix the initial weights that build_model draws."""
    keras.utils.set_random_seed(seed % 2**32)


def reset_states(model: keras.Model) -> None:
    """Set every LSTM's state to zeros: a new piece, or a new epoch, begins."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.LSTM):
            layer.reset_state()


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the dropout generators from seed and epoch, so that a resumed epoch draws the same masks.

    Keras does not write them to .keras files.
    """
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            words = np.random.SeedSequence([seed % 2**63, epoch, number]).generate_state(2)
            layer.seed_generator.state.assign(words.astype(layer.seed_generator.state.dtype))


def save(model: keras.Model, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write weights and optimizer state as a .keras file, in one atomic step.

    `notes` are small texts by name that go into the archive, where Keras leaves them alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    model.save(partial)
    with zipfile.ZipFile(partial, "a") as archive:
        for name, text in (notes or {}).items():
            archive.writestr(name, text)
    partial.replace(path)


def load(model: keras.Model, path: Path) -> None:
    """Read weights, and optimizer state where the model is compiled, from a .keras file.

    Only arrays are read, never the network's description: a file cannot bring code along.
    """
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} is damaged or from another run than the settings beside it ({reason}); "
            "move it away to go on from the checkpoint before it"
        ) from error


def snapshot(model: keras.Model) -> list[np.ndarray]:
    """Copy weights and optimizer state, to be given back by `restore`."""
    return [v.numpy().copy() for v in (*model.weights, *model.optimizer.variables)]


def restore(model: keras.Model, values: Iterable[np.ndarray]) -> None:
    """Put a snapshot's values back."""
    for variable, value in zip((*model.weights, *model.optimizer.variables), values, strict=True):
        variable.assign(value)


ScoringBatch = tuple[bool, np.ndarray, np.ndarray, np.ndarray]


class Scorer:
    """Measure a model on whole pieces without leaving a trace in its states."""

    def __init__(self, model: keras.Model) -> None:
        """Compile the measuring once for the model's [B, T]."""
        self._model = model
        self._ranks = tf.function(self._batch_ranks)

    def _batch_ranks(self, x: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        probabilities = self._model(x, training=False)
        right = tf.gather(probabilities, targets[..., None], batch_dims=2)
        # Nothing is cut off but true zeros, so that a model is charged for what it excludes.
        nats = -tf.math.log(tf.maximum(right[..., 0], np.finfo(np.float32).tiny))
        likelier = tf.reduce_sum(tf.cast(probabilities > right, tf.float32), -1)
        return tf.stack([nats, likelier])

    def each(self, first: bool, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return float32 [2, B, T] of a batch: each target's nats, how many are likelier."""
        if first:
            reset_states(self._model)
        return self._ranks(x, targets).numpy()

    def __call__(self, batches: Iterable[ScoringBatch]) -> tuple[float, float]:
        """Return (loss in nats a token, accuracy) over preprocess.scoring_batches' batches."""
        sums = np.zeros(3)
        for first, x, targets, weights in batches:
            nats, likelier = self.each(first, x, targets)
            sums += [np.sum(weights * what) for what in (nats, likelier == 0, 1)]
        reset_states(self._model)
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])


def stepper(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a compiled step: ids int32 [B] → probabilities of the next ids float32 [B, V]."""

    @tf.function(jit_compile=False)
    def step(ids: tf.Tensor) -> tf.Tensor:
        return model(ids[:, None], training=False)[:, 0]

    return lambda ids: step(tf.constant(ids, tf.int32)).numpy()


def train_epoch(
    model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[float, float]]:
    """Train on each batch and yield its (loss, accuracy); states carry on between batches."""
    for x, y in batches:
        logs = model.train_on_batch(x, y, return_dict=True)
        yield float(logs["loss"]), float(logs["accuracy"])
