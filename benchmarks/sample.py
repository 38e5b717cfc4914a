"""Measure the speed of sampling, in tokens per second and for a whole command.

    python benchmarks/sample.py

It is compared with a loop around `model.predict`, a loop around a compiled step, and, for the whole
command, with `import tensorflow` alone. All take turns in every round, so that a busy machine slows
them alike. Weights are random unless --model-dir names a trained model, which changes little.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from midilstm.cli import use_one_thread  # noqa: E402

Work = tuple[int, Callable[[], object]]  # tokens, and what draws them
Times = list[tuple[float, float]]  # wall and processor seconds, one pair per round
PREDICT, TENSORFLOW = "model.predict loop, 1 piece", "import tensorflow"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description="Measure the speed of sampling.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns per program")
    parser.add_argument("--vocabulary", type=int, default=400, help="size of the vocabulary")
    parser.add_argument("--model-dir", type=Path, help="a trained model (none = random weights)")
    return parser.parse_args(argv)


def make_model(folder: Path, size: int) -> None:
    """Save a network of the default size with random weights, as train.py does."""
    import model
    from midilstm import model_dir
    from midilstm.config import DataConfig, ModelConfig, TrainConfig
    from midilstm.tokenizers.vocabulary import END, Vocabulary

    chords = (".".join(map(str, c)) for n in (3, 4) for c in combinations(range(12), n))
    names = (f"{step}{octave}" for octave in range(9) for step in "CDEFGAB")
    tokens = [END, *names, *chords][:size]
    Vocabulary(tuple(tokens)).save(folder / model_dir.VOCABULARY)
    config = ModelConfig(layers=3, dropout=0.2, input_dropout=0)
    network = model.build_model(config, len(tokens), batch_size=1, sequence_length=1)
    network.save(folder / "epoch-0001.keras")
    dataset = model_dir.DatasetSummary(vocabulary_size=len(tokens))
    settings = model_dir.RunSettings(
        model=config, data=DataConfig(), train=TrainConfig(), dataset=dataset
    )
    model_dir.save_settings(folder, settings)


def toy_rules(state: tuple[int, int], token_id: int) -> tuple[int, int] | None:
    """Allow an eighth of all ids in each of 200 states, which is about the size of remi's rules."""
    kind, position = state
    if token_id % 8 != (kind + 1) % 8:
        return None
    return (kind + 1) % 8, token_id // 8 % 25 if kind == 7 else position


def programs(folder: Path) -> dict[str, Work]:
    """Return what is measured in this process: name → tokens and a function."""
    import numpy as np
    import tensorflow as tf

    import model
    from midilstm.config import SamplingConfig
    from midilstm.generation.generate import generate
    from midilstm.generation.loaded_model import open_model
    from midilstm.generation.sampler import gumbel_noise, sample_tokens
    from midilstm.model_dir import load_settings
    from midilstm.repetition.match_model import MatchModel, MatchWeights, bars_per_token
    from midilstm.tokenizers.grammar import Grammar

    loaded, settings = open_model(folder, None), load_settings(folder)
    size = settings.dataset.vocabulary_size
    rules = Grammar(toy_rules, size, (7, 0))

    def keras(count: int) -> Any:
        network = model.build_model(settings.model, size, batch_size=count, sequence_length=1)
        network.load_weights(loaded.checkpoint_path)
        return network

    def compiled(count: int) -> Callable[[Any], Any]:
        network = keras(count)
        step = tf.function(lambda ids: network(ids, training=False)[:, 0])
        return lambda ids: step(ids[:, None]).numpy()

    weights = MatchWeights(1.0, -4.0, -0.6, 0.7, 1.5, 1.7, -0.2, -0.7)
    weights, bars = loaded.match_weights or weights, bars_per_token(loaded.vocabulary)

    def ours(count: int, length: int, grammar: Any = None, memory: bool = False) -> Work:
        def draw() -> None:
            rules: dict[str, Any] = {"grammar": grammar}
            rules["match_model"] = MatchModel.begin(bars, weights) if memory else None
            generate(loaded.network, range(count), length, SamplingConfig(), **rules)

        return count * length, draw

    def loop(step: Callable[[Any], Any], count: int, length: int) -> Work:
        def draw() -> None:
            rngs, ids = [np.random.default_rng(0)] * count, np.zeros(count, np.int32)
            for _ in range(length):
                ids = sample_tokens(
                    np.log(step(ids)), gumbel_noise(rngs, size), SamplingConfig(), []
                )

        return count * length, draw

    one = keras(1)
    return {
        PREDICT: loop(lambda ids: one.predict(ids[:, None], verbose=0)[:, 0], 1, 10),
        "compiled step, 1 piece": loop(compiled(1), 1, 100),
        "ours, 1 piece": ours(1, 500),
        "ours, 1 piece, a memory": ours(1, 500, memory=True),
        "ours, 1 piece, a grammar": ours(1, 500, rules),
        "ours, 8 pieces": ours(8, 200),
        "compiled step, 64 pieces": loop(compiled(64), 64, 10),
        "ours, 64 pieces": ours(64, 200),
        "ours, 64 pieces, a memory": ours(64, 200, memory=True),
        "ours, 64 pieces, a grammar": ours(64, 200, rules),
    }


def timed(work: Callable[[], object], who: int) -> tuple[float, float]:
    """Return the wall and processor seconds of a function, here or in child processes."""
    before, start = resource.getrusage(who), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, resource.getrusage(who)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(folder: Path, output: Path) -> dict[str, list[str]]:
    """Return the command lines that are measured as a whole."""
    folders = [f"--model-dir={folder}", f"--output-dir={output}"]
    return {
        TENSORFLOW: [sys.executable, "-c", "import tensorflow"],
        "sample.py --chars=100": [sys.executable, str(ROOT / "sample.py"), "--chars=100", *folders],
    }


def measure(folder: Path, output: Path, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the table of the programs and that of the commands."""
    from tqdm import tqdm

    works, lines = programs(folder), commands(folder, output)
    drawn: dict[str, Times] = {name: [] for name in works}
    waited: dict[str, Times] = {name: [] for name in lines}
    for round_index in tqdm(range(-1, rounds), unit="round", disable=None):
        for name, (_, work) in works.items():
            drawn[name] += [timed(work, resource.RUSAGE_SELF)] * (
                round_index >= 0
            )  # one to warm up
        for name, line in lines.items():
            run = lambda line=line: subprocess.run(line, check=True, capture_output=True)  # noqa: E731
            waited[name] += [timed(run, resource.RUSAGE_CHILDREN)] * (round_index >= 0)
    speeds = {name: row(drawn[name], drawn[PREDICT]) for name in works}
    for name, (tokens, _) in works.items():
        ratio = speeds[name].pop("times")
        speeds[name] = {key: tokens / value for key, value in speeds[name].items()}
        speeds[name]["times predict"] = tokens / works[PREDICT][0] / ratio
    for name in ("ours, 1 piece", "ours, 64 pieces"):
        pairs = list(zip(drawn[name], drawn[f"{name}, a memory"], strict=True))
        wall, used = (statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1))
        tqdm.write(
            f"{name}: with a memory {wall:.0%} of the tokens, {used:.0%} per processor second"
        )
    return speeds, {name: row(waited[name], waited[TENSORFLOW]) for name in lines}


def row(times: Times, reference: Times) -> dict[str, float]:
    """Return medians of seconds, and of the ratio to the reference in the same round."""
    return {
        "median": statistics.median(wall for wall, _ in times),
        "best": min(wall for wall, _ in times),
        "processor": statistics.median(used for _, used in times),
        "times": statistics.median(a[0] / b[0] for a, b in zip(times, reference, strict=True)),
    }


def show(title: str, table: dict[str, dict[str, float]], digits: int) -> None:
    """Print a table of numbers under its title."""
    columns = list(next(iter(table.values())))
    width = max(len(name) for name in (title, *table))
    print(f"\n{title:<{width}}" + "".join(f"  {column:>14}" for column in columns))
    for name, values in table.items():
        print(f"{name:<{width}}" + "".join(f"  {values[x]:>14,.{digits}f}" for x in columns))


def main(argv: list[str] | None = None) -> int:
    """Measure everything, print two tables and a JSON line."""
    args = parse_args(argv)
    use_one_thread()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model_dir or Path(temporary)
        if not args.model_dir:
            make_model(folder, args.vocabulary)
        drawn, waited = measure(folder, Path(temporary) / "output", args.rounds)
    show("tokens per second", drawn, 0)
    show("seconds per command", waited, 3)
    print(json.dumps({"load": os.getloadavg()[0], "tokens_per_second": drawn, "seconds": waited}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
