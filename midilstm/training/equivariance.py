"""Train a network whose predictions of chords move with the music when it is transposed.

The numbers of an embedding and the units of a layer stand in twelve groups, one per pitch class.
Transposing what came before by k semitones rotates the groups of all layers by k places, and with
them the predictions, if

- the weights from group p to group q depend on q - p alone: a kernel is circulant, and
- the rows of a chord and its transpositions, in the embedding and in the output, are rotations of
  one profile. A note has a free row, because its register breaks the symmetry of the classes.

So all arrays are linear functions of far fewer numbers, the factors. The layers, which are Keras's
own, have the arrays. The optimizer has the factors: it takes gradients by the arrays to gradients
by the factors, which is the transpose of the same function, and writes the arrays after each step.
(T. Cohen and M. Welling, "Group Equivariant Convolutional Networks", 2016.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from midilstm.tokenizers.orbits import CLASSES, TokenOrbits


class EquivariantAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Adam on the factors of the arrays of a network of `model.build_model`."""

    # A saved model names the stock class, so plain Keras opens it.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return keras.optimizers.Adam

    def __init__(self, learning_rate: float, orbits: TokenOrbits, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.orbits = orbits

    def build(self, variables: Sequence[Any]) -> None:
        """Draw the factors at random, and write the arrays into the network's variables."""
        if not self.built:
            self.factors = [
                self.add_variable(x.shape, keras.initializers.Constant(x), name=f"factor_{i}")
                for i, x in enumerate(draw_factors([v.shape for v in variables], self.orbits))
            ]
            super().build(self.factors)
            self.write_arrays(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        """Update the factors by the gradients of the arrays, and write the arrays."""
        super().apply(self.to_factors(grads), self.factors)
        self.write_arrays(trainable_variables)

    def write_arrays(self, variables: Sequence[Any]) -> None:
        """Write the arrays that the factors stand for into the network's variables."""
        arrays = expand([tf.convert_to_tensor(x) for x in self.factors], self.orbits)
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def read_arrays(self, variables: Sequence[Any]) -> None:
        """Change the factors to those of given arrays, of tables those that are a type's own."""
        now = expand([tf.convert_to_tensor(x) for x in self.factors], self.orbits)
        changes = self.to_factors([v - x for v, x in zip(variables, now, strict=True)])
        bias = 1 / np.bincount(self.orbits.types).astype(np.float32)
        table = np.pad(bias, (0, len(changes[0]) - len(bias)))[:, None, None]
        scales = [table, *[1 / CLASSES] * (len(changes) - 3), table, bias]
        for factor, change, scale in zip(self.factors, changes, scales, strict=True):
            factor.assign_add(change * scale)
        self.write_arrays(variables)

    def to_factors(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the transpose of `expand`, of gradients by the arrays."""
        factors = [tf.convert_to_tensor(x) for x in self.factors]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(factors)
            expanded = expand(factors, self.orbits)
        dense = [tf.convert_to_tensor(array) for array in arrays]
        # Adam squares the rows of IndexedSlices before it adds them up.
        return [*map(tf.convert_to_tensor, tape.gradient(expanded, factors, dense))]


def expand(factors: Sequence[Any], orbits: TokenOrbits) -> list[Any]:
    """Return the network's arrays, in its order, as a linear function of the factors.

    Factors are the embedding [F, 12, E / 12]; of each layer a kernel [12, D / 12, 4, U / 12], a
    recurrent kernel and a bias [4, 1, U / 12]; the output's [F, 12, U / 12]; and its bias [N].
    """
    embedding, *layers, head, head_bias = factors
    arrays = []
    for x in layers:
        if len(x.shape) == 4:  # group p of the input and q of the output take x[q - p]
            rotated = tf.stack([tf.roll(x, p, 0) for p in range(CLASSES)])
            x = tf.reshape(tf.transpose(rotated, [0, 2, 3, 1, 4]), [CLASSES * x.shape[1], -1])
        else:
            x = tf.reshape(tf.tile(x, [1, CLASSES, 1]), [-1])
        arrays.append(x)
    output = tf.transpose(expand_table(head, orbits))
    return [expand_table(embedding, orbits), *arrays, output, tf.gather(head_bias, orbits.types)]


def expand_table(table: Any, orbits: TokenOrbits) -> Any:
    """Return the rows [V, 12 C] of all tokens, from the arrays [F, 12, C] that they share."""
    channels = table.shape[-1]
    parts = tf.reshape(tf.gather(table, orbits.parts), [len(orbits.parts), 3 * CLASSES, channels])
    profiles = tf.reshape(tf.matmul(orbits.mixing, parts), [-1, channels])
    return tf.reshape(tf.gather(profiles, orbits.places), [-1, CLASSES * channels])


def draw_factors(shapes: Sequence[Sequence[int]], orbits: TokenOrbits) -> list[np.ndarray]:
    """Return random factors of arrays of these shapes."""
    (vocabulary_size, size), units = shapes[0], shapes[-2][0]
    channels = units // CLASSES
    factors = [draw_table(size // CLASSES, orbits)]
    for inputs, _ in shapes[1:-2:3]:
        limit = np.sqrt(6 / (inputs + 4 * units))  # Glorot's, of the whole kernel
        shape = [CLASSES, inputs // CLASSES, 4, channels]
        bias = np.zeros([4, 1, channels])
        bias[1] = 1  # of the forget gate, as Keras begins
        factors += [keras.random.uniform(shape, -limit, limit), draw_recurrent(channels), bias]
    scale = np.sqrt(2 / (units + vocabulary_size))
    factors += [scale * draw_table(channels, orbits), np.zeros(len(orbits.parts))]
    return [np.asarray(factor, np.float32) for factor in factors]


def draw_table(channels: int, orbits: TokenOrbits) -> np.ndarray:
    """Return random factors of rows that vary about as a unit normal."""
    own = 1 / np.linalg.norm(orbits.mixing[:, 0], axis=1)
    stddev = np.concatenate([own, np.full(orbits.parts.max() + 1 - len(own), 1 / np.sqrt(3))])
    return keras.random.normal([len(stddev), CLASSES, channels]) * stddev[:, None, None]


def draw_recurrent(channels: int) -> np.ndarray:
    """Return random factors of a recurrent kernel with orthonormal rows, as Keras begins.

    Fourier's transform takes a circulant kernel to twelve that do not mix, one per frequency.
    """
    normal = keras.random.normal([CLASSES, 4 * channels, channels])
    columns, _ = np.linalg.qr(np.fft.fft(normal, axis=0))
    kernel = np.fft.ifft(columns.transpose(0, 2, 1), axis=0).real
    return np.asarray(kernel.reshape(CLASSES, channels, 4, channels))
