"""Build and train networks by recipes that differ from train.py's defaults in one setting each."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.data.dataset import Dataset, load_dataset
from midilstm.tokenizers.vocabulary import KEYS

BATCH_SIZE, SEQUENCE_LENGTH = 16, 64


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained; the defaults are those of train.py."""

    layers: int = ModelConfig.layers
    units: int = ModelConfig.units
    dropout: float = ModelConfig.dropout
    input_dropout: float = ModelConfig.input_dropout
    learning_rate: float = TrainConfig.learning_rate
    ema: float = TrainConfig.ema
    transpose: bool = DataConfig.transpose
    shuffle: bool = TrainConfig.shuffle
    clip: float = 0.0  # largest norm of a gradient (0 = off)
    warm_up: int = 1  # steps in which the learning rate rises
    has_decay: bool = False  # whether the learning rate falls to 0 as a cosine
    label_smoothing: float = 0.0
    weight_decay: float | None = None
    # The settings below are not those of model.build_model.
    small_embeddings: bool = False  # as Keras initialises them
    layer_norm: bool = False
    residual: bool = False
    tied: bool = False  # the embedding is the output matrix, too
    same_dropout: bool = False  # the same units at every step (Gal and Ghahramani 2016)
    forget_bias: float | None = None

    @property
    def is_variant(self) -> bool:
        """Tell whether model.build_model cannot build this network."""
        names = ("small_embeddings", "layer_norm", "residual", "tied", "same_dropout")
        return self.forget_bias is not None or any(getattr(self, name) for name in names)

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / self.warm_up)
        return rate * (1 + math.cos(math.pi * step / steps)) / 2 if self.has_decay else rate


RECIPE = Recipe()
# The usual recipe of programs of this kind, as train.py --classic has it.
CLASSIC = replace(RECIPE, layers=3, dropout=0.2, input_dropout=0.0, learning_rate=1e-3)
CLASSIC = replace(CLASSIC, ema=0.0, transpose=False, shuffle=False)
LARGE = replace(RECIPE, units=512, dropout=0.5, input_dropout=0.5)
RECIPES = {
    "recipe": RECIPE,
    "classic, as it was": replace(CLASSIC, small_embeddings=True),
    "classic, embeddings spread": CLASSIC,
    "Keras's small embeddings": replace(RECIPE, small_embeddings=True),
    "no transposition": replace(RECIPE, transpose=False),
    "pieces in order": replace(RECIPE, shuffle=False),
    "gradient norm cut at 1": replace(RECIPE, clip=1.0),
    "one layer": replace(RECIPE, layers=1),
    "three layers": replace(RECIPE, layers=3),
    "no dropout": replace(RECIPE, dropout=0.0, input_dropout=0.0),
    "dropout after layers only": replace(RECIPE, input_dropout=0.0),
    "dropout 0.5": replace(RECIPE, dropout=0.5, input_dropout=0.5),
    "512 units": replace(RECIPE, units=512),
    "512 units, dropout 0.5": LARGE,
    "learning rate 0.001": replace(RECIPE, learning_rate=1e-3),
    "warm-up over 100 steps": replace(RECIPE, warm_up=100),
    "cosine decay": replace(RECIPE, has_decay=True),
    "weights not averaged": replace(RECIPE, ema=0.0),
    "label smoothing 0.1": replace(RECIPE, label_smoothing=0.1),
    "layer normalisation": replace(RECIPE, layer_norm=True),
    "residual connections": replace(RECIPE, residual=True),
    "normalisation and residual": replace(RECIPE, layer_norm=True, residual=True),
    "tied weights": replace(RECIPE, tied=True),
    "forget bias 2": replace(RECIPE, forget_bias=2.0),
    "weight decay 0.1": replace(RECIPE, weight_decay=0.1),
    "dropout the same at every step": replace(RECIPE, same_dropout=True),
    "512 units, dropout 0.5, longer average": replace(LARGE, ema=0.99),
}


class EpochMetrics(NamedTuple):
    """The metrics of an epoch, in the order of a result file's `curve`."""

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


def best_epoch(curve: Sequence[EpochMetrics]) -> int:
    """Return the index of the epoch with the lowest held-out loss."""
    return min(range(len(curve)), key=lambda index: curve[index].val_loss)


def load_folders(folders: Sequence[str], config: DataConfig) -> Dataset:
    """Load folders as one dataset, with the other settings of `config`."""
    with tempfile.TemporaryDirectory() as parent:
        for index, folder in enumerate(folders):
            Path(parent, str(index)).symlink_to(Path(folder).resolve())
        return load_dataset(replace(config, data_dir=Path(parent), follow_links=True))


def build_variant(recipe: Recipe, vocabulary_size: int) -> Any:
    """Build a network that model.build_model has no settings for."""
    import keras

    from midilstm.training import lstm

    units = recipe.units
    size = units if recipe.tied else ModelConfig.embedding_size
    spread = "uniform" if recipe.small_embeddings else keras.initializers.RandomNormal(stddev=1.0)
    inputs = keras.Input(batch_shape=(BATCH_SIZE, SEQUENCE_LENGTH), dtype="int32")
    embedding = keras.layers.Embedding(vocabulary_size, size, embeddings_initializer=spread)

    def dropout(fraction: float, width: int) -> Any:
        shape = (BATCH_SIZE, 1, width) if recipe.same_dropout else None
        return keras.layers.Dropout(fraction, noise_shape=shape)

    x = dropout(recipe.input_dropout, size)(embedding(inputs))
    for _ in range(recipe.layers):
        layer_input = x
        if recipe.layer_norm:
            x = keras.layers.LayerNormalization()(x)
        layer = lstm.LSTM(units, return_sequences=True, stateful=True)
        x = dropout(recipe.dropout, units)(layer(x))
        if recipe.forget_bias is not None:
            bias = layer.cell.bias.numpy()
            bias[units : 2 * units] = recipe.forget_bias
            layer.cell.bias.assign(bias)
        if recipe.residual and layer_input.shape[-1] == units:
            x = x + layer_input
    if recipe.tied:
        scaled = keras.ops.matmul(x, keras.ops.transpose(embedding.embeddings)) / math.sqrt(units)
        return keras.Model(inputs, keras.layers.Activation("softmax")(scaled))
    return keras.Model(inputs, keras.layers.Dense(vocabulary_size, activation="softmax")(x))


def build_network(recipe: Recipe, vocabulary_size: int, seed: int) -> Any:
    """Build and compile a recipe's network."""
    import keras

    import model
    from midilstm.training import weights

    weights.set_seed(seed)
    if recipe.is_variant:
        network = build_variant(recipe, vocabulary_size)
    else:
        config = ModelConfig(
            layers=recipe.layers,
            units=recipe.units,
            dropout=recipe.dropout,
            input_dropout=recipe.input_dropout,
        )
        shape = {"batch_size": BATCH_SIZE, "sequence_length": SEQUENCE_LENGTH}
        network = model.build_model(config, vocabulary_size, **shape)
    model.compile_for_training(network, recipe.learning_rate, ema=recipe.ema)
    network.optimizer.clipnorm = recipe.clip or None
    network.optimizer.weight_decay = recipe.weight_decay
    if recipe.label_smoothing:  # Keras ignores changes to a loss after compile
        network.compile(
            optimizer=network.optimizer,
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        )
    return network


def train_network(
    network: Any,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    steps: int,
    on_epoch: Callable[[list[EpochMetrics]], object] = lambda _: None,
) -> list[EpochMetrics]:
    """Train for about `steps` steps; return the metrics of each epoch.

    After each epoch `on_epoch` is called with the metrics so far, while the network has the
    averaged weights.
    """
    import numpy as np

    from midilstm.data import batches, report
    from midilstm.training import weights
    from midilstm.training.heldout import HeldOutEvaluator

    vocabulary, keys = dataset.vocabulary, None
    if recipe.transpose:
        keys = np.array([vocabulary.transposed(semitones) for semitones in KEYS])
    pieces, held_out = list(dataset.training.values()), list(dataset.held_out.values())
    n_tokens = sum(map(len, pieces))
    report.require_batch(n_tokens, BATCH_SIZE, SEQUENCE_LENGTH)
    count = batches.batch_count(n_tokens, BATCH_SIZE, SEQUENCE_LENGTH)
    evaluator = HeldOutEvaluator(network)
    curve: list[EpochMetrics] = []
    for epoch in range(math.ceil(steps / count)):
        rng = np.random.default_rng([seed, epoch + 1])
        stream = batches.epoch_stream(pieces, rng, shuffle=recipe.shuffle, transpositions=keys)
        weights.reset_states(network)
        sums = np.zeros(2)
        for index, (x, y) in enumerate(
            batches.batches(stream, BATCH_SIZE, SEQUENCE_LENGTH, len(vocabulary))
        ):
            rate = recipe.rate_at(epoch * count + index, steps)
            network.optimizer.learning_rate.assign(rate)
            logs = network.train_on_batch(x, y, return_dict=True)
            sums += [logs["loss"], logs["accuracy"]]
        loss, accuracy = (sums / count).tolist()
        with weights.ema_weights(network):
            curve.append(EpochMetrics(loss, accuracy, *evaluator(held_out)))
            on_epoch(curve)
    return curve
