"""Measure how fast music is drawn, and how long one waits for it.

    python benchmarks/sample.py

Ours stands beside a loop around `model.predict`, a loop around a compiled step, and, for the wait
from typing a command to the file, a bare `import tensorflow`. In every round each takes its turn,
so that a busy machine slows all of them alike. Weights are fresh unless --model-dir names trained
ones, which change little: only how many choices are made again in a lane alone.
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
from pathlib import Path
from typing import Any

# The project is run from its folder, not installed: its modules are one folder up.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import sample  # noqa: E402 - ours, one folder up, not this file

Work = tuple[int, Callable[[], object]]  # tokens, and what draws them
PREDICT, OURS, OURS_64 = "model.predict loop, 1 piece", "ours, 1 piece", "ours, 64 pieces"
STRICT, STRICT_64 = "ours, 1 piece, a grammar", "ours, 64 pieces, a grammar"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        description="Measure how fast music is drawn.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns that each contender takes")
    parser.add_argument("--vocabulary", type=int, default=400, help="tokens the network knows")
    parser.add_argument("--model-dir", type=Path, help="a trained model (none = fresh weights)")
    return parser.parse_args(argv)


def make_model(folder: Path, size: int) -> None:
    """Save a network of the default size with fresh weights, as train.py does."""
    import model
    from midilstm.tokens import encoding
    from midilstm.tokens import vocabulary as vocabularies

    chords = (f"{a}.{b}.{c}" for a in range(12) for b in range(a) for c in range(b))
    tokens = [*dict.fromkeys((vocabularies.END, *encoding.NAMES, *chords))][:size]
    vocabularies.Vocabulary(tuple(tokens)).save(folder / vocabularies.VOCABULARY)
    network = model.build_model(len(tokens), batch_size=1, sequence_length=1)
    model.save(network, folder / "epoch-0001.keras")
    sizes = {"vocabulary_size": len(tokens), "embedding_size": 512, "units": 256, "layers": 3}
    (folder / "settings.json").write_text(json.dumps({"network": {**sizes, "dropout": 0.2}}))


def toy_follow(state: tuple[int, int], number: int) -> tuple[int, int] | None:
    """Follow rules of about the size of a band's: 200 states, in each an eighth of all ids."""
    kind, place = state
    if number % 8 != (kind + 1) % 8:
        return None
    return (kind + 1) % 8, number // 8 % 25 if kind == 7 else place


def contenders(folder: Path) -> dict[str, Work]:
    """Return what is measured in this process, by name."""
    import numpy as np

    import model
    from midilstm import runs
    from midilstm.sampling import choose, loop
    from midilstm.tokens import grammar

    network = sample.open_model(folder, None).network
    settings = runs.load_settings(folder)["network"]
    checkpoint = runs.choose(folder)

    def keras(count: int) -> Any:
        built = model.build_model(batch_size=count, sequence_length=1, **settings)
        model.load(built, checkpoint)
        return built

    rules = grammar.Grammar(toy_follow, settings["vocabulary_size"], (7, 0))

    def ours(count: int, length: int, rules: grammar.Grammar | None = None) -> Work:
        seeds, knobs = range(count), choose.Knobs()
        return count * length, lambda: loop.generate(network, seeds, length, knobs, grammar=rules)

    def looped(step: Callable[[Any], Any], count: int, length: int) -> Work:
        def draw() -> None:
            rng, ids = np.random.default_rng(0), np.zeros(count, np.int32)
            for _ in range(length):
                noise = choose.race(rng, (count, settings["vocabulary_size"]))
                ids = choose.choose_rows(
                    np.log(step(ids)), noise, choose.Knobs(), np.zeros((count, 0), np.intp)
                )[0]

        return count * length, draw

    one, compiled, compiled_64 = keras(1), model.stepper(keras(1)), model.stepper(keras(64))
    return {
        PREDICT: looped(lambda ids: one.predict(ids[:, None], verbose=0)[:, 0], 1, 10),
        "compiled step, 1 piece": looped(compiled, 1, 100),
        OURS: ours(1, 500),
        STRICT: ours(1, 500, rules),
        "ours, 8 pieces": ours(8, 200),
        "compiled step, 64 pieces": looped(compiled_64, 64, 10),
        OURS_64: ours(64, 200),
        STRICT_64: ours(64, 200, rules),
    }


def timed(work: Callable[[], object], processor: Callable[[], float]) -> tuple[float, float]:
    """Return the wall and processor seconds that some work takes."""
    began, used = time.perf_counter(), processor()
    work()
    return time.perf_counter() - began, processor() - used


def children() -> float:
    """Return the processor seconds of all ended child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(folder: Path, output: Path) -> dict[str, list[str]]:
    """Return the command lines whose whole wall time is measured."""
    places = [f"--model-dir={folder}", f"--output-dir={output}"]
    python = sys.executable
    return {
        "import tensorflow": [python, "-c", "import tensorflow"],
        "sample.py --chars=100": [python, str(ROOT / "sample.py"), "--chars=100", *places],
        "import music21.midi": [python, "-c", "from music21 import midi"],
    }


def measure(folder: Path, output: Path, rounds: int) -> tuple[dict[str, Any], ...]:
    """Return what is shown of contenders, of commands, and of grammars."""
    from tqdm import tqdm

    works, lines = contenders(folder), commands(folder, output)
    drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    waited: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    for number in tqdm(range(-1, rounds), unit="round", disable=None):
        for name, (_, work) in works.items():
            pair = timed(work, time.process_time)
            drawn[name] += [pair] * (number >= 0)  # the first round warms up
        for name, line in lines.items():
            run = lambda line=line: subprocess.run(line, check=True, capture_output=True)  # noqa: E731
            pair = timed(run, children)
            waited[name] += [pair] * (number >= 0)
    tokens = {name: work[0] for name, work in works.items()}
    return (
        {name: rates(tokens[name], drawn[name], drawn[PREDICT]) for name in works},
        {name: waits(waited[name], waited["import tensorflow"]) for name in lines},
        {
            "1 piece": costs(drawn[STRICT], drawn[OURS]),
            "64 pieces": costs(drawn[STRICT_64], drawn[OURS_64]),
        },
    )


def rates(
    tokens: int, pairs: list[tuple[float, float]], predict: list[tuple[float, float]]
) -> dict[str, float]:
    """Return tokens a second, and how many times a predict loop's (10 tokens) that is."""
    ratios = [tokens / own[0] / (10 / other[0]) for own, other in zip(pairs, predict, strict=True)]
    return {
        "median": tokens / statistics.median(wall for wall, _ in pairs),
        "best": tokens / min(wall for wall, _ in pairs),
        "a processor second": tokens / statistics.median(used for _, used in pairs),
        "times predict": statistics.median(ratios),
    }


def waits(
    pairs: list[tuple[float, float]], reference: list[tuple[float, float]]
) -> dict[str, float]:
    """Return seconds, and what part of a bare import of TensorFlow they are."""
    return {
        "median": statistics.median(wall for wall, _ in pairs),
        "best": min(wall for wall, _ in pairs),
        "processor": statistics.median(used for _, used in pairs),
        "of import tensorflow": statistics.median(
            own[0] / other[0] for own, other in zip(pairs, reference, strict=True)
        ),
    }


def costs(pairs: list[tuple[float, float]], free: list[tuple[float, float]]) -> dict[str, float]:
    """Return how many times the seconds without a grammar those with one are."""
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(pairs, free, strict=True)]
    wall, used = zip(*ratios, strict=True)
    return {"wall": statistics.median(wall), "processor": statistics.median(used)}


def show(title: str, table: dict[str, dict[str, float]], digits: int) -> None:
    """Print a table of numbers under its title."""
    columns = list(next(iter(table.values())))
    width = max(len(name) for name in (title, *table))
    print(f"\n{title:<{width}}" + "".join(f"  {column:>20}" for column in columns))
    for name, row in table.items():
        print(f"{name:<{width}}" + "".join(f"  {row[column]:>20,.{digits}f}" for column in columns))


def main(argv: list[str] | None = None) -> int:
    """Measure everything, print three tables and a JSON line."""
    args = parse_args(argv)
    sample.use_one_thread()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model_dir or Path(temporary)
        if not args.model_dir:
            make_model(folder, args.vocabulary)
        drawn, waited, grammars = measure(folder, Path(temporary) / "output", args.rounds)
    show("tokens a second", drawn, 1)
    show("seconds from typing to the end", waited, 3)
    show("with a grammar, times without", grammars, 3)
    found = {"tokens_a_second": drawn, "seconds": waited, "grammar": grammars}
    print(json.dumps({"load": os.getloadavg()[0], **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
