"""Time a training step of the classic network with this project's LSTM, stock Keras and PyTorch.

    python benchmarks/train_step.py --quick

All run in one process, one step each in turn, so that a busy machine slows all of them alike.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import markdown_head, markdown_row

EMBEDDING = 512
DROPOUT = 0.2
PEAK_SIDE = 2048
RATIOS = [("stock", "ours"), ("stock", "ours_jit"), ("ours_jit", "torch")]


@dataclass(frozen=True)
class Size:
    """One network and batch."""

    layers: int = 3
    units: int = 256
    vocabulary: int = 400
    batch: int = 16
    length: int = 64

    @property
    def operations(self) -> int:
        """Count the matrix products' additions and multiplications in one training step."""
        inputs = [EMBEDDING] + [self.units] * (self.layers - 1)
        weights = sum((x + self.units) * 4 * self.units for x in inputs)
        weights += self.units * self.vocabulary
        # Two for multiply and add; one product forwards, two backwards.
        return 6 * self.batch * self.length * weights


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed steps per implementation")
    parser.add_argument(
        "--patience",
        type=float,
        default=60,
        help="seconds to wait, for each size, for rounds undisturbed by other programs",
    )
    parser.add_argument("--quick", action="store_true", help="the default size alone, 5 rounds")
    return parser.parse_args(argv)


def get_sizes(*, quick: bool) -> list[Size]:
    """Return the default size and, unless quick, one change at a time."""
    default = Size()
    changes: list[dict[str, int]] = [
        {"layers": 1},
        {"layers": 2},
        {"units": 128},
        {"units": 512},
        {"vocabulary": 4000},
        {"length": 32},
        {"length": 128},
        {"batch": 8},
        {"batch": 32},
    ]
    return [default] if quick else [default, *(replace(default, **change) for change in changes)]


def build_network(lstm_class: Any, size: Size, *, jit_compile: bool) -> Any:
    """Return the compiled classic network with the given LSTM class."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(size.batch, size.length), dtype="int32")
    x = keras.layers.Embedding(size.vocabulary, EMBEDDING)(inputs)
    for _ in range(size.layers):
        x = lstm_class(size.units, return_sequences=True, stateful=True)(x)
        x = keras.layers.Dropout(DROPOUT)(x)
    outputs = keras.layers.Dense(size.vocabulary, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="categorical_crossentropy", jit_compile=jit_compile)
    return model


def make_torch_step(size: Size, ids: Any, targets: Any) -> Callable[[], float]:
    """Return a function that trains the same network one step in PyTorch and returns the loss."""
    import torch

    torch.manual_seed(0)
    embed = torch.nn.Embedding(size.vocabulary, EMBEDDING)
    between = DROPOUT if size.layers > 1 else 0.0
    lstm = torch.nn.LSTM(EMBEDDING, size.units, size.layers, batch_first=True, dropout=between)
    drop, dense = torch.nn.Dropout(DROPOUT), torch.nn.Linear(size.units, size.vocabulary)
    modules = torch.nn.ModuleList([embed, lstm, drop, dense])
    optimizer = torch.optim.Adam(modules.parameters(), eps=1e-7)
    state = [torch.zeros(size.layers, size.batch, size.units) for _ in range(2)]
    ids, targets = torch.from_numpy(ids.astype("int64")), torch.from_numpy(targets)

    def step() -> float:
        nonlocal state
        optimizer.zero_grad()
        hidden, last = lstm(embed(ids), tuple(state))
        state = [part.detach() for part in last]
        logits = dense(drop(hidden)).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, targets.flatten(0, 1))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def make_steps(size: Size) -> dict[str, Callable[[], Any]]:
    """Return functions that take one step, by name; PyTorch only where it is installed."""
    import keras
    import tensorflow as tf

    from midilstm.training.lstm import LSTM

    keras.backend.clear_session()
    rng = np.random.default_rng(0)
    ids = rng.integers(0, size.vocabulary, (size.batch, size.length + 1)).astype("int32")
    targets = np.zeros((size.batch, size.length, size.vocabulary), "float32")
    np.put_along_axis(targets, ids[:, 1:, None], 1, 2)
    square = tf.random.normal([PEAK_SIDE, PEAK_SIDE])
    multiply = tf.function(lambda: tf.matmul(square, square))
    models = {
        "stock": build_network(keras.layers.LSTM, size, jit_compile=False),
        "ours": build_network(LSTM, size, jit_compile=False),
        "ours_jit": build_network(LSTM, size, jit_compile=True),
    }
    steps: dict[str, Callable[[], Any]] = {
        name: functools.partial(model.train_on_batch, ids[:, :-1], targets)
        for name, model in models.items()
    }
    try:
        steps["torch"] = make_torch_step(size, ids[:, :-1], targets)
    except ModuleNotFoundError:
        print("PyTorch is not installed: its column is left out.", file=sys.stderr)
    return {**steps, "peak": lambda: multiply().numpy()}


def read_busy_seconds() -> float:
    """Return the processor seconds that all other programs have used since start (Linux only)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, *interrupts = (int(x) / os.sysconf("SC_CLK_TCK") for x in fields)
    return user + nice + system + sum(interrupts) - time.process_time()


def time_rounds(
    steps: dict[str, Callable[[], Any]], rounds: int, patience: float
) -> tuple[list[dict[str, float]], float]:
    """Return seconds by name for each round, and other programs' mean share of the machine.

    Rounds in which others took over a tenth of the machine are left out and repeated, for at most
    `patience` seconds; if fewer than three quiet ones come, all rounds are returned.
    """
    kept: list[tuple[dict[str, float], float]] = []
    noisy: list[tuple[dict[str, float], float]] = []
    end = time.monotonic() + patience
    while len(kept) < rounds and not (time.monotonic() > end and len(kept + noisy) >= rounds):
        seconds, busy, began = {}, read_busy_seconds(), time.perf_counter()
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name] = time.perf_counter() - start
        capacity = (time.perf_counter() - began) * (os.cpu_count() or 1)
        others = max(0.0, read_busy_seconds() - busy) / capacity
        (kept if others < 0.1 else noisy).append((seconds, others))
    chosen = kept if len(kept) >= 3 else kept + noisy
    return [seconds for seconds, _ in chosen], statistics.mean(others for _, others in chosen)


def time_steps(size: Size, rounds: int, patience: float) -> dict[str, Any]:
    """Return median seconds by name, first-step seconds, ratios and the machine's peak."""
    steps = make_steps(size)
    first: dict[str, float] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        first[name] = time.perf_counter() - start
        step()
    timed, others = time_rounds(steps, rounds, patience)
    names = [name for name in steps if name != "peak"]
    # A ratio within each round, since the machine's load changes between rounds.
    ratios = {
        f"{name}/{base}": statistics.median(round_[name] / round_[base] for round_ in timed)
        for name, base in RATIOS
        if base in names
    }
    peak = 2 * PEAK_SIDE**3 / statistics.median(round_["peak"] for round_ in timed)
    seconds = {name: statistics.median(round_[name] for round_ in timed) for name in names}
    return {
        **asdict(size),
        "seconds": seconds,
        "first": {name: first[name] for name in names},
        "ratios": ratios,
        "peak_gflops": peak / 1e9,
        "share_of_peak": size.operations / seconds["ours_jit"] / peak,
        "rounds": len(timed),
        "others": others,
    }


def format_row(result: dict[str, Any]) -> str:
    """Return one Markdown table row: sizes, median milliseconds, ratios, shares."""
    sizes = [str(result[name]) for name in asdict(Size())]
    times = [
        f"{result['seconds'][name] * 1e3:.0f}" if name in result["seconds"] else ""
        for name in ("stock", "ours", "ours_jit", "torch")
    ]
    ratios = [
        f"{result['ratios'][name]:.2f}" if name in result["ratios"] else ""
        for name in map("/".join, RATIOS)
    ]
    shares = [f"{result['share_of_peak']:.0%}", f"{result['others']:.0%}"]
    return markdown_row([*sizes, *times, *ratios, *shares])


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table row for each size as it is measured, then everything as one JSON line."""
    args = parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    columns = [*asdict(Size()), "stock ms", "ours ms", "ours, jit ms", "torch ms"]
    columns += ["stock/ours", "stock/jit", "jit/torch", "jit of peak", "others"]
    print(*markdown_head(columns), sep="\n")
    results = []
    for size in get_sizes(quick=args.quick):
        results.append(time_steps(size, 5 if args.quick else args.rounds, args.patience))
        print(format_row(results[-1]), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
