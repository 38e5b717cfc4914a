"""Time a training step on one core, on two cores, and with two workers on one core each.

    python benchmarks/scaling.py

Processes are pinned with taskset (Linux). Each mode runs alone, round after round, so that a busy
machine slows all modes alike. scaling.md has the results.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import markdown_head, markdown_row

SIZES: dict[str, dict[str, Any]] = {
    "default": {"units": 256, "layers": 2},
    "three layers": {"units": 256, "layers": 3},
    "512 units": {"units": 512, "layers": 2},
    "512 units, three layers": {"units": 512, "layers": 3},
}
LENGTH, VOCABULARY, WARM_UP = 64, 400, 3
MODES = ("one core", "two threads", "two workers", "two workers, no exchange")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=show_defaults)
    add = parser.add_argument
    add("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE", help="networks")
    add("--modes", nargs="+", choices=MODES, default=list(MODES), metavar="MODE", help="modes")
    add("--rows", nargs="+", type=int, default=[16], help="rows of the whole batch")
    add("--rounds", type=int, default=3, help="runs of each mode")
    add("--steps", type=int, default=20, help="timed steps per run")
    add("--port", type=int, default=9600, help="the first of two free ports")
    add("--paper", action="store_true", help="print the calculated speeds, without measuring")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def time_steps(job: dict[str, Any]) -> dict[str, Any]:
    """Train random batches, alone or as one of several workers; return medians in milliseconds."""
    import model
    from midilstm.config import ModelConfig, WorkerConfig
    from midilstm.training import distributed

    config = WorkerConfig(workers=tuple(job["workers"]), worker=job["worker"], worker_timeout=60)
    add = distributed.connect(config) if job["workers"] else None
    network = model.build_model(
        ModelConfig(units=job["units"], layers=job["layers"]),
        VOCABULARY,
        batch_size=job["rows"],
        sequence_length=LENGTH,
    )
    model.compile_for_training(network, 3e-3, ema=0.98)
    if add:
        distributed.distribute(network, config, add)
    if job["no_exchange"]:
        network.train_on_batch = distributed.make_step(network, 2, add_nothing)
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.integers(0, VOCABULARY, (job["rows"], LENGTH)).astype("int32")
    y = np.eye(VOCABULARY, dtype="float32")[rng.integers(0, VOCABULARY, x.shape)]
    samples: dict[str, list[float]] = {"ms": [], "processor_ms": [], "bytes": []}
    for _ in range(WARM_UP + job["steps"]):
        start, busy, bytes_before = time.perf_counter(), time.process_time(), loopback_bytes()
        network.train_on_batch(x, y)
        samples["ms"].append(1e3 * (time.perf_counter() - start))
        samples["processor_ms"].append(1e3 * (time.process_time() - busy))
        samples["bytes"].append(loopback_bytes() - bytes_before)
    medians = {name: statistics.median(values[WARM_UP:]) for name, values in samples.items()}
    return {**medians, "parameters": network.count_params()}


def add_nothing(values: list[Any]) -> list[Any]:
    """Do the same work as two workers' sum, but exchange nothing."""
    import tensorflow as tf

    def add(value: Any) -> Any:
        if isinstance(value, tf.IndexedSlices):
            rows, ids = (tf.concat([x, x], 0) for x in (value.values, value.indices))
            return tf.IndexedSlices(rows, ids, value.dense_shape)
        return value

    return [add(value) for value in values]


def loopback_bytes() -> int:
    """Return the bytes that this machine has sent to itself (Linux)."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return sum(int(line.split()[9]) for line in lines if line.strip().startswith("lo:"))


def run(mode: str, size: dict[str, Any], rows: int, args: argparse.Namespace) -> dict[str, Any]:
    """Run one mode in processes of its own; return the slowest worker's medians."""
    count = 2 if mode.startswith("two workers") else 1
    no_exchange = mode.endswith("no exchange")
    addresses = [f"127.0.0.1:{args.port + n}" for n in range(count)] if count > 1 else []
    job = {**size, "workers": addresses, "no_exchange": no_exchange, "steps": args.steps}
    processes = []
    for worker in range(count):
        job |= {"worker": worker, "rows": rows // count}
        cores = "0,1" if mode == "two threads" else str(worker)
        command = ["taskset", "-c", cores, sys.executable, __file__, f"--child={json.dumps(job)}"]
        start = partial(subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        processes.append(start(command, text=True))
    results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return max(results, key=lambda result: result["ms"])


# Milliseconds, three layers of 256, measured on a free machine: see scaling.md.
FIXED_MS, ROW_MS, MEGABYTE_MS = 8.3, 8.64, 3.1
DENSE, ROW = 1_940_880, 513  # parameters except the embedding's; numbers added per token


def megabytes_sent(workers: int, rows: int) -> float:
    """Return what a worker of `rows` rows sends per step: its part of sums in a ring, and rows."""
    sums = 2 * (workers - 1) / workers * DENSE
    embedding_rows = (workers - 1) * rows * LENGTH * ROW
    return 4 * (sums + embedding_rows) / 1e6


def calculate_speed(workers: int, rows: int, gigabits: float) -> float:
    """Return the tokens per second of workers with `rows` rows each, relative to one worker's."""
    sent = megabytes_sent(workers, rows)
    step = FIXED_MS + ROW_MS * rows + sent * max(MEGABYTE_MS, 8 / gigabits)
    return workers * rows / step / (rows * workers / (FIXED_MS + ROW_MS * rows * workers))


def print_calculated() -> None:
    """Print speed against one worker with the whole batch, by workers, batch and network."""
    head = ["workers", "rows each", "whole batch", "MB sent"]
    print(*markdown_head([*head, "1 Gbit/s", "10 Gbit/s", "100 Gbit/s"]), sep="\n")
    for workers in (2, 4, 8, 16, 32, 64):
        for rows in sorted({max(1, 64 // workers), 16, 64}):
            speeds = [f"{calculate_speed(workers, rows, speed):.1f}" for speed in (1, 10, 100)]
            row = [workers, rows, workers * rows, f"{megabytes_sent(workers, rows):.0f}", *speeds]
            print(markdown_row(row))


def measure_modes(name: str, rows: int, args: argparse.Namespace) -> list[str]:
    """Return a table row for each mode, of its fastest round."""
    results: dict[str, list[dict[str, Any]]] = {mode: [] for mode in args.modes}
    for _ in range(args.rounds):
        for mode in args.modes:
            results[mode].append(run(mode, SIZES[name], rows, args))
    best = {mode: min(rounds, key=lambda x: x["ms"]) for mode, rounds in results.items()}
    lines = []
    for mode, result in best.items():
        megabytes = result["bytes"] / 2e6 if mode == "two workers" else 0
        cells = [name, rows, mode, f"{result['ms']:.1f}", f"{result['processor_ms']:.1f}"]
        efficiency = ""
        if mode != "one core" and "one core" in best:
            efficiency = f"{best['one core']['ms'] / result['ms'] / 2:.2f}"
        lines.append(markdown_row([*cells, f"{megabytes:.1f}", efficiency]))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table row for each size, number of batch rows and mode."""
    args = parse_args(argv)
    if args.child:
        print(json.dumps(time_steps(json.loads(args.child))))
        return
    if args.paper:
        print_calculated()
        return
    head = ["network", "rows", "mode", "ms per step", "processor ms", "MB sent", "efficiency"]
    print(*markdown_head(head), sep="\n", flush=True)
    for name in args.sizes:
        for rows in args.rows:
            print(*measure_modes(name, rows, args), sep="\n", flush=True)


if __name__ == "__main__":
    main()
