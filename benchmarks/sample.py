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
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.results import print_table
from midilstm.cli import use_one_thread

ROOT = Path(__file__).resolve().parent.parent
Times = list[tuple[float, float]]  # wall and processor seconds, one pair per round
PREDICT, TENSORFLOW = "model.predict loop, 1 piece", "import tensorflow"


@dataclass(frozen=True)
class Program:
    """A function that draws a number of tokens."""

    tokens: int
    draw: Callable[[], object]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
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
    from midilstm.run_settings import DatasetSummary, RunSettings
    from midilstm.tokenizers.vocabulary import END, Vocabulary

    chords = (".".join(map(str, c)) for n in (3, 4) for c in combinations(range(12), n))
    names = (f"{step}{octave}" for octave in range(9) for step in "CDEFGAB")
    tokens = [END, *names, *chords][:size]
    Vocabulary(tuple(tokens)).save(folder / model_dir.VOCABULARY)
    config = ModelConfig(layers=3, dropout=0.2, input_dropout=0)
    network = model.build_model(config, len(tokens), batch_size=1, sequence_length=1)
    network.save(folder / "epoch-0001.keras")
    dataset = DatasetSummary(vocabulary_size=len(tokens))
    settings = RunSettings(model=config, data=DataConfig(), train=TrainConfig(), dataset=dataset)
    model_dir.save_settings(folder, settings)


def toy_rules(state: tuple[int, int], token_id: int) -> tuple[int, int] | None:
    """Allow an eighth of all ids in each of 200 states, about as many states as remi has."""
    kind, position = state
    if token_id % 8 != (kind + 1) % 8:
        return None
    return (kind + 1) % 8, token_id // 8 % 25 if kind == 7 else position


def keras_programs(model_dir: Path) -> dict[str, Program]:
    """Return loops around Keras's predict and around a compiled step."""
    import numpy as np
    import tensorflow as tf

    import model
    from midilstm.config import SamplingConfig
    from midilstm.generation.token_sampling import gumbel_noise, sample_tokens
    from midilstm.model_dir import load_settings, select_checkpoint

    settings = load_settings(model_dir)
    size = settings.dataset.vocabulary_size

    def load(rows: int) -> Any:
        network = model.build_model(settings.model, size, batch_size=rows, sequence_length=1)
        network.load_weights(select_checkpoint(model_dir))
        return network

    def compiled_step(rows: int) -> Callable[[Any], Any]:
        network = load(rows)
        step = tf.function(lambda ids: network(ids, training=False)[:, 0])
        return lambda ids: step(ids[:, None]).numpy()

    def loop(step: Callable[[Any], Any], rows: int, length: int) -> Program:
        def draw() -> None:
            rngs, ids = [np.random.default_rng(0)] * rows, np.zeros(rows, np.int32)
            for _ in range(length):
                log_probs, noise = np.log(step(ids)), gumbel_noise(rngs, size)
                ids = sample_tokens(log_probs, noise, SamplingConfig(), [])

        return Program(rows * length, draw)

    one = load(1)
    return {
        PREDICT: loop(lambda ids: one.predict(ids[:, None], verbose=0)[:, 0], 1, 10),
        "compiled step, 1 piece": loop(compiled_step(1), 1, 100),
        "compiled step, 64 pieces": loop(compiled_step(64), 64, 10),
    }


def numpy_programs(model_dir: Path) -> dict[str, Program]:
    """Return this project's sampling, plain, with a match model and with a grammar."""
    from midilstm.config import SamplingConfig
    from midilstm.generation.loaded_model import open_model
    from midilstm.generation.sampler import Sampler
    from midilstm.repetition.match_model import MatchWeights
    from midilstm.tokenizers.grammar import Grammar

    loaded = open_model(model_dir, None)
    grammar = Grammar(toy_rules, len(loaded.vocabulary), (7, 0))
    weights = MatchWeights(1.0, -4.0, -0.6, 0.7, 1.5, 1.7, -0.2, -0.7)
    weights = loaded.match_weights or weights

    def program(
        rows: int, length: int, *, with_memory: bool = False, with_grammar: bool = False
    ) -> Program:
        def draw() -> None:
            config = SamplingConfig(chars=length, memory=float(with_memory))
            sampler = Sampler(loaded.network, loaded.vocabulary, config, weights)
            if with_grammar:
                sampler.grammar, sampler.grammar_state = grammar, grammar.state_after([])
            sampler.draw(range(rows))

        return Program(rows * length, draw)

    return {
        "ours, 1 piece": program(1, 500),
        "ours, 1 piece, a memory": program(1, 500, with_memory=True),
        "ours, 1 piece, a grammar": program(1, 500, with_grammar=True),
        "ours, 8 pieces": program(8, 200),
        "ours, 64 pieces": program(64, 200),
        "ours, 64 pieces, a memory": program(64, 200, with_memory=True),
        "ours, 64 pieces, a grammar": program(64, 200, with_grammar=True),
    }


def measure_seconds(work: Callable[[], object], processes: int) -> tuple[float, float]:
    """Return the wall and processor seconds of a function, in this process or in its children."""
    before, start = resource.getrusage(processes), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, resource.getrusage(processes)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(model_dir: Path, output_dir: Path) -> dict[str, Callable[[], object]]:
    """Return functions that run a command line each."""
    folders = [f"--model-dir={model_dir}", f"--output-dir={output_dir}"]
    lines = {
        TENSORFLOW: ["-c", "import tensorflow"],
        "sample.py --chars=100": [str(ROOT / "sample.py"), "--chars=100", *folders],
    }
    return {
        name: partial(subprocess.run, [sys.executable, *line], check=True, capture_output=True)
        for name, line in lines.items()
    }


Table = dict[str, dict[str, float]]


def measure(model_dir: Path, output_dir: Path, rounds: int) -> tuple[Table, Table]:
    """Return the table of the programs and that of the commands."""
    from tqdm import tqdm

    programs = {**keras_programs(model_dir), **numpy_programs(model_dir)}
    lines = commands(model_dir, output_dir)
    drawn: dict[str, Times] = {name: [] for name in programs}
    waited: dict[str, Times] = {name: [] for name in lines}
    for _ in tqdm(range(rounds + 1), unit="round", disable=None):
        for name, program in programs.items():
            drawn[name].append(measure_seconds(program.draw, resource.RUSAGE_SELF))
        for name, run in lines.items():
            waited[name].append(measure_seconds(run, resource.RUSAGE_CHILDREN))
    for times in (*drawn.values(), *waited.values()):
        del times[0]  # a round to warm up
    speeds: Table = {}
    for name, program in programs.items():
        summary = summarize(drawn[name], drawn[PREDICT])
        ratio = summary.pop("ratio")
        speeds[name] = {key: program.tokens / value for key, value in summary.items()}
        speeds[name]["times predict"] = program.tokens / programs[PREDICT].tokens / ratio
    for name in ("ours, 1 piece", "ours, 64 pieces"):
        pairs = list(zip(drawn[name], drawn[f"{name}, a memory"], strict=True))
        wall, used = (statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1))
        tqdm.write(
            f"{name}: with a memory {wall:.0%} of the tokens, {used:.0%} per processor second"
        )
    return speeds, {name: summarize(waited[name], waited[TENSORFLOW]) for name in lines}


def summarize(times: Times, reference: Times) -> dict[str, float]:
    """Return medians of seconds, and of the ratio to the reference in the same round."""
    return {
        "median": statistics.median(wall for wall, _ in times),
        "best": min(wall for wall, _ in times),
        "processor": statistics.median(used for _, used in times),
        "ratio": statistics.median(a[0] / b[0] for a, b in zip(times, reference, strict=True)),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure everything, print two tables and a JSON line."""
    args = parse_args(argv)
    use_one_thread()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model_dir or Path(temporary)
        if not args.model_dir:
            make_model(folder, args.vocabulary)
        drawn, waited = measure(folder, Path(temporary) / "output", args.rounds)
    print_table("tokens per second", drawn)
    print_table("seconds per command", waited, 3)
    print(json.dumps({"load": os.getloadavg()[0], "tokens_per_second": drawn, "seconds": waited}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
