"""Measure how well a network predicts held-out pieces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from midilstm.data import batches
from midilstm.training import weights


@dataclass(eq=False)
class HeldOutEvaluator:
    """Measure a network on whole pieces, each from a state of zeros, in batches of its [B, T].

    Of several workers each takes its share of the pieces, and `add` sums numbers over all workers.
    """

    network: keras.Model
    worker: int = 0
    n_workers: int = 1
    add: Callable[[np.ndarray], np.ndarray | tf.Tensor] = np.asarray

    @tf.function
    def _predict(self, x: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return each target's nats and whether nothing is likelier, both float32 [B, T]."""
        probabilities = self.network(x, training=False)
        right = tf.gather(probabilities, targets, batch_dims=2)
        # Nothing is cut off but true zeros, so that a network is charged for what it excludes.
        nats = -tf.math.log(tf.maximum(right, np.finfo(np.float32).tiny))
        return nats, tf.cast(tf.reduce_max(probabilities, -1) <= right, tf.float32)

    def __call__(self, pieces: Sequence[np.ndarray]) -> tuple[float, float]:
        """Return (loss in nats per token, accuracy) over pieces int32 [n]; nan for none."""
        share = sorted(pieces, key=len)[self.worker :: self.n_workers]
        sums = np.zeros(3)
        for is_first, *xy, mask in batches.evaluation_batches(share, *self.network.input_shape):
            if is_first:
                weights.reset_states(self.network)
            nats, hits = self._predict(*xy)
            sums += [np.sum(mask * nats), np.sum(mask * hits), np.sum(mask)]
        weights.reset_states(self.network)
        sums = np.asarray(self.add(sums))
        loss, accuracy = (sums[:2] / (sums[2] or np.nan)).tolist()
        return loss, accuracy
