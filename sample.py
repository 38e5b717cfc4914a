"""New music from a trained model: seeds, knobs, where output goes. Knows no layers, no batches."""

from __future__ import annotations

import preprocess  # isort: skip  # first: it says so when Python is too old

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import checkpoints
import encoding
from preprocess import InputError, Vocabulary, positive_int

if TYPE_CHECKING:
    import numpy as np

Step = Callable[["np.ndarray"], "np.ndarray"]


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [V] to the power 1 / temperature, summing to 1; 0 keeps the largest."""
    import numpy as np

    if temperature == 0:
        return np.eye(len(probabilities))[np.argmax(probabilities)]
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities.astype(np.float64)) / temperature
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def choose(probabilities: np.ndarray, rng: np.random.Generator, *, temperature: float = 1.0) -> int:
    """Draw the next id from probabilities [V]; the end of a piece is never drawn."""
    import numpy as np

    notes = np.array(probabilities, np.float64)
    notes[0] = 0  # preprocess.END: exactly the number asked for is written
    return int(rng.choice(len(notes), p=tempered(notes, temperature)))


def generate(
    step: Step, length: int, rng: np.random.Generator, *, temperature: float = 1.0
) -> list[int]:
    """Draw `length` ids, each from what `step` gives for the last one.

    `step` maps ids int32 [1] to probabilities [1, V]. The first id follows END, as a piece does.
    """
    import numpy as np

    ids = [0]
    while len(ids) <= length:
        probabilities = step(np.array([ids[-1]], np.int32))[0]
        ids.append(choose(probabilities, rng, temperature=temperature))
    return ids[1:]


def free_path(folder: Path, stem: str) -> Path:
    """Return folder/stem.mid, or with -2, -3 ... where that is taken."""
    path, number = folder / f"{stem}.mid", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.mid"
    return path


def sample(arguments: argparse.Namespace) -> None:
    """Load the model, draw the tokens and write the MIDI file."""
    checkpoint = checkpoints.choose(arguments.model_dir, arguments.checkpoint)
    settings = checkpoints.load_settings(arguments.model_dir)
    vocabulary = Vocabulary.load(arguments.model_dir / preprocess.VOCABULARY)
    if len(vocabulary) != settings["network"]["vocabulary_size"]:
        raise InputError(
            f"{arguments.model_dir} mixes two runs: {preprocess.VOCABULARY} has {len(vocabulary)} "
            f"tokens and {checkpoints.SETTINGS} says {settings['network']['vocabulary_size']}"
        )
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**32)
    print(f"Sampling {arguments.chars} tokens from {checkpoint} with --seed={seed}", flush=True)

    import numpy as np

    import model  # after the checks above: TensorFlow takes seconds to start

    network = model.build_model(batch_size=1, sequence_length=1, **settings["network"])
    model.load(network, checkpoint)
    rng = np.random.default_rng(seed)
    step = model.stepper(network)
    ids = generate(step, arguments.chars, rng, temperature=arguments.temperature)

    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    knobs = f"seed-{seed}_temperature-{arguments.temperature:g}_chars-{arguments.chars}"
    stem = f"{checkpoint.stem}_{knobs}"
    path = free_path(arguments.output_dir, stem)
    tokens = [vocabulary.tokens[number] for number in ids]
    encoding.write(
        tokens, path, vocabulary.encoding, bpm=arguments.bpm, instrument=arguments.instrument
    )
    print(f"Wrote {path}")


def temperature(text: str) -> float:
    """Read a temperature, zero or above, from the command line."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not zero or a positive number")
    return number


def bpm(text: str) -> float:
    """Read a tempo that a MIDI file can hold from the command line."""
    number = float(text)
    if not 4 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a tempo from 4 to 1000")
    return number


def program(text: str) -> int:
    """Read a General MIDI program from the command line."""
    number = int(text)
    if not 0 <= number <= 127:
        raise argparse.ArgumentTypeError(f"{text} is not a General MIDI program from 0 to 127")
    return number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make a new piece with the model that train.py trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--chars", type=positive_int, default=100, help="notes and chords to make")
    parser.add_argument(
        "--seed", type=int, help="makes the piece repeatable (none = drawn, printed)"
    )
    parser.add_argument(
        "--temperature",
        type=temperature,
        default=1.0,
        help="below 1 safer, above 1 wilder (0 = always the likeliest)",
    )
    parser.add_argument(
        "--checkpoint", default="latest", help="latest, best, or the number of an epoch"
    )
    parser.add_argument("--bpm", type=bpm, default=120, help="quarter notes a minute")
    parser.add_argument(
        "--instrument", type=program, default=0, help="General MIDI program, 0 to 127 (0 = piano)"
    )
    parser.add_argument(
        "--model-dir", type=Path, default=Path("model"), help="where the checkpoints are"
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("output"), help="where the music goes"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a piece; return the exit status."""
    arguments = parse_args(argv)
    return preprocess.run(lambda: sample(arguments))


if __name__ == "__main__":
    sys.exit(main())
