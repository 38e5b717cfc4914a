"""New music from a trained model: seeds, lengths, where output goes. Knows no layers."""

from __future__ import annotations

import argparse
import math
import os
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midilstm import arguments as shared
from midilstm import midi, runs
from midilstm import tokens as encodings
from midilstm.files import InputError
from midilstm.sampling import recipe
from midilstm.sampling.options import LENGTHS, parse_args
from midilstm.tokens import vocabulary as vocabularies
from midilstm.tokens.encoding import split
from midilstm.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from midilstm.sampling import loop, network


@dataclass(frozen=True)
class Trained:
    """A model folder, ready to sample from."""

    checkpoint: Path
    network: network.Network
    vocabulary: Vocabulary
    held_out_loss: float | None


def open_model(folder: Path, which: str | None) -> Trained:
    """Read a model folder; raise InputError or OSError in one sentence where it does not fit."""
    checkpoint = runs.choose(folder, which)
    settings = runs.load_settings(folder)
    vocabulary = vocabularies.vocabulary_of(folder, settings["network"])
    from midilstm.sampling import network

    loaded = network.load(checkpoint, settings["network"])
    return Trained(checkpoint, loaded, vocabulary, runs.held_out_loss(checkpoint))


def read_primer(path: Path, name: str) -> list[str]:
    """Return the tokens of the seed music; raise InputError where the file holds none."""
    try:
        return encodings.read(path, name)
    except midi.MidiError as error:
        raise InputError(f"{path} cannot be the primer: {error}") from error


def known_ids(tokens: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """Return the ids of a primer; name unknown tokens and what the model hears in their place."""
    ids = vocabulary.ids
    known = [token for token in vocabulary.tokens[1:] if " " not in token]  # others are merged
    heard: dict[str, str | None] = {token: token for token in tokens}
    unknown = Counter(token for token in tokens if token not in ids)
    for token in unknown:
        heard[token] = vocabulary.encoding.nearest(token, known)
    if unknown:
        named = ", ".join(
            f"{token} ({times}, {f'heard as {heard[token]}' if heard[token] else 'left out'})"
            for token, times in unknown.most_common(10)
        )
        more = f" and {len(unknown) - 10} others" if len(unknown) > 10 else ""
        share = f"{unknown.total()} of the primer's {len(tokens)} tokens"
        print(f"The model has never seen {share}: {named}{more}")
    likest = [name for token in tokens if (name := heard[token]) is not None]
    found = vocabulary.encoding.music(likest)
    if tokens and not vocabulary.encoding.played(found):
        raise InputError("the model knows nothing like the primer: give another --primer")
    return [ids[token] for token in vocabulary.spelled(found)]


def versions() -> dict[str, str]:
    """Return the versions of what shapes a piece's bytes, without importing them."""
    from importlib.metadata import version
    from platform import python_version

    names = ("numpy", "music21", "miditok", "symusic")
    return {"python": python_version(), **{name: version(name) for name in names}}


def describe(arguments: argparse.Namespace, trained: Trained, primer: list[str]) -> dict[str, Any]:
    """Return what all pieces of a call have in common, as the JSON beside each says it."""
    program = arguments.instrument
    return {
        "command": shlex.join(["python", "sample.py", *arguments.argv]),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": arguments.seed,
        **{name: getattr(arguments, name) for name in LENGTHS},
        "temperature": arguments.temperature,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "repetition_penalty": arguments.repetition_penalty,
        "until_end": arguments.until_end,
        "strict_grammar": arguments.strict_grammar,
        "include_primer": arguments.include_primer,
        "primer": str(arguments.primer) if arguments.primer else None,
        "primer_tokens": primer,
        "bpm": arguments.bpm,
        "instrument": None if program is None else midi.instrument_name(program),
        "encoding": trained.vocabulary.name,
        "model_dir": str(arguments.model_dir),
        "checkpoint": trained.checkpoint.stem.removeprefix("epoch-").lstrip("0"),
        "weights_sha256": trained.network.digest,
        "held_out_loss": trained.held_out_loss,
        "versions": versions(),
    }


def length_of(arguments: argparse.Namespace) -> tuple[str, float]:
    """Return which of LENGTHS was asked for, and how much of it."""
    given = {name: getattr(arguments, name) for name in LENGTHS}
    return next((name, amount) for name, amount in given.items() if amount is not None)


def stem_of(arguments: argparse.Namespace, checkpoint: Path, seed: int) -> str:
    """Name a piece for how it was made: the usual knobs always, the others where they are on."""
    words = [checkpoint.stem, f"seed-{seed}", f"temperature-{arguments.temperature:g}"]
    words += [f"top-k-{arguments.top_k}"] * (arguments.top_k > 0)
    words += [f"top-p-{arguments.top_p:g}"] * (arguments.top_p < 1)
    penalty = arguments.repetition_penalty
    words += [f"penalty-{penalty:g}"] * (penalty > 1)
    name, amount = length_of(arguments)
    return "_".join([*words, f"{name}-{str(amount).removesuffix('.0')}"])


def primer_of(
    arguments: argparse.Namespace, like: dict[str, Any] | None, vocabulary: Vocabulary
) -> list[str]:
    """Return the tokens of the seed music: of --primer, or those that --like has kept, or none."""
    if arguments.primer:
        return read_primer(arguments.primer, vocabulary.name)
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
    what = f"{pieces}{most}{spell_length(arguments)} from {trained.checkpoint}"
    print(f"Sampling {what} with --seed={arguments.seed}", flush=True)

    until = until_of(arguments, trained.vocabulary, primer)
    found = draw(arguments, trained, seeds, primer_ids, until)
    common = describe(arguments, trained, primer)
    for seed, ids in zip(seeds, found, strict=True):
        tokens = within(arguments, spell(trained.vocabulary, ids), trained.vocabulary, primer)
        if arguments.include_primer:
            tokens = [*primer, *tokens]
        elif primer:
            tokens = trained.vocabulary.encoding.continued(tokens, primer)
        stem = stem_of(arguments, trained.checkpoint, seed)
        save(tokens, arguments, stem, {**common, "seed": seed})
        if like and same_music(arguments, like) and tokens != like["tokens"]:
            warn(f"these are not the notes of {arguments.like}")


def spell(vocabulary: Vocabulary, ids: Sequence[int]) -> list[str]:
    """Return the tokens of ids."""
    return [vocabulary.tokens[number] for number in ids]


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


def spell_length(arguments: argparse.Namespace) -> str:
    """Spell the length asked for, for people."""
    name, amount = length_of(arguments)
    unit = "tokens" if name == "chars" else name
    return f"{amount:g} {unit if amount != 1 else unit[:-1]}"


def draw(
    arguments: argparse.Namespace,
    trained: Trained,
    seeds: range,
    primer_ids: list[int],
    until: loop.Until | None,
) -> list[list[int]]:
    """Draw the pieces' ids, under a progress bar where that takes more than a moment."""
    from midilstm.sampling import (
        choose,  # here, not above: they import NumPy, and --help and mistakes need none
        loop,
    )

    names = ("temperature", "top_k", "top_p", "repetition_penalty", "until_end")
    knobs = choose.Knobs(**{name: getattr(arguments, name) for name in names})
    grammar = trained.vocabulary.grammar() if arguments.strict_grammar else None
    name, amount = length_of(arguments)
    most = math.ceil(amount) * LENGTHS[name]

    def work(progress: Callable[[int], object]) -> list[list[int]]:
        return loop.generate(
            trained.network,
            seeds,
            most,
            knobs,
            primer_ids,
            grammar=grammar,
            until=until,
            progress=progress,
        )

    if not until and len(seeds) * most < 10_000:
        return work(lambda _: None)
    from tqdm import tqdm

    total, delay = (None, 1) if until else (len(seeds) * most, 0)
    with tqdm(total=total, delay=delay, unit="token", leave=False, disable=None) as bar:
        found = work(bar.update)
    if until and (late := sum(len(ids) == most for ids in found)):
        what = f"{late} of {len(seeds)} pieces were cut off" if len(seeds) > 1 else "cut off"
        length = spell_length(arguments)
        warn(f"{what} at {most} tokens, before {length}: the model does not move on in time")
    return found


def until_of(
    arguments: argparse.Namespace, vocabulary: Vocabulary, primer: Sequence[str]
) -> loop.Until | None:
    """Return what makes a piece's listener, which says where its bars or seconds are full."""
    if length_of(arguments)[0] == "chars":
        return None

    def begin() -> Callable[[int], bool]:
        is_over = over_of(arguments, vocabulary, primer)
        return lambda number: is_over(vocabulary.tokens[number])

    return begin


def over_of(
    arguments: argparse.Namespace, vocabulary: Vocabulary, primer: Sequence[str]
) -> Callable[[str], bool]:
    """Return what tells of one token after another whether it stands beyond bars or seconds.

    The bar in which a primer ends counts as the first, and the seconds begin with the new music.
    """
    name, amount = length_of(arguments)
    clock = vocabulary.encoding.clock(arguments.bpm)
    begun = 0.0
    for token in vocabulary.encoding.context(primer) if primer else ():
        _, begun = clock.tell(token)

    def is_over(token: str) -> bool:
        bars, seconds = clock.tell(token)
        return (bars if name == "bars" else seconds - begun) >= amount

    return is_over


def within(
    arguments: argparse.Namespace, tokens: list[str], vocabulary: Vocabulary, primer: Sequence[str]
) -> list[str]:
    """Return the tokens without what the last, if it is merged, has beyond the bars or seconds."""
    if length_of(arguments)[0] == "chars" or not vocabulary.merges:
        return tokens
    is_over = over_of(arguments, vocabulary, primer)
    parts = [[part for part in token.split(" ") if not is_over(part)] for token in tokens]
    return [" ".join(kept) for kept in parts if kept]


def same_music(arguments: argparse.Namespace, like: dict[str, Any]) -> bool:
    """Tell whether no flag beside --like asks for other notes than those of the file."""
    names = set(recipe.FLAGS) - {"instrument", "model_dir", "checkpoint"}
    if arguments.seconds is None:
        names.remove("bpm")
    changed = any(getattr(arguments, name) != like[name] for name in names)
    return not (changed or arguments.primer or arguments.count > 1)


def save(tokens: list[str], arguments: argparse.Namespace, stem: str, body: dict[str, Any]) -> None:
    """Write a piece and its JSON under a name that neither has."""
    body = {**body, "tokens_left_out": 0, "tokens": tokens}
    path = recipe.claim(arguments.output_dir, stem, body)
    try:
        left_out = encodings.write(
            tokens, path, body["encoding"], bpm=arguments.bpm, instrument=arguments.instrument
        )
    except BaseException as error:  # Ctrl-C too: a description without its piece is a riddle
        path.with_suffix(".json").unlink()
        if isinstance(error, ValueError):
            raise InputError(
                f"the piece of seed {body['seed']} cannot be written: {error}"
            ) from error
        raise
    print(f"Wrote {path}" + (f" (--seed={body['seed']})" if arguments.count > 1 else ""))
    if left_out:
        recipe.amend(path, {**body, "tokens_left_out": left_out})
        parts = len(split(tokens))
        print(f"  left out {left_out} of {parts} tokens that are no music")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pieces; return the exit status."""
    arguments = parse_args(argv)

    def work() -> None:
        if not arguments.like:
            sample(arguments, None)
            return
        like = recipe.load(arguments.like)
        sample(parse_args(arguments.argv, recipe.flags(like)), like)

    return shared.run(work)


if __name__ == "__main__":
    sys.exit(main())
