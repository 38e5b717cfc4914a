"""Train a network on several workers, each with a share of the batch rows and their states.

A step adds the gradients up over all workers and applies the same sum on each. Batches, dropout
masks and learning curve are those of one machine.
"""

import faulthandler
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from midilstm.config import WorkerConfig
from midilstm.fileio import InputError
from midilstm.training import suppress_stderr

with suppress_stderr():
    import keras
    import tensorflow as tf

    from midilstm.training.heldout import HeldOutEvaluator
    from midilstm.training.loop import TrainingLoop

# Sums tensors over all workers, inside a tf.function; it joins the rows of IndexedSlices.
Add = Callable[[Any], Any]


def connect(config: WorkerConfig) -> Add:
    """Start TensorFlow's collectives, before anything else of TensorFlow; return their sum.

    TensorFlow waits for all workers, without an answer to signals, here up to --worker-timeout.
    """
    handler = signal.getsignal(signal.SIGTERM)
    faulthandler.dump_traceback_later(config.worker_timeout, exit=True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(config.workers)}),
            task_type="worker",
            task_id=config.worker,
            rpc_layer="grpc",
        ),
        tf.distribute.experimental.CommunicationOptions(timeout_seconds=config.worker_timeout),
    )
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGTERM, handler)  # the strategy makes the process ignore it

    def add(values: Any) -> Any:
        # Operations of this replica, or the collectives do not find its device.
        values = tf.nest.map_structure(tf.identity, values)
        return tf.distribute.get_replica_context().all_reduce("SUM", values)

    return lambda values: strategy.run(add, [values])


def train_together(loop: TrainingLoop, config: WorkerConfig, add: Add) -> None:
    """Train this worker's rows of a loop's batches; raise InputError where another worker stops."""
    rows, workers = loop.network.input_shape[0], config.workers
    loop.rows = slice(rows * config.worker, rows * (config.worker + 1))
    loop.evaluator = HeldOutEvaluator(loop.network, config.worker, len(workers), tf.function(add))
    try:
        distribute(loop.network, config, add)
        loop.train()
    except tf.errors.OpError as error:
        others = {*range(len(workers))} - {config.worker}
        named = others & {int(index) for index in re.findall(r"/task:(\d+)", str(error))}
        names = [f"worker {other} at {workers[other]}" for other in sorted(named or others)]
        raise InputError(
            f"{' or '.join(names)} has gone or hangs, in epoch {loop.done + 1}, of which nothing "
            f"is saved. {loop.save_last()} The same commands go on from there"
        ) from error


def distribute(network: keras.Model, config: WorkerConfig, add: Add) -> None:
    """Let a compiled network train its batch rows with the others, from the chief's weights on."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.call = partial(_drop, layer, network.input_shape[0] * config.worker)
    network.train_on_batch = make_step(network, len(config.workers), add)

    @tf.function
    def copy_from_chief() -> None:
        variables = [v.value for v in (*network.weights, *network.optimizer.variables)]
        # As integers: adding zeros to them changes no bit.
        bits = [tf.bitcast(v, tf.int32) * int(config.worker == 0) for v in variables]
        for variable, total in zip(variables, add(bits), strict=True):
            variable.assign(tf.bitcast(total, variable.dtype))

    copy_from_chief()


def _drop(layer: Any, first: int, inputs: Any, training: bool = False) -> Any:
    """Drop of the rows [b, T, D] from `first` on what one machine drops of them.

    Philox, TensorFlow's generator, can begin anywhere: each count gives four numbers.
    """
    if not training:
        return inputs
    seed = tf.cast(layer.seed_generator.next() % (tf.int32.max - 1), tf.int32)  # as Keras does
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    size = int(np.prod(inputs.shape))
    counts, rest = divmod(first * size // inputs.shape[0], 4)
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=[rest + size],
        key=key,
        counter=counter + tf.constant([counts, 0], tf.uint64),
        alg=tf.random.Algorithm.PHILOX.value,
    )
    is_kept = tf.reshape(drawn[rest:], inputs.shape) >= layer.rate
    return tf.where(is_kept, inputs * (1 / (1 - layer.rate)), 0.0)


def make_step(network: keras.Model, n_workers: int, add: Add) -> Callable[..., dict[str, float]]:
    """Return what trains on this worker's x [b, T] and y [b, T, V]; its logs are the batch's."""
    variables = network.trainable_variables

    @tf.function(jit_compile=network.jit_compile)  # without the sum: XLA has none on a CPU
    def differentiate(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            probabilities = network(x, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(y, probabilities))
            loss /= n_workers
        hits = keras.metrics.categorical_accuracy(y, probabilities)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32)) / n_workers
        return *tape.gradient(loss, variables), tf.stack([loss, accuracy])

    @tf.function
    def step(x: Any, y: Any) -> Any:
        # The embedding's gradient stays IndexedSlices: Adam squares rows before it adds them up.
        *gradients, logs = add([*differentiate(x, y)])
        network.optimizer.apply(gradients, variables)
        return logs

    def train_on_batch(x: np.ndarray, y: np.ndarray, **_: object) -> dict[str, float]:
        loss, accuracy = step(x, y).numpy().tolist()
        return {"loss": loss, "accuracy": accuracy}

    return train_on_batch
