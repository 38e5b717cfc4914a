"""New music from a trained model: what it goes on from, how it is drawn, where it is written."""

from __future__ import annotations

import midilstm  # noqa: F401 - the first, for Ctrl-C is its business from then on

# isort: split
import argparse
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from midilstm import cli as shared
from midilstm.fileio import InputError, printable
from midilstm.generation import options, use_one_thread


def parse_args(
    argv: Sequence[str] | None = None, like: Mapping[str, Any] | None = None
) -> argparse.Namespace:
    """Read the command line; what it leaves out is as in the piece `like`, or the default."""
    parser = argparse.ArgumentParser(
        description="Make new music with the model that train.py trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    arguments = options.parse(parser, argv, like)
    if arguments.temperature == 0 and arguments.count > 1:
        parser.error("--temperature=0 makes every piece the same: leave out --count")
    if (arguments.best or 0) > arguments.count:
        parser.error(f"--best={arguments.best} of more pieces: say --count, too")
    return arguments


def sample(arguments: argparse.Namespace, argv: Sequence[str]) -> None:
    """Open the model, hear the primer, draw the pieces, keep the best, and write them."""
    use_one_thread()  # before NumPy is there
    from midilstm.evaluation import ranking
    from midilstm.generation import constraints as control
    from midilstm.generation import length as pieces
    from midilstm.generation import loaded_model as folder
    from midilstm.generation import metadata as recipe
    from midilstm.midi import instrument_name, program_of

    like = recipe.read_metadata(arguments.reproduce) if arguments.reproduce else None
    if like:
        arguments = parse_args(argv, like)
    if arguments.instrument is not None:
        arguments.instrument = instrument_name(program_of(arguments.instrument))
    model = folder.open_model(arguments.model_dir, arguments.checkpoint)
    if like and like["weights_sha256"] != model.network.digest:
        pieces.warn(f"{model.checkpoint_path} has other weights than made {arguments.reproduce}")
    people = ranking.reference_for(model) if arguments.best else None
    trained = replace(model, match_weights=recipe.memory_for(arguments.memory, model, like))
    asked = control.parse_constraints(trained.vocabulary, vars(arguments))

    primer: list[str] = like["primer_tokens"] if like else []
    if arguments.primer:
        primer = pieces.read_primer(arguments.primer, trained)
    if arguments.include_primer and not primer:
        raise InputError("there is no music for --include-primer to include: give a --primer")
    primer_ids = pieces.encode_primer(primer, trained.vocabulary)

    if arguments.seed is None:
        arguments.seed = secrets.randbelow(2**32)
    seeds = wanted = range(arguments.seed, arguments.seed + arguments.count)
    if like and (arguments.seed, arguments.count) == (like["seed"], 1):
        seeds = range(like["group"]["seed"], sum(like["group"].values()))
    length = pieces.Length(vars(arguments), primer, trained)
    many = f"{arguments.count} pieces of " if arguments.count > 1 else ""
    most = "at most " if arguments.stop_at_end else ""
    beside = f", one of {len(seeds)} drawn together" if seeds != wanted else ""
    what = (
        f"{many}{most}{length} from {trained.checkpoint_path} with --seed={arguments.seed}{beside}"
    )
    print(printable(f"Sampling {what}"), flush=True)
    drawn = pieces.draw_pieces(trained, seeds, length, primer_ids, vars(arguments), asked)
    found = {seed: drawn[seeds.index(seed)] for seed in wanted}
    told = choose(arguments, model, people, found) if people else {}
    heard = [trained.vocabulary.tokens[number] for number in primer_ids]
    common = recipe.build_metadata(argv, vars(arguments), trained, primer)
    for seed in told or wanted:
        own: dict[str, Any] = {"seed": seed, "group": recipe.rng_batch_of(seed, seeds)}
        own |= {"best": told[seed]} if told else {}
        own |= {"constraint_report": asked.found(found[seed], heard)} if asked else {}
        write(arguments, {**common, **own}, found[seed], trained)
    where = arguments.output_dir
    words = ["--page", *([f"--output-dir={where}"] if where != Path("output") else [])]
    print(printable(f"Listen: {shlex.join(['python', 'render.py', *words])}"))


def choose(
    arguments: argparse.Namespace, model: Any, people: Any, found: Mapping[int, list[str]]
) -> dict[int, dict[str, Any]]:
    """Return the verdicts of the best pieces by seed; of the others, print why they fell."""
    from midilstm.evaluation import passages, ranking

    ids = {seed: model.vocabulary.ids_of(tokens) for seed, tokens in found.items()}
    made = {seed: numbers[numbers >= 0] for seed, numbers in ids.items()}
    copied = passages.copied(arguments.data_dir, model, made)
    return ranking.best_of(made, model, people, arguments.best, copied)


def write(
    arguments: argparse.Namespace, body: dict[str, Any], tokens: list[str], trained: Any
) -> None:
    """Write a piece that goes on from the primer with new tokens, and its JSON."""
    from midilstm.generation import metadata as recipe

    primer = body["primer_tokens"]
    if arguments.include_primer:
        tokens = primer + tokens
    elif primer:
        tokens = trained.vocabulary.encoding.with_header(tokens, primer)
    body["tokens"] = tokens
    path, left_out = recipe.write_piece(arguments.output_dir, trained.checkpoint_path, body)
    told = [f"--seed={body['seed']}"] if arguments.count > 1 else []
    told += [f"score {body['best']['score']:.2f}"] if "best" in body else []
    told += [f"{name} {value}" for name, value in body.get("constraint_report", {}).items()]
    print(printable(f"Wrote {path}") + (f" ({', '.join(told)})" if told else ""))
    if left_out:
        print(f"  left out {left_out} tokens that are no music")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pieces; return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_args(argv)
    return shared.run(lambda: sample(arguments, argv))


if __name__ == "__main__":
    sys.exit(main())
