"""Draw the pieces that settings ask for, and write them: what sample.py and the web page share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from midilstm.config import SamplingConfig
from midilstm.fileio import InputError, exclusive_lock, printable, warn
from midilstm.generation import metadata
from midilstm.generation.fill import Filler
from midilstm.generation.harmonize import Harmonizer
from midilstm.generation.harmony import describe_chords
from midilstm.generation.length import PieceLength
from midilstm.generation.loaded_model import LoadedModel
from midilstm.generation.metadata import RecordedPiece
from midilstm.generation.primer import read_primer, read_source
from midilstm.generation.sampler import GeneratedPiece, Sampler
from midilstm.generation.source_piece import SourcePiece, check_flags, open_source
from midilstm.midi import instrument_name, program_of
from midilstm.repetition.match_model import MatchWeights
from midilstm.tokenizers.base import NoNoteError

# Returns the JSON of the ranking of the pieces that are kept, by seed.
Rank = Callable[[Mapping[int, GeneratedPiece]], Mapping[int, dict[str, Any]]]
# Called with the tokens or bars that are new, and their total where that is known.
Progress = Callable[[int, int | None], object]


def generate(
    config: SamplingConfig,
    model: LoadedModel,
    command: str,
    recorded: RecordedPiece | None = None,
    rank: Rank | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw the pieces of a config, write and print them; return the paths of their MIDI files.

    `recorded` is a piece that the config comes from, and `rank` chooses those that are written.
    Without `progress` a progress bar is shown; an error that it raises ends the drawing.
    """
    if config.instrument is not None:
        config = replace(config, instrument=instrument_name(program_of(config.instrument)))
    if config.seed is None:
        config = replace(config, seed=secrets.randbelow(2**32))
    weights = metadata.select_match_weights(config.memory, model, recorded)
    if config.fill or config.keep or config.fill_instruments:
        return _fill(config, model, command, weights, recorded, progress)
    return _generate(config, model, command, weights, recorded, rank, progress)


def _generate(
    config: SamplingConfig,
    model: LoadedModel,
    command: str,
    weights: MatchWeights | None,
    recorded: RecordedPiece | None,
    rank: Rank | None,
    progress: Progress | None,
) -> list[Path]:
    """Draw new pieces, which may continue a primer, and write them."""
    primer = recorded.primer if recorded else []
    if config.primer:
        primer = read_primer(config.primer, model)
    if config.include_primer and not primer:
        raise InputError("--include-primer needs a --primer")
    network, vocabulary = model.network, model.vocabulary
    sampler = Sampler(network, vocabulary, config, weights, primer, model.openings)
    config, first_seed = sampler.config, config.seed or 0
    seeds = batch = range(first_seed, first_seed + config.count)
    if recorded and (first_seed, config.count) == (recorded.config.seed, 1):
        batch = recorded.rng_batch
    _print_start(config, model, sampler, len(batch))
    total = len(batch) * sampler.length.max_tokens if sampler.length.is_exact else None
    update = (lambda count: progress(count, total)) if progress else None
    drawn = dict(zip(batch, sampler.draw(batch, update), strict=True))
    rankings = rank({seed: drawn[seed] for seed in seeds}) if rank else {}
    common = metadata.build_metadata(command, config, model, weights, primer)
    bodies = {
        seed: {
            **common,
            **{"seed": seed, "rng_batch": metadata.rng_batch(seed, batch)},
            **_describe_piece(drawn[seed], rankings.get(seed)),
        }
        for seed in rankings or seeds
    }
    return _write_pieces(config, model, sampler.length, bodies, drawn)


def _describe_piece(piece: GeneratedPiece, ranking: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the JSON of a piece has of its own, where there is something."""
    values: dict[str, Any] = {"ranking": ranking} if ranking else {}
    if piece.constraint_report is not None:
        values["constraint_report"] = piece.constraint_report
    if piece.opening:
        opening = piece.opening
        values["opening_of"] = {"piece": opening.piece, "semitones": opening.semitones}
    return values


def _print_start(
    config: SamplingConfig, model: LoadedModel, sampler: Sampler, n_drawn: int
) -> None:
    """Print what is drawn, and how chords and the names of instruments were understood."""
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


def _fill(
    config: SamplingConfig,
    model: LoadedModel,
    command: str,
    weights: MatchWeights | None,
    recorded: RecordedPiece | None,
    progress: Progress | None,
) -> list[Path]:
    """Draw what --fill and --keep do not fix in the primer, and write the whole pieces."""
    check_flags(config)
    score = recorded.source if recorded else None
    if config.primer:
        score = read_source(config.primer, model)
    if score is None:
        raise InputError("--fill and --keep need a --primer, the piece that they write into")
    source: SourcePiece | Harmonizer
    if model.vocabulary.encoding.keeps_rhythm:
        source = open_source(score, config, model.vocabulary)
        n_bars = config.count * sum(source.is_drawn)
        length = replace(config, bars=len(source.is_drawn))
        sampler = Sampler(model.network, model.vocabulary, length, weights, openings=model.openings)
    else:
        sampler = Sampler(model.network, model.vocabulary, replace(config, chars=1), weights)
        source, n_bars = Harmonizer(sampler, score), 0
    config, seed = replace(config, top_p=sampler.config.top_p), config.seed or 0
    print(printable(f"{source.describe()}, from {model.checkpoint_path} with --seed={seed}"))
    common = metadata.build_metadata(command, config, model, weights, [])
    hidden, paths = True if progress else None, []
    with tqdm(total=n_bars, delay=0.5, unit="bar", leave=False, disable=hidden) as bar:
        update = (lambda count: progress(count, n_bars)) if progress else bar.update
        for one_seed in range(seed, seed + config.count):
            if isinstance(source, Harmonizer):
                tokens = source.draw(one_seed)
                content = source.to_midi(tokens, config)
            else:
                notes, tokens = Filler(sampler, source, one_seed).draw(update)
                content = source.to_midi(notes, config)
            batch = {"seed": one_seed, "count": 1}
            body = {**common, "seed": one_seed, "rng_batch": batch, **source.to_json()}
            body |= {"tokens": tokens, "n_invalid_tokens": 0}
            with exclusive_lock(config.output_dir, timeout=60):
                one = replace(config, seed=one_seed)
                paths.append(metadata.write_files(one, model, body, content))
            tqdm.write(printable(f"Wrote {paths[-1]}"))
    return paths


def _write_pieces(
    config: SamplingConfig,
    model: LoadedModel,
    length: PieceLength,
    bodies: Mapping[int, dict[str, Any]],
    drawn: Mapping[int, GeneratedPiece],
) -> list[Path]:
    """Write the pieces of these JSON files by seed; raise InputError where none holds a note."""
    silent, paths = [], []
    with exclusive_lock(config.output_dir, timeout=60):
        for seed, body in bodies.items():
            one = replace(config, seed=seed)
            try:
                paths.append(_write_piece(one, model, length, body, drawn[seed]))
            except NoNoteError:
                silent.append(seed)
    if silent:
        names = ", ".join(map(str, silent[:10])) + (" ..." if len(silent) > 10 else "")
        message = f"no file for --seed={names}, with which the model drew no note"
        if not paths:
            raise InputError(f"{message}: give another --seed or a greater length")
        warn(message)
    return paths


def _write_piece(
    config: SamplingConfig,
    model: LoadedModel,
    length: PieceLength,
    body: dict[str, Any],
    piece: GeneratedPiece,
) -> Path:
    """Write a piece that continues the primer, and its JSON; print its path."""
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
    return path
