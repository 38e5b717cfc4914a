"""Train a Keras LSTM at the speed of the CPU; knows one layer and nothing else of the project.

`LSTM` is `keras.layers.LSTM` with another order of work. With s the logistic function, the layer is

    z[t] = x[t] W + b + h[t-1] U,    split into i, f, g, o
    c[t] = s(f) c[t-1] + s(i) tanh(g),    h[t] = s(o) tanh(c[t])

(S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997; the forget gate is F. Gers's, 2000).
Stock Keras does all of it inside a loop over t and lets autodiff run it backwards, so that every
step multiplies by W and adds to three weight gradients. Here x W + b is one product for all steps,
the loop holds `h U` alone, the backward loop holds `dz Uᵀ` alone, and the gradient of U is one
product after it. The sums are the same; float32 rounds them in another order.
"""

from collections.abc import Callable
from typing import Any

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class LSTM(keras.layers.LSTM):
    """Compute what `keras.layers.LSTM` computes, faster on a CPU under TensorFlow.

    Anything else (a GPU, another backend, a mask, dropout inside the layer, another activation or
    dtype) takes the stock path. Saved models name the stock class, so plain Keras opens them.
    """

    # Keras writes `obj.__class__` into a saved model's config.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return keras.layers.LSTM

    def inner_loop(
        self, sequences: Any, initial_state: list[Any], mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Return last output [B, H], outputs [B, T, H] and states [h, c] for inputs [B, T, D]."""
        if mask is not None or (training and self.dropout) or not self.is_fast:
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)
        outputs, hidden, carry = lstm(
            tf.convert_to_tensor(sequences),
            initial_state[0],
            initial_state[1],
            tf.convert_to_tensor(self.cell.kernel),
            tf.convert_to_tensor(self.cell.recurrent_kernel),
            tf.convert_to_tensor(self.cell.bias),
        )
        return hidden, outputs, [hidden, carry]

    @property
    def is_fast(self) -> bool:
        """Tell whether this layer's options and this machine allow the fast path."""
        return (
            keras.backend.backend() == "tensorflow"
            and all(device.device_type == "CPU" for device in tf.config.list_physical_devices())
            and self.compute_dtype == self.variable_dtype == "float32"
            and self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and self.use_bias
            and self.use_cudnn is not True
            and not (self.recurrent_dropout or self.go_backwards or self.unroll)
        )


def lstm(
    inputs: Any, hidden: Any, carry: Any, kernel: Any, recurrent: Any, bias: Any
) -> tuple[Any, Any, Any]:
    """Return outputs [B, T, H], last hidden and carry [B, H] for inputs float32 [B, T, D]."""
    steps = tf.transpose(inputs, [1, 0, 2])
    flat = tf.reshape(steps, [-1, inputs.shape[-1]])
    shape = tf.concat([tf.shape(steps)[:2], tf.shape(bias)], 0)
    projected = tf.reshape(tf.matmul(flat, kernel) + bias, shape)
    outputs, hidden, carry = recur(projected, recurrent, hidden, carry)
    return tf.transpose(outputs, [1, 0, 2]), hidden, carry


def recur(projected: Any, recurrent: Any, hidden: Any, carry: Any) -> tuple[Any, Any, Any]:
    """Run the recurrence over projected [T, B, 4H]; return outputs [T, B, H] and last states."""

    @tf.custom_gradient
    def run(projected: Any, recurrent: Any, hidden: Any, carry: Any) -> Any:
        outputs, carries, gates = run_forward(projected, recurrent, hidden, carry)

        def gradient(d_outputs: Any, d_hidden: Any, d_carry: Any) -> tuple[Any, Any, Any, Any]:
            before = tf.concat([hidden[None], outputs[:-1]], 0)
            carries_before = tf.concat([carry[None], carries[:-1]], 0)
            d_projected, d_first_hidden, d_first_carry = run_backward(
                d_outputs, d_hidden, d_carry, recurrent, gates, carries, carries_before
            )
            d_recurrent = tf.tensordot(before, d_projected, [[0, 1], [0, 1]])
            return d_projected, d_recurrent, d_first_hidden, d_first_carry

        return (outputs, outputs[-1], carries[-1]), gradient

    return run(projected, recurrent, hidden, carry)


def run_forward(projected: Any, recurrent: Any, hidden: Any, carry: Any) -> tuple[Any, Any, Any]:
    """Return outputs and carries [T, B, H], and i, f, tanh g, o after their activation [T, B, 4H].

    One tanh serves all four: s(x) = tanh(x / 2) / 2 + 1 / 2.
    """
    units = recurrent.shape[0]
    scale = tf.constant([0.5] * 2 * units + [1.0] * units + [0.5] * units)

    def step(state: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        hidden, carry = state
        gates = tf.tanh((inputs[0] + tf.matmul(hidden, recurrent)) * scale) * scale + (1 - scale)
        i, f, g, o = tf.split(gates, 4, 1)
        carry = f * carry + i * g
        hidden = o * tf.tanh(carry)
        return [hidden, carry], [hidden, carry, gates]

    shapes = [hidden.shape, carry.shape, projected.shape[1:]]
    _, (outputs, carries, gates) = scan(step, [hidden, carry], [projected], shapes)
    return outputs, carries, gates


def run_backward(
    d_outputs: Any,
    d_hidden: Any,
    d_carry: Any,
    recurrent: Any,
    gates: Any,
    carries: Any,
    carries_before: Any,
) -> tuple[Any, Any, Any]:
    """Return the gradients of projected [T, B, 4H] and of the first hidden and carry [B, H]."""
    i, f, g, o = tf.split(gates, 4, 2)
    tanh_carries = tf.tanh(carries)
    # dz = [dc, dc, dc, dh] * factors and dc += dh * to_carry: known for all steps before the loop.
    to_carry = o * (1 - tanh_carries**2)
    factors = tf.concat(
        [
            g * i * (1 - i),
            carries_before * f * (1 - f),
            i * (1 - g**2),
            tanh_carries * o * (1 - o),
        ],
        2,
    )
    transposed = tf.transpose(recurrent)

    def step(state: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        d_hidden, d_carry = state
        d_output, to_carry, factor, forget = inputs
        d_hidden += d_output
        d_carry += d_hidden * to_carry
        d_gates = tf.concat([d_carry, d_carry, d_carry, d_hidden], 1) * factor
        return [tf.matmul(d_gates, transposed), d_carry * forget], [d_gates]

    inputs = [d_outputs, to_carry, factors, f]
    state, (d_projected,) = scan(step, [d_hidden, d_carry], inputs, [gates.shape[1:]], reverse=True)
    return d_projected, *state


def scan(
    step: Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]],
    state: list[Any],
    inputs: list[Any],
    shapes: list[Any],
    *,
    reverse: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Fold step over the first axis of inputs; return the last state and the stacked outputs."""
    length = tf.shape(inputs[0])[0]
    readers = [
        tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in inputs
    ]
    writers = [tf.TensorArray(inputs[0].dtype, length, element_shape=shape) for shape in shapes]

    def body(count: Any, state: list[Any], writers: list[Any]) -> list[Any]:
        t = length - 1 - count if reverse else count
        state, outputs = step(state, [reader.read(t) for reader in readers])
        return [count + 1, state, [w.write(t, x) for w, x in zip(writers, outputs, strict=True)]]

    _, state, writers = tf.while_loop(
        lambda count, *_: count < length, body, [tf.constant(0), state, writers]
    )
    return state, [writer.stack() for writer in writers]
