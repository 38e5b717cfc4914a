"""Train a Keras LSTM at the speed of the CPU.

`LSTM` is `keras.layers.LSTM` with another order of work. With s the logistic function, the layer is

    z[t] = x[t] W + b + h[t-1] U,    split into i, f, g, o
    c[t] = s(f) c[t-1] + s(i) tanh(g),    h[t] = s(o) tanh(c[t])

(S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997; the forget gate is F. Gers's, 2000).
Stock Keras does all of it in a loop over t. Here x W + b is one product for all steps, the loop
does `h U` alone, the backward loop `dz Uᵀ` alone, and the gradient of U is one product after it.
The sums are the same; float32 rounds them in another order.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

PARTS = 2  # of the units: two products keep two cores busy, one of 16 rows is too small to share


class LSTM(keras.layers.LSTM):  # type: ignore[misc]  # Keras has no types
    """Compute what `keras.layers.LSTM` computes, faster on a CPU.

    On a GPU, and with options or inputs that `inner_loop` excludes, it runs the stock code. Saved
    models name the stock class, so plain Keras opens them.
    """

    # Keras writes `obj.__class__` into a saved model's config.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return keras.layers.LSTM

    def inner_loop(
        self, sequences: Any, initial_state: list[Any], mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Return last output [B, H], outputs [B, T, H] and states [h, c] for inputs [B, T, D]."""
        is_fast = (
            all(device.device_type == "CPU" for device in tf.config.list_physical_devices())
            and self.compute_dtype == self.variable_dtype == "float32"
            and self.activation is keras.activations.tanh
            and self.recurrent_activation is keras.activations.sigmoid
            and self.use_bias
            and not (self.recurrent_dropout or self.go_backwards or self.unroll)
            and not (training and self.dropout)
            and mask is None
            and None not in sequences.shape
            and sequences.shape[1] > 1  # one step has no loop: starting XLA would cost more
        )
        if not is_fast:
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        tensors = map(tf.convert_to_tensor, [sequences, *initial_state, *weights])
        outputs, hidden, carry = lstm(*tensors)
        return hidden, outputs, [hidden, carry]


def lstm(inputs: Any, hidden: Any, carry: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Return outputs [B, T, H], last hidden and carry [B, H] for inputs float32 [B, T, D]."""
    parts = 1 if recurrent.shape[0] % PARTS else PARTS
    forward, backward = (run_forward, run_backward) if tf.executing_eagerly() else compiled

    @tf.custom_gradient
    def recur(projected: Any, recurrent: Any, hidden: Any, carry: Any) -> Any:
        outputs, carries, gates = forward(projected, recurrent, hidden, carry, parts)
        last_carry = tf.concat([part[-1] for part in carries], 1)

        def gradient(*gradients: Any) -> tuple[Any, Any, Any, Any]:
            d_projected, *d_first = backward(gradients, recurrent, carry, carries, gates)
            before = tf.concat([hidden[None], outputs[:-1]], 0)
            before, d_rows = (tf.reshape(x, [-1, x.shape[-1]]) for x in (before, d_projected))
            return d_projected, tf.matmul(before, d_rows, transpose_a=True), *d_first

        return (outputs, outputs[-1], last_carry), gradient

    steps = tf.transpose(inputs, [1, 0, 2])
    projected = tf.matmul(tf.reshape(steps, [-1, inputs.shape[-1]]), kernel) + bias
    projected = tf.reshape(projected, [*steps.shape[:2], *bias.shape])
    outputs, hidden, carry = recur(projected, recurrent, hidden, carry)
    return tf.transpose(outputs, [1, 0, 2]), hidden, carry


def split_units(gates: Any, parts: int) -> list[Any]:
    """Cut gates [N, 4H] by unit, not by gate, into parts of [N, 4H/P]."""
    columns = gates.shape[1] // parts
    by_part = tf.reshape(gates, [-1, 4, parts, columns // 4])
    return [tf.reshape(by_part[:, :, part], [-1, columns]) for part in range(parts)]


def run_forward(projected: Any, recurrent: Any, hidden: Any, carry: Any, parts: int) -> Any:
    """Return outputs [T, B, H] and, by part, carries [T, B, H/P] and activated gates [T, B, 4H/P].

    One tanh serves all four gates: s(x) = tanh(x / 2) / 2 + 1 / 2.
    """
    units = recurrent.shape[0] // parts
    scale = tf.constant([0.5] * 2 * units + [1.0] * units + [0.5] * units)
    kernels = split_units(recurrent, parts)

    def step(state: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        hidden, *carries = state
        outputs, gates = [], []
        for part, projection in enumerate(split_units(inputs[0], parts)):
            z = projection + tf.matmul(hidden, kernels[part])
            gates.append(tf.tanh(z * scale) * scale + (1 - scale))
            i, f, g, o = tf.split(gates[part], 4, 1)
            carries[part] = f * carries[part] + i * g
            outputs.append(o * tf.tanh(carries[part]))
        hidden = tf.concat(outputs, 1)
        return [hidden, *carries], [hidden, *carries, *gates]

    carries = tf.split(carry, parts, 1)
    shapes = [x.shape for x in (hidden, *carries)] + [[hidden.shape[0], 4 * units]] * parts
    _, (outputs, *saved) = scan(step, [hidden, *carries], [projected], shapes)
    return outputs, saved[:parts], saved[parts:]


def run_backward(gradients: Any, recurrent: Any, carry: Any, carries: Any, gates: Any) -> Any:
    """Return the gradients of projected [T, B, 4H] and of the first hidden and carry [B, H].

    `gradients` are those of all outputs [T, B, H] and of the last hidden and carry [B, H].
    """
    d_outputs, d_hidden, d_carry = gradients
    parts, batch = len(gates), d_hidden.shape[0]
    kernels = [tf.transpose(kernel) for kernel in split_units(recurrent, parts)]
    # Products that need no loop. With dh and dc the gradients that reach a step, by part:
    # dc += dh * factors[0] [T, B, H/P], the gates' gradient is [dc, dc, dc, dh] * factors[1]
    # [T, B, 4H/P], and dc * factors[2] [T, B, H/P] goes to the step before.
    factors = []
    for first, cells, activated in zip(tf.split(carry, parts, 1), carries, gates, strict=True):
        i, f, g, o = tf.split(activated, 4, 2)
        before = tf.concat([first[None], cells[:-1]], 0)
        tanh = tf.tanh(cells)
        to_gates = [g * i * (1 - i), before * f * (1 - f), i * (1 - g**2), tanh * o * (1 - o)]
        factors += [o * (1 - tanh**2), tf.concat(to_gates, 2), f]

    def step(state: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        d_hiddens, d_carries = state[:parts], state[parts:]
        d_output, *factors = inputs
        d_gates = []
        for part, d_part in enumerate(tf.split(tf.add_n(d_hiddens) + d_output, parts, 1)):
            to_carry, to_gates, forget = factors[3 * part : 3 * part + 3]
            d_carry = d_carries[part] + d_part * to_carry
            d_gates.append(tf.concat([d_carry, d_carry, d_carry, d_part], 1) * to_gates)
            d_hiddens[part] = tf.matmul(d_gates[part], kernels[part])
            d_carries[part] = d_carry * forget
        by_part = tf.stack([tf.reshape(part, [batch, 4, -1]) for part in d_gates], 2)
        return [*d_hiddens, *d_carries], [tf.reshape(by_part, [batch, -1])]

    # The gradient by h is a sum over parts; the incoming one counts once.
    state = [d_hidden, *[tf.zeros_like(d_hidden)] * (parts - 1), *tf.split(d_carry, parts, 1)]
    shapes = [[batch, recurrent.shape[1]]]
    state, (d_projected,) = scan(step, state, [d_outputs, *factors], shapes, reverse=True)
    return d_projected, tf.add_n(state[:parts]), tf.concat(state[parts:], 1)


def scan(step: Any, state: Any, inputs: Any, shapes: Any, *, reverse: bool = False) -> Any:
    """Fold step over the first axis of inputs; return the last state and the stacked outputs.

    Step takes a state and a list of inputs to a state and a list of outputs of these shapes.
    """
    length = inputs[0].shape[0]
    array = partial(tf.TensorArray, inputs[0].dtype, length)
    readers = [array(element_shape=x.shape[1:]).unstack(x) for x in inputs]
    writers = [array(element_shape=shape) for shape in shapes]

    def body(count: Any, state: list[Any], writers: list[Any]) -> list[Any]:
        t = length - 1 - count if reverse else count
        state, outputs = step(state, [reader.read(t) for reader in readers])
        return [count + 1, state, [w.write(t, x) for w, x in zip(writers, outputs, strict=True)]]

    _, state, writers = tf.while_loop(
        lambda count, *_: count < length, body, [tf.constant(0), state, writers]
    )
    return state, [writer.stack() for writer in writers]


# XLA makes one kernel of a step's small operations and runs the parts side by side. Each shape is
# compiled once, for all layers.
compiled = [tf.function(run, jit_compile=True) for run in (run_forward, run_backward)]
