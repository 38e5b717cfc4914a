"""Measure the peak memory of training, for a small corpus and a large one.

    python benchmarks/train_memory.py

Each corpus consists of random ids from a vocabulary of 4,000 tokens. A separate process trains on
it for some steps, with the default network and train.py's batches, targets and prefetching.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the peak memory of training.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--vocabulary", type=int, default=4_000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="training steps, at most an epoch")
    parser.add_argument("--child", action="store_true", help="measure in this process")
    return parser.parse_args(argv)


def measure_training(tokens: int, vocabulary: int, layers: int, steps: int) -> dict[str, int]:
    """Train for some steps; return the peak memory of this process in MB."""
    import itertools
    import resource

    import numpy as np

    sys.path.insert(0, str(ROOT))
    import model
    from midilstm.config import ModelConfig
    from midilstm.data import batches

    rng = np.random.default_rng(0)
    pieces = [rng.integers(1, vocabulary, 1000).astype(np.int32) for _ in range(tokens // 1000)]
    keys = np.tile(np.arange(vocabulary, dtype=np.int32), (12, 1))
    network = model.build_model(
        ModelConfig(layers=layers), vocabulary, batch_size=16, sequence_length=64
    )
    model.compile_for_training(network, 1e-3)
    stream = batches.epoch_stream(pieces, rng, shuffle=True, transpositions=keys)
    prefetched = batches.prefetch(batches.batches(stream, 16, 64, vocabulary))
    trained_steps = 0
    for x, y in itertools.islice(prefetched, steps):
        network.train_on_batch(x, y)
        trained_steps += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"tokens": tokens, "steps": trained_steps, "peak_mb": peak}


def main(argv: Sequence[str] | None = None) -> int:
    """Print a JSON line for each corpus."""
    args = parse_args(argv)
    if args.child:
        peak = measure_training(args.tokens[0], args.vocabulary, args.layers, args.steps)
        print(json.dumps(peak))
        return 0
    for tokens in args.tokens:
        sizes = [f"--vocabulary={args.vocabulary}", f"--layers={args.layers}"]
        command = [sys.executable, __file__, "--child", f"--tokens={tokens}", *sizes]
        command.append(f"--steps={args.steps}")
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        print(result.stdout.splitlines()[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
