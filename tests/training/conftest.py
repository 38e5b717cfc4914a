"""A network small enough for tests, and something to train it on."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest

import model
from midilstm.config import ModelConfig
from midilstm.data import batches
from midilstm.training import weights

SIZES = ModelConfig(embedding_size=6, units=5, layers=2, dropout=0.2, input_dropout=0)


@pytest.fixture
def small() -> Callable[..., keras.Model]:
    """Return a builder of compiled networks of 9 tokens over ids [3, 4]."""

    def build(
        seed: int = 0, *, tokens: int = 9, dropout: float = 0.2, ema: float = 0.9
    ) -> keras.Model:
        weights.set_seed(seed)
        config = replace(SIZES, dropout=dropout)
        network = model.build_model(config, tokens, batch_size=3, sequence_length=4)
        model.compile_for_training(network, 1e-2, ema=ema)
        return network

    return build


@pytest.fixture
def train() -> Callable[..., list[float]]:
    """Return a function that trains a network on random ids and returns each step's loss."""

    def run(network: keras.Model, steps: int = 3) -> list[float]:
        ids = np.random.default_rng(0).integers(0, 9, 3 * (4 * steps + 1)).astype(np.int32)
        return [float(network.train_on_batch(x, y)[0]) for x, y in batches.batches(ids, 3, 4, 9)]

    return run
