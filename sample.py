"""New music from a trained model: seeds, knobs, where output goes. Knows no layers, no batches."""

from __future__ import annotations

import preprocess  # isort: skip  # first: it says so when Python is too old

import argparse
import os
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checkpoints
import encoding
import recipe
from preprocess import InputError, Vocabulary, count, positive_int

if TYPE_CHECKING:
    import inference


@dataclass(frozen=True)
class Trained:
    """A model folder, ready to sample from."""

    checkpoint: Path
    network: inference.Network
    vocabulary: Vocabulary
    held_out_loss: float | None


def open_model(folder: Path, which: str | None) -> Trained:
    """Read a model folder; raise InputError or OSError in one sentence where it does not fit."""
    checkpoint = checkpoints.choose(folder, which)
    settings = checkpoints.load_settings(folder)
    vocabulary = preprocess.vocabulary_of(folder, settings["network"])
    import inference

    network = inference.load(checkpoint, settings["network"])
    return Trained(checkpoint, network, vocabulary, checkpoints.held_out_loss(checkpoint))


def read_primer(path: Path, name: str) -> list[str]:
    """Return the tokens of the seed music; raise InputError where the file holds none."""
    try:
        return encoding.read(path, name)
    except encoding.MidiError as error:
        raise InputError(f"{path} cannot be the primer: {error}") from error


def known_ids(tokens: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """Return the ids of a primer; name unknown tokens and what the model hears in their place."""
    ids = vocabulary.ids
    heard: dict[str, str | None] = {token: token for token in tokens}
    unknown = Counter(token for token in tokens if token not in ids)
    for token in unknown:
        heard[token] = encoding.nearest(token, vocabulary.tokens[1:], vocabulary.encoding)
    if unknown:
        named = ", ".join(
            f"{token} ({times}, {f'heard as {heard[token]}' if heard[token] else 'left out'})"
            for token, times in unknown.most_common(10)
        )
        more = f" and {len(unknown) - 10} others" if len(unknown) > 10 else ""
        share = f"{unknown.total()} of the primer's {len(tokens)} tokens"
        print(f"The model has never seen {share}: {named}{more}")
    found = [ids[name] for token in tokens if (name := heard[token]) is not None]
    if tokens and not found:
        raise InputError("the model knows nothing like the primer: give another --primer")
    return found


def versions() -> dict[str, str]:
    """Return the versions of what shapes a piece's bytes, without importing them."""
    from importlib.metadata import version
    from platform import python_version

    names = ("numpy", "music21")
    return {"python": python_version(), **{name: version(name) for name in names}}


def describe(arguments: argparse.Namespace, trained: Trained, primer: list[str]) -> dict[str, Any]:
    """Return what all pieces of a call have in common, as the JSON beside each says it."""
    return {
        "command": shlex.join(["python", "sample.py", *arguments.argv]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": arguments.seed,
        "chars": arguments.chars,
        "temperature": arguments.temperature,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "repetition_penalty": arguments.repetition_penalty,
        "until_end": arguments.until_end,
        "include_primer": arguments.include_primer,
        "primer": str(arguments.primer) if arguments.primer else None,
        "primer_tokens": primer,
        "bpm": arguments.bpm,
        "instrument": encoding.INSTRUMENTS[arguments.instrument],
        "encoding": trained.vocabulary.encoding,
        "model_dir": str(arguments.model_dir),
        "checkpoint": trained.checkpoint.stem.removeprefix("epoch-").lstrip("0"),
        "weights_sha256": trained.network.digest,
        "held_out_loss": trained.held_out_loss,
        "versions": versions(),
    }


def stem_of(arguments: argparse.Namespace, checkpoint: Path, seed: int) -> str:
    """Name a piece for how it was made: the usual knobs always, the others where they are on."""
    words = [checkpoint.stem, f"seed-{seed}", f"temperature-{arguments.temperature:g}"]
    words += [f"top-k-{arguments.top_k}"] * (arguments.top_k > 0)
    words += [f"top-p-{arguments.top_p:g}"] * (arguments.top_p < 1)
    penalty = arguments.repetition_penalty
    words += [f"penalty-{penalty:g}"] * (penalty > 1)
    return "_".join([*words, f"chars-{arguments.chars}"])


def primer_of(
    arguments: argparse.Namespace, like: dict[str, Any] | None, vocabulary: Vocabulary
) -> list[str]:
    """Return the tokens of the seed music: of --primer, or those that --like has kept, or none."""
    if arguments.primer:
        return read_primer(arguments.primer, vocabulary.encoding)
    tokens: list[str] = like["primer_tokens"] if like else []
    if arguments.include_primer and not tokens:
        raise InputError(f"{arguments.like} has no primer to include: give one with --primer")
    return tokens


def sample(arguments: argparse.Namespace, like: dict[str, Any] | None) -> None:
    """Load the model, draw the pieces, write a MIDI file and its JSON for each."""
    use_one_thread()
    trained = open_model(arguments.model_dir, arguments.checkpoint)
    if like and like["weights_sha256"] != trained.network.digest:
        warn(f"{trained.checkpoint} has other weights than made the piece of {arguments.like}")
    primer = primer_of(arguments, like, trained.vocabulary)
    primer_ids = known_ids(primer, trained.vocabulary)
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(2**32)
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    pieces = f"{arguments.count} pieces of " if arguments.count > 1 else ""
    most = "at most " if arguments.until_end else ""
    what = f"{pieces}{most}{arguments.chars} tokens from {trained.checkpoint}"
    print(f"Sampling {what} with --seed={arguments.seed}", flush=True)

    found = draw(arguments, trained, seeds, primer_ids)
    common = describe(arguments, trained, primer)
    for seed, ids in zip(seeds, found, strict=True):
        tokens = [trained.vocabulary.tokens[number] for number in ids]
        if arguments.include_primer:
            tokens = [*primer, *tokens]
        stem = stem_of(arguments, trained.checkpoint, seed)
        save(tokens, arguments, stem, {**common, "seed": seed})
        if like and same_music(arguments, like) and tokens != like["tokens"]:
            warn(f"these are not the notes of {arguments.like}")


def use_one_thread() -> None:
    """Let NumPy's libraries use one thread a product; they ask as they load.

    For matrices of this size two threads wait for each other, and the last bits of a sum must not
    depend on how many cores a machine has.
    """
    for name in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def warn(what: str) -> None:
    """Say on standard error what a person should know, and go on."""
    print(f"sample.py: careful: {what}", file=sys.stderr)


def draw(
    arguments: argparse.Namespace, trained: Trained, seeds: range, primer_ids: list[int]
) -> list[list[int]]:
    """Draw the pieces' ids, under a progress bar where that takes more than a moment."""
    import drawing  # here, not above: it imports NumPy, and --help and mistakes need none

    names = ("temperature", "top_k", "top_p", "repetition_penalty", "until_end")
    knobs = drawing.Knobs(**{name: getattr(arguments, name) for name in names})
    if (tokens := len(seeds) * arguments.chars) < 10_000:
        return drawing.generate(trained.network, seeds, arguments.chars, knobs, primer_ids)
    from tqdm import tqdm

    with tqdm(total=tokens, unit="token", leave=False, disable=None) as bar:
        return drawing.generate(
            trained.network, seeds, arguments.chars, knobs, primer_ids, progress=bar.update
        )


def same_music(arguments: argparse.Namespace, like: dict[str, Any]) -> bool:
    """Tell whether no flag beside --like asks for other notes than those of the file."""
    names = set(recipe.FLAGS) - {"bpm", "instrument", "model_dir", "checkpoint"}
    changed = any(getattr(arguments, name) != like[name] for name in names)
    return not (changed or arguments.primer or arguments.count > 1)


def save(tokens: list[str], arguments: argparse.Namespace, stem: str, body: dict[str, Any]) -> None:
    """Write a piece and its JSON under a name that neither has."""
    path = recipe.claim(arguments.output_dir, stem, {**body, "tokens": tokens})
    try:
        encoding.write(
            tokens, path, body["encoding"], bpm=arguments.bpm, instrument=arguments.instrument
        )
    except BaseException:  # Ctrl-C too: a description without its piece would be a riddle
        path.with_suffix(".json").unlink()
        raise
    print(f"Wrote {path}" + (f" (--seed={body['seed']})" if arguments.count > 1 else ""))


def program(text: str) -> int:
    """Read a General MIDI program, a number or the beginning of one name, from the command line."""
    if text.isdecimal():
        if int(text) > 127:
            raise argparse.ArgumentTypeError(f"{text} is not a General MIDI program from 0 to 127")
        return int(text)
    names = [name.lower() for name in encoding.INSTRUMENTS]
    wanted = text.strip().lower()
    if wanted in names:
        return names.index(wanted)
    found = [number for number, name in enumerate(names) if name.startswith(wanted) and wanted]
    if len(found) == 1:
        return found[0]
    named = ", ".join(encoding.INSTRUMENTS[number] for number in found[:8])
    hint = f"it could be {named}" if found else "try violin, church organ or flute"
    raise argparse.ArgumentTypeError(f"{text!r} is not one General MIDI instrument: {hint}")


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """Add the flags that shape the music."""
    group = parser.add_argument_group("steering")
    group.add_argument("--chars", type=positive_int, default=100, help="notes and chords to make")
    group.add_argument(
        "--until-end",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="stop where the model ends the piece; --chars is then the maximum",
    )
    group.add_argument(
        "--temperature",
        type=preprocess.number_from(0, sys.float_info.max, "zero or a positive number"),
        default=1.0,
        help="below 1 safer, above 1 wilder (0 = always the likeliest)",
    )
    group.add_argument(
        "--top-k", type=count, default=0, help="draw from so many likeliest tokens (0 = off)"
    )
    group.add_argument(
        "--top-p",
        type=preprocess.number_from(sys.float_info.min, 1, "a share above 0, up to 1"),
        default=1.0,
        help="draw from the likeliest tokens that together have this probability (1.0 = off)",
    )
    group.add_argument(
        "--repetition-penalty",
        type=preprocess.number_from(1, 100, "a number from 1 to 100"),
        default=1.0,
        help="raise the probability of each of the last 64 tokens to this power (1.0 = off)",
    )
    group.add_argument("--primer", type=Path, metavar="FILE.mid", help="music to go on from")
    group.add_argument(
        "--include-primer",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="put the primer before the new music in the output",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how many pieces are made, from what, and where they go."""
    parser.add_argument(
        "--seed", type=count, help="makes the piece repeatable (none = drawn, printed)"
    )
    parser.add_argument(
        "--count", type=positive_int, default=1, help="pieces, with seeds --seed, --seed + 1, ..."
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="FILE.json",
        help="make the piece of this file again; flags given as well change it",
    )
    parser.add_argument(
        "--checkpoint",
        help="latest, best, or the number of an epoch (none = best where there is one, or latest)",
    )
    parser.add_argument(
        "--bpm",
        type=preprocess.number_from(4, 1000, "a tempo from 4 to 1000"),
        default=120.0,
        help="quarter notes a minute",
    )
    parser.add_argument(
        "--instrument",
        type=program,
        default=0,
        help="General MIDI name, or as much of it as is unique, or program 0 to 127 (0 = piano)",
    )
    parser.add_argument(
        "--model-dir", type=Path, default=Path("model"), help="where the checkpoints are"
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("output"), help="where the music goes"
    )


def parse_args(argv: Sequence[str] | None = None, before: Sequence[str] = ()) -> argparse.Namespace:
    """Read the command line, after flags `before` that it overrides."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        description="Make new music with the model that train.py trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_knobs(parser)
    add_output(parser)
    arguments = parser.parse_args([*before, *argv])
    arguments.argv = list(argv)
    if arguments.include_primer and not (arguments.primer or arguments.like):
        parser.error("--include-primer needs the music to include: --primer FILE.mid")
    if arguments.temperature == 0 and arguments.count > 1:
        parser.error("--temperature=0 makes every piece the same: leave out --count")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pieces; return the exit status."""
    arguments = parse_args(argv)

    def work() -> None:
        if not arguments.like:
            sample(arguments, None)
            return
        like = recipe.load(arguments.like)
        sample(parse_args(arguments.argv, recipe.flags(like)), like)

    return preprocess.run(work)


if __name__ == "__main__":
    sys.exit(main())
