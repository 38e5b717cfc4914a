"""Make new music with the model that train.py trained."""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from midilstm import cli
from midilstm.config import LENGTHS, SamplingConfig
from midilstm.fileio import InputError, printable, warn
from midilstm.schema import add_arguments, from_arguments, to_json

if TYPE_CHECKING:
    from midilstm.evaluation.ranking import Ranges, Ranking
    from midilstm.generation.loaded_model import LoadedModel
    from midilstm.generation.metadata import RecordedPiece
    from midilstm.generation.piece_sampler import GeneratedPiece


def parse_args(
    argv: Sequence[str] | None = None, recorded: SamplingConfig | None = None
) -> SamplingConfig:
    """Read the command line; the defaults are the settings of the piece `recorded`, if any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_arguments(parser, SamplingConfig)
    saved = to_json(recorded) if recorded else {}
    lengths = {name: saved.pop(name) for name in LENGTHS if name in saved}
    parser.set_defaults(**saved)
    arguments = parser.parse_args(argv)
    if recorded and not any(vars(arguments)[name] for name in LENGTHS):
        parser.set_defaults(**lengths)
        arguments = parser.parse_args(argv)
    config = from_arguments(SamplingConfig, arguments)
    if config.temperature == 0 and config.count > 1:
        parser.error("--temperature=0 makes all pieces the same: leave out --count")
    if (config.best or 0) > config.count:
        parser.error(f"--best={config.best} needs a larger --count")
    return config


def sample(config: SamplingConfig, argv: Sequence[str]) -> None:
    """Open the model, read the primer, draw the pieces, select the best, and write them."""
    cli.use_one_thread()  # before NumPy is imported
    from midilstm.generation import metadata
    from midilstm.generation.length import PieceLength
    from midilstm.generation.loaded_model import open_model
    from midilstm.generation.piece_sampler import make_sampler
    from midilstm.generation.primer import encode_primer

    recorded = metadata.read_metadata(config.reproduce) if config.reproduce else None
    if recorded:
        config = parse_args(argv, recorded.config)
    config = with_seed_and_instrument(config)
    model = open_model(config.model_dir, config.checkpoint)
    if recorded and recorded.weights_sha256 != model.network.digest:
        warn(f"{model.checkpoint_path} has other weights than {config.reproduce} was drawn with")
    ranges = read_ranges(model) if config.best else None
    weights = metadata.select_match_weights(config.memory, model, recorded)
    sampling_model = replace(model, match_weights=weights)
    sampler = make_sampler(sampling_model, config)
    primer = primer_tokens(config, model, recorded)
    primer_ids = encode_primer(primer, model.vocabulary)

    assert config.seed is not None
    seeds = batch = range(config.seed, config.seed + config.count)
    if recorded and (config.seed, config.count) == (recorded.config.seed, 1):
        batch = recorded.rng_batch
    length = PieceLength.of(config, model.vocabulary, primer)
    print(printable(f"Sampling {describe(config, length, model, len(batch))}"), flush=True)
    drawn = dict(zip(batch, sampler.draw(batch, length, primer_ids), strict=True))
    pieces = {seed: drawn[seed] for seed in seeds}
    ranked = rank(config, model, ranges, pieces) if ranges else {}
    command = shlex.join(["python", "sample.py", *argv])
    common = metadata.build_metadata(command, config, sampling_model, primer)
    primed = [model.vocabulary.tokens[token_id] for token_id in primer_ids]
    for seed in ranked or seeds:
        rng_batch = metadata.rng_batch_of(seed, batch)
        body = {**common, "seed": seed}
        body["rng_batch"] = {"seed": rng_batch.start, "count": len(rng_batch)}
        if ranked:
            body["ranking"] = ranked[seed].to_json()
        if sampler.constraints:
            body["constraint_report"] = sampler.constraints.report(pieces[seed].tokens, primed)
        write(replace(config, seed=seed), body, pieces[seed], model)
    folder = config.output_dir
    flags = [] if folder == SamplingConfig().output_dir else [f"--output-dir={folder}"]
    print(printable(f"Listen: {shlex.join(['python', 'render.py', '--page', *flags])}"))


def with_seed_and_instrument(config: SamplingConfig) -> SamplingConfig:
    """Return the settings with a seed, and with the instrument's full name."""
    from midilstm.midi import instrument_name, program_of

    if config.instrument is not None:
        config = replace(config, instrument=instrument_name(program_of(config.instrument)))
    return config if config.seed is not None else replace(config, seed=secrets.randbelow(2**32))


def primer_tokens(
    config: SamplingConfig, model: LoadedModel, recorded: RecordedPiece | None
) -> list[str]:
    """Return the tokens of --primer, or of the recorded piece's primer."""
    from midilstm.generation.primer import read_primer

    primer = recorded.primer if recorded else []
    if config.primer:
        primer = read_primer(config.primer, model)
    if config.include_primer and not primer:
        raise InputError("--include-primer needs a --primer")
    return primer


def describe(config: SamplingConfig, length: object, model: LoadedModel, n_batch: int) -> str:
    """Return in words what is drawn, from which checkpoint, with which seed."""
    pieces = f"{config.count} pieces of " if config.count > 1 else ""
    limit = "at most " if config.stop_at_end else ""
    batch = f", one of {n_batch} drawn together" if n_batch != config.count else ""
    return f"{pieces}{limit}{length} from {model.checkpoint_path} with --seed={config.seed}{batch}"


def read_ranges(model: LoadedModel) -> Ranges:
    """Return the reference ranges of the model, for --best."""
    from midilstm.evaluation import ranking

    return ranking.reference_for(model)


def rank(
    config: SamplingConfig,
    model: LoadedModel,
    ranges: Ranges,
    pieces: Mapping[int, GeneratedPiece],
) -> dict[int, Ranking]:
    """Return the rankings of the best pieces by seed; print why the others were left out."""
    import numpy as np

    from midilstm.evaluation import copying, ranking

    ids = {seed: np.array(piece.ids) for seed, piece in pieces.items()}
    copied = copying.copied_lengths(config.data_dir, model, ids)
    return ranking.select_best(ranking.rank_pieces(ids, model, ranges, copied), config.best or 1)


def write(
    config: SamplingConfig, body: dict[str, Any], piece: GeneratedPiece, model: LoadedModel
) -> None:
    """Write a piece that continues the primer, and its JSON; print its path."""
    from midilstm.generation import metadata

    tokens, primer = piece.tokens, body["primer_tokens"]
    if config.include_primer:
        tokens = primer + tokens
    elif primer:
        tokens = model.vocabulary.encoding.with_header(tokens, primer)
    stem = metadata.default_stem(model.checkpoint_path, config)
    path, n_invalid = metadata.write_piece(config.output_dir, stem, body, tokens)
    notes = [f"--seed={config.seed}"] if config.count > 1 else []
    notes += [f"score {body['ranking']['score']:.2f}"] if "ranking" in body else []
    notes += [f"{name} {value}" for name, value in body.get("constraint_report", {}).items()]
    print(printable(f"Wrote {path}") + (f" ({', '.join(notes)})" if notes else ""))
    if n_invalid:
        print(f"  left out {n_invalid} tokens that are not valid music")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pieces; return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    config = parse_args(argv)
    return cli.run_cli(lambda: sample(config, argv))


if __name__ == "__main__":
    sys.exit(main())
