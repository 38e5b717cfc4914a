"""Make new music with the model that train.py trained."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from midilstm import cli
from midilstm.config import LENGTHS, SamplingConfig
from midilstm.fileio import InputError, exclusive_lock, printable, warn
from midilstm.schema import add_arguments, from_flags, to_json

if TYPE_CHECKING:
    from midilstm.evaluation.ranking import Ranking
    from midilstm.generation.length import PieceLength
    from midilstm.generation.loaded_model import LoadedModel
    from midilstm.generation.metadata import RecordedPiece
    from midilstm.generation.sampler import GeneratedPiece, Sampler
    from midilstm.repetition.match_model import MatchWeights


def parse_args(
    argv: Sequence[str] | None = None, recorded: SamplingConfig | None = None
) -> SamplingConfig:
    """Read the command line; the defaults are the settings of the piece `recorded`, if any."""
    parser = cli.Parser(__doc__)
    add_arguments(parser, SamplingConfig)
    arguments = parser.parse_args(argv)
    if recorded:
        has_length = any(vars(arguments)[name] for name in LENGTHS)
        excluded = LENGTHS if has_length else ()
        saved = {name: x for name, x in to_json(recorded).items() if name not in excluded}
        parser.set_defaults(**saved)
        arguments = parser.parse_args(argv)
    config = from_flags(SamplingConfig, vars(arguments))
    if config.temperature == 0 and config.count > 1:
        parser.error("--temperature=0 makes all pieces the same: leave out --count")
    if config.ending and config.bars is None:
        parser.error("--ending needs a length in --bars")
    if (config.best or 0) > config.count:
        parser.error(f"--best={config.best} needs a larger --count")
    return config


def sample(config: SamplingConfig, argv: Sequence[str]) -> None:
    """Open the model, read the primer, draw the pieces, select the best, and write them."""
    cli.use_one_thread()  # before NumPy is imported
    from midilstm.generation import metadata
    from midilstm.generation.loaded_model import open_model
    from midilstm.generation.primer import read_primer
    from midilstm.generation.sampler import Sampler
    from midilstm.midi import instrument_name, program_of

    recorded = metadata.read_metadata(config.reproduce) if config.reproduce else None
    if recorded:
        config = parse_args(argv, recorded.config)
    if config.instrument is not None:
        config = replace(config, instrument=instrument_name(program_of(config.instrument)))
    first_seed = secrets.randbelow(2**32) if config.seed is None else config.seed
    config = replace(config, seed=first_seed)
    model = open_model(config.model_dir, config.checkpoint)
    if recorded and recorded.weights_sha256 != model.network.digest:
        warn(f"{model.checkpoint_path} has other weights than {config.reproduce} was drawn with")
    rank = make_ranker(config, model) if config.best else None
    weights = metadata.select_match_weights(config.memory, model, recorded)
    if config.fill or config.keep or config.fill_instruments:
        fill(config, model, weights, recorded, argv)
        return
    primer = recorded.primer if recorded else []
    if config.primer:
        primer = read_primer(config.primer, model)
    if config.include_primer and not primer:
        raise InputError("--include-primer needs a --primer")
    network, vocabulary = model.network, model.vocabulary
    sampler = Sampler(network, vocabulary, config, weights, primer, model.openings)
    config = sampler.config
    seeds = batch = range(first_seed, first_seed + config.count)
    if recorded and (first_seed, config.count) == (recorded.config.seed, 1):
        batch = recorded.rng_batch
    print_start(config, model, sampler, len(batch))
    drawn = dict(zip(batch, sampler.draw(batch), strict=True))
    rankings = rank({seed: drawn[seed] for seed in seeds}) if rank else {}
    command = shlex.join(["python", "sample.py", *argv])
    common = metadata.build_metadata(command, config, model, weights, primer)
    bodies = {
        seed: {
            **common,
            **{"seed": seed, "rng_batch": metadata.rng_batch(seed, batch)},
            **describe_piece(drawn[seed], rankings.get(seed)),
        }
        for seed in rankings or seeds
    }
    write_pieces(config, model, sampler.length, bodies, drawn)
    print_hint(config)


def describe_piece(piece: GeneratedPiece, ranking: Ranking | None) -> dict[str, Any]:
    """Return what the JSON of a piece has of its own, where there is something."""
    values: dict[str, Any] = {"ranking": ranking.to_json()} if ranking else {}
    if piece.constraint_report is not None:
        values["constraint_report"] = piece.constraint_report
    if piece.opening:
        opening = piece.opening
        values["opening_of"] = {"piece": opening.piece, "semitones": opening.semitones}
    return values


def print_hint(config: SamplingConfig) -> None:
    """Print the command that plays the pieces."""
    folder = config.output_dir
    flags = [] if folder == SamplingConfig().output_dir else [f"--output-dir={folder}"]
    print(printable(f"Listen: {shlex.join(['python', 'render.py', '--page', *flags])}"))


def print_start(config: SamplingConfig, model: LoadedModel, sampler: Sampler, n_drawn: int) -> None:
    """Print what is drawn, and how chords and the names of instruments were understood."""
    from midilstm.generation.harmony import describe_chords
    from midilstm.midi import instrument_name

    count = f"{config.count} pieces of " if config.count > 1 else ""
    limit = "at most " if config.stop_at_end else ""
    epoch = model.network.metrics.get("epoch")
    origin = f"from {model.checkpoint_path}" + (f" (epoch {epoch:g})" if epoch else "")
    origin += f" with --seed={config.seed}"
    others = f", one of {n_drawn} drawn together" if n_drawn != config.count else ""
    lines = [f"Sampling {count}{limit}{sampler.length} {origin}{others}"]
    lines += [f"Chords: {describe_chords(config.chords)}"] if config.chords else []
    lines += [f"Instrument: {config.instrument}"] if config.instrument else []
    for name, choice in (sampler.constraints.choices if sampler.constraints else {}).items():
        several = f"{choice.number} of " if choice.number < len(choice.programs) else ""
        lines.append(f"{name}: {several}{', '.join(map(instrument_name, choice.programs))}")
    for line in lines:
        print(printable(line), flush=True)


def fill(
    config: SamplingConfig,
    model: LoadedModel,
    weights: MatchWeights | None,
    recorded: RecordedPiece | None,
    argv: Sequence[str],
) -> None:
    """Draw what --fill and --keep do not fix in the primer, and write the whole pieces."""
    from tqdm import tqdm

    from midilstm.generation import metadata
    from midilstm.generation.fill import Filler
    from midilstm.generation.primer import read_source
    from midilstm.generation.sampler import Sampler
    from midilstm.generation.source_piece import check_flags, open_source

    check_flags(config)
    score = recorded.source if recorded else None
    if config.primer:
        score = read_source(config.primer, model)
    if score is None:
        raise InputError("--fill and --keep need a --primer, the piece that they write into")
    source = open_source(score, config, model.vocabulary)
    length = replace(config, bars=len(source.bars))
    sampler = Sampler(model.network, model.vocabulary, length, weights, openings=model.openings)
    config, seed = replace(sampler.config, bars=config.bars), config.seed or 0
    print(printable(f"{source.describe()}, from {model.checkpoint_path} with --seed={seed}"))
    command = shlex.join(["python", "sample.py", *argv])
    common = metadata.build_metadata(command, config, model, weights, [])
    n_bars = config.count * sum(bar.is_drawn for bar in source.bars)
    with tqdm(total=n_bars, delay=0.5, unit="bar", leave=False, disable=None) as bar:
        for one_seed in range(seed, seed + config.count):
            tokens = Filler(sampler, source, one_seed).draw(bar.update)
            batch = {"seed": one_seed, "count": 1}
            body = {**common, "seed": one_seed, "rng_batch": batch, **source.to_json()}
            body |= {"tokens": tokens, "n_invalid_tokens": 0}
            content = source.to_midi(tokens, config, model.vocabulary.encoding)
            with exclusive_lock(config.output_dir, timeout=60):
                one = replace(config, seed=one_seed)
                path = metadata.write_files(one, model, body, content)
            tqdm.write(printable(f"Wrote {path}"))
    print_hint(config)


def make_ranker(
    config: SamplingConfig, model: LoadedModel
) -> Callable[[Mapping[int, GeneratedPiece]], dict[int, Ranking]]:
    """Return a function that ranks pieces by seed and prints why it leaves some out, for --best."""
    import numpy as np

    from midilstm.evaluation import copying, ranking

    dataset = copying.load_training_music(config.data_dir, model)
    ranges = ranking.reference_for(model, dataset)
    if not dataset:
        warn(
            f"--best cannot find copies, because {config.data_dir} does not hold the music that "
            "the model was trained on (--data-dir)"
        )

    def rank(pieces: Mapping[int, GeneratedPiece]) -> dict[int, Ranking]:
        ids = {seed: np.array(piece.ids, int) for seed, piece in pieces.items()}
        copied = copying.copied_lengths(dataset, model.vocabulary, list(ids.values()))
        rankings = ranking.rank_pieces(ids, model, ranges, copied)
        return ranking.select_best(rankings, config.best or 1)

    return rank


def write_pieces(
    config: SamplingConfig,
    model: LoadedModel,
    length: PieceLength,
    bodies: Mapping[int, dict[str, Any]],
    drawn: Mapping[int, GeneratedPiece],
) -> None:
    """Write the pieces of these JSON files by seed; raise InputError where none holds a note."""
    from midilstm.tokenizers.base import NoNoteError

    silent = []
    with exclusive_lock(config.output_dir, timeout=60):
        for seed, body in bodies.items():
            try:
                write(replace(config, seed=seed), model, length, body, drawn[seed])
            except NoNoteError:
                silent.append(seed)
    if silent:
        names = ", ".join(map(str, silent[:10])) + (" ..." if len(silent) > 10 else "")
        message = f"no file for --seed={names}, with which the model drew no note"
        if len(silent) == len(bodies):
            raise InputError(f"{message}: give another --seed or a greater length")
        warn(message)


def write(
    config: SamplingConfig,
    model: LoadedModel,
    length: PieceLength,
    body: dict[str, Any],
    piece: GeneratedPiece,
) -> None:
    """Write a piece that continues the primer, and its JSON; print its path."""
    from midilstm.generation import metadata

    primer, tokens = body["primer_tokens"], piece.tokens
    if config.include_primer:
        tokens = primer + tokens
    elif primer:
        tokens = model.vocabulary.encoding.with_header(tokens, primer)
    else:
        tokens = length.drop_silence(tokens)
    path, n_invalid = metadata.write_piece(config, model, body, tokens, piece.rest)
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
