"""How much memory a network takes to train, and how much there is. Knows no Keras."""

from pathlib import Path
from typing import Any

from midilstm.fileio import InputError

BASE = 850e6  # bytes of Python and TensorFlow themselves
LIMITS = (  # of a container: what it may have, what it has
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def check_ram(network: dict[str, Any], lanes: int, length: int, *, ema: float) -> None:
    """Raise InputError where training would take more memory than this machine has left."""
    needed, there = bytes_needed(network, lanes, length, ema=ema), available()
    if there is not None and needed > there:
        raise InputError(
            f"training this network takes about {needed / 1e9:,.1f} GB of memory and "
            f"{there / 1e9:,.1f} GB are free: lower --units, --layers, --embedding-size, "
            "--batch-size or --seq-length, or try all the same with --force"
        )


def bytes_needed(network: dict[str, Any], lanes: int, length: int, *, ema: float) -> float:
    """Estimate the bytes that training takes, from the sizes of the network and of [B, T]."""
    vocabulary, rows, units = (
        network[name] for name in ("vocabulary_size", "embedding_size", "units")
    )
    layers = network["layers"]
    weights = vocabulary * rows + 4 * units * (rows + units + (layers - 1) * 2 * units)
    weights += (units + 1) * vocabulary
    # Weights, gradients, two moments, averages: once for training, once for the last whole epoch.
    copies = 2 * (5 if ema else 4) + 3  # and while a checkpoint is written
    # What the way back remembers of each token; and probabilities and one-hot targets.
    remembered = 3 * rows + 20 * units * layers + 6 * vocabulary
    return BASE + 4 * (copies * weights + lanes * length * remembered)


def available(
    proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the bytes that are free here or, if less, in this container; None where unknown."""
    found = []
    if proc.exists():
        lines = (line.split() for line in proc.read_text().splitlines())
        found += [int(size) * 1024 for name, size, *_ in lines if name == "MemAvailable:"]
    for limit, used in LIMITS:
        texts = [(group / name).read_text() for name in (limit, used) if (group / name).exists()]
        if len(texts) == 2 and texts[0].strip().isdecimal():  # else "max": no limit
            found.append(int(texts[0]) - int(texts[1]))
    return min(found, default=None)
