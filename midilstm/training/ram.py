"""Estimate the RAM that training a network takes, and compare it with what is free."""

from pathlib import Path

from midilstm.fileio import InputError
from midilstm.run_settings import RunSettings

BASE = 850e6  # bytes of Python and TensorFlow themselves


def check_ram(settings: RunSettings, rows: int) -> None:
    """Raise InputError where training `rows` rows of a batch would take more RAM than is free."""
    needed, free = bytes_needed(settings, rows), available()
    if free is not None and needed > free:
        raise InputError(
            f"training this network takes about {needed / 1e9:,.1f} GB of memory and "
            f"{free / 1e9:,.1f} GB are free: lower --units, --layers, --embedding-size, "
            "--batch-size or --seq-length, or try it nevertheless with --force"
        )


def bytes_needed(settings: RunSettings, rows: int) -> float:
    """Estimate the bytes that training takes, from the sizes of the network and of a batch."""
    config, vocabulary_size = settings.model, settings.dataset.vocabulary_size
    size, units, layers = config.embedding_size, config.units, config.layers
    weights = vocabulary_size * size + 4 * units * (size + units + (layers - 1) * 2 * units)
    weights += (units + 1) * vocabulary_size
    # Weights, gradients, two moments, averages: once for training, once for the last whole epoch.
    copies = 2 * (5 if settings.train.ema else 4) + 3  # three while a checkpoint is written
    # Per token: activations for the backward pass, probabilities and one-hot targets.
    per_token = 3 * size + 20 * units * layers + 6 * vocabulary_size
    return BASE + 4 * (copies * weights + rows * settings.train.seq_length * per_token)


def available(
    proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the bytes that are free here or, if less, in this container; None where unknown."""
    sizes = []
    if proc.exists():
        lines = (line.split() for line in proc.read_text().splitlines())
        sizes += [int(size) * 1024 for name, size, *_ in lines if name == "MemAvailable:"]
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and limit.read_text().strip().isdecimal():  # else "max": no limit
        sizes.append(int(limit.read_text()) - int(used.read_text()))
    return min(sizes, default=None)
