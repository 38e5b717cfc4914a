"""Train a network on several workers with data parallelism.

Each worker has a share of the batch rows, with their LSTM states. A step computes their
gradients, adds them up over all workers with TensorFlow's collectives, and applies the same sum on
every worker.
So batches, masks of dropout and learning curve are those of one machine.
"""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from midilstm.config import WorkerConfig
from midilstm.data.dataset import Dataset
from midilstm.fileio import InputError
from midilstm.model_dir import RunSettings
from midilstm.training import log, rendezvous, suppress_stderr

with suppress_stderr():
    import keras
    import tensorflow as tf

    from midilstm.training import loop, weights
    from midilstm.training.heldout import HeldOutEvaluator

# Ends a process that TensorFlow keeps from all else, its own threads too.
WATCH = """
import os, signal, sys, time
pid, seconds, said = sys.argv[1:]
time.sleep(float(seconds))
if os.getppid() == int(pid):
    print(said, file=sys.stderr, flush=True)
    os.kill(int(pid), signal.SIGKILL)
"""


@dataclass(frozen=True, kw_only=True)
class WorkerGroup:
    """All workers, HOST:PORT, of which this is number `worker`; the first is the chief."""

    workers: Sequence[str]
    worker: int
    strategy: Any
    options: Any

    def add(self, values: Any) -> Any:
        """Return the sum over all workers, of this shape and dtype, for tf.functions."""
        return self._together(lambda all, x: all.all_reduce("SUM", x, self.options), values)

    def gather(self, values: Any) -> Any:
        """Return the values [n, ...] of all workers, in their order, for tf.functions."""
        return self._together(lambda all, x: all.all_gather(x, 0, self.options), values)

    def _together(self, work: Callable[[Any, Any], Any], values: Any) -> Any:
        def run(values: Any) -> Any:
            # An operation of this replica, or the collectives do not find its device.
            return work(tf.distribute.get_replica_context(), tf.identity(values))

        return self.strategy.run(run, [values])


def connect(config: WorkerConfig) -> WorkerGroup:
    """Start TensorFlow's collectives, before anything else of it.

    The workers must have met, for TensorFlow waits for them, and listens to no signal meanwhile.
    """
    workers, worker, seconds = config.workers, config.worker, config.worker_timeout
    before = signal.getsignal(signal.SIGTERM)
    said = f"{Path(sys.argv[0]).name}: a worker ended before all had begun (--worker-timeout)"
    watch = subprocess.Popen([sys.executable, "-c", WATCH, str(os.getpid()), str(seconds), said])
    cluster = tf.train.ClusterSpec({"worker": list(workers)})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=worker, rpc_layer="grpc"
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    watch.kill()
    watch.wait()
    signal.signal(signal.SIGTERM, before)  # which the strategy makes do nothing
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=seconds)
    return WorkerGroup(workers=workers, worker=worker, strategy=strategy, options=options)


def distribute(network: keras.Model, group: WorkerGroup) -> None:
    """Let a compiled network train its lanes with the others, from the chief's weights on."""
    lanes = network.input_shape[0]
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.call = partial(_drop, layer, lanes * group.worker)
    network.train_on_batch = _make_step(network, group)
    values = weights.snapshot(network)
    # As whole numbers, of which zeros change no bit.
    bits = np.concatenate([np.atleast_1d(v).view(np.int32).ravel() for v in values])
    bits = tf.function(group.add)(bits * (group.worker == 0)).numpy()
    ends = np.cumsum([v.nbytes // 4 for v in values])
    parts = zip(np.split(bits, ends[:-1]), values, strict=True)
    weights.restore(network, [part.view(v.dtype).reshape(v.shape) for part, v in parts])


def _drop(layer: Any, first: int, inputs: Any, training: bool = False) -> Any:
    """Drop of lanes [b, T, D], which begin at `first`, what one machine would drop of them.

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


def _make_step(network: keras.Model, group: WorkerGroup) -> Any:
    """Return what trains on this worker's x [b, T] and y [b, T, V]; its logs are the batch's."""
    count = len(group.workers)
    variables = network.trainable_variables

    # XLA on a CPU has no collectives.
    @tf.function(jit_compile=network.jit_compile)
    def differentiate(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            probabilities = network(x, training=True)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(y, probabilities)) / count
        hits = keras.metrics.categorical_accuracy(y, probabilities)
        first, *others = tape.gradient(loss, variables)
        logs = [loss, tf.reduce_mean(tf.cast(hits, tf.float32)) / count]
        flat = tf.concat([tf.reshape(g, [-1]) for g in (*others, tf.stack(logs))], 0)
        # Its rows and their ids in one message.
        ids = tf.bitcast(tf.cast(first.indices, tf.int32), tf.float32)
        return tf.concat([first.values, ids[:, None]], 1), flat

    @tf.function
    def step(x: Any, y: Any) -> Any:
        rows, flat = differentiate(x, y)
        flat, rows = group.add(flat), group.gather(rows)
        # The embedding's by row, as on one machine: Adam squares them before it adds them up.
        ids = tf.bitcast(rows[:, -1], tf.int32)
        rows = tf.IndexedSlices(rows[:, :-1], ids, variables[0].shape)
        sizes = [int(np.prod(v.shape)) for v in variables[1:]]
        *parts, logs = tf.split(flat, [*sizes, 2])
        shaped = [tf.reshape(g, v.shape) for g, v in zip(parts, variables[1:], strict=True)]
        network.optimizer.apply([rows, *shaped], variables)
        return logs

    def train_on_batch(x: np.ndarray, y: np.ndarray, **_: object) -> dict[str, float]:
        loss, accuracy = step(x, y).numpy().tolist()
        return {"loss": loss, "accuracy": accuracy}

    return train_on_batch


@dataclass(eq=False)
class DistributedHeldOutEvaluator(HeldOutEvaluator):
    """Measure a network on whole pieces, of which each worker takes its share."""

    group: WorkerGroup

    def __post_init__(self) -> None:
        """Prepare what adds up the workers' sums."""
        self._add = tf.function(self.group.add)

    def __call__(self, pieces: Sequence[np.ndarray]) -> tuple[float, float]:
        """Return (loss in nats a token, accuracy) over pieces int32 [n]; nan for none."""
        share = sorted(pieces, key=len)[self.group.worker :: len(self.group.workers)]
        tokens = sum(map(len, share))
        sums = np.array([*super().__call__(share), 1.0]) * tokens if share else np.zeros(3)
        sums = self._add(sums).numpy()
        loss, accuracy = (sums[:2] / (sums[2] or np.nan)).tolist()
        return loss, accuracy


@dataclass
class DistributedLoop(loop.TrainingLoop):
    """The loop of the chief, which alone writes and shows what all workers train."""

    group: WorkerGroup = field(kw_only=True)

    def __post_init__(self) -> None:
        """Prepare what all epochs share."""
        super().__post_init__()
        self._scorer = DistributedHeldOutEvaluator(self.network, self.group)
        lanes = self.network.input_shape[0]
        self.rows = slice(lanes * self.group.worker, lanes * (self.group.worker + 1))

    def train(self) -> None:
        """Train as one machine does; raise InputError where another worker dies or hangs."""
        try:
            distribute(self.network, self.group)
            super().train()
        except tf.errors.OpError as error:
            raise InputError(
                f"{self._who(str(error))} has gone or hangs, in epoch {self.done + 1}, of which "
                f"nothing is saved. {self._save_last()} The same commands go on from there"
            ) from error

    def _who(self, error: str) -> str:
        """Name the worker that an error of TensorFlow is about, as far as it says."""
        others = {*range(len(self.group.workers))} - {self.group.worker}
        if len(others) > 1:
            others &= {int(number) for number in re.findall(r"/task:(\d+)", error)}
        if len(others) != 1:
            return "another worker"
        (number,) = others
        return f"worker {number} at {self.group.workers[number]}"


@dataclass
class WorkerLoop(DistributedLoop):
    """The loop of the other workers, which write and show nothing."""

    best: Mapping[str, float] = field(kw_only=True)  # what the chief says of its best checkpoint

    def __post_init__(self) -> None:
        """Take the chief's best for the best."""
        super().__post_init__()
        self._best_loss = self.best.get("val_loss", math.inf)
        self._best_epoch = self.best.get("epoch", 0)

    def _write(self, path: Path) -> None:
        pass

    def _save_last(self) -> str:
        return "The first worker saves the last whole epoch."


class NullLog(log.TrainingLog):
    """A log that writes no file, for workers other than the chief."""

    def _write(self) -> None:
        pass

    def draw(self) -> None:
        """Draw nothing."""


def run_worker(
    settings: RunSettings,
    config: WorkerConfig,
    dataset: Dataset,
    build: Callable[[], keras.Model],
) -> None:
    """Train what the chief trains; `build` builds the network."""
    chief = rendezvous.wait_for_workers(config, settings)
    epoch, best = chief["epoch"], chief["best"]
    if epoch >= settings.train.epochs:
        return
    group = connect(config)
    log_file = NullLog(settings.train.log_dir, epoch)
    WorkerLoop(settings, build(), dataset, log_file, epoch, group=group, best=best).train()
