"""Load a folder of MIDI files as a vocabulary and training and held-out pieces of ids."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm import midi, tokenizers
from midilstm.config import DataConfig
from midilstm.data import cluster, duplicates, parsing
from midilstm.data.cache import Cache, default_path
from midilstm.data.files import FolderListing, describe_unsupported, list_folder
from midilstm.data.parsing import ParsedFile, ParsedPiece, ParseError
from midilstm.fileio import InputError
from midilstm.tokenizers.base import Encoding
from midilstm.tokenizers.bpe import Merges, learn
from midilstm.tokenizers.vocabulary import END, Vocabulary


@dataclass(frozen=True)
class ReadReport:
    """What became of the files of a folder."""

    found: int
    unsupported: dict[str, list[Path]]  # music in other formats, by kind
    skipped: list[tuple[Path, ParseError]] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)  # and the file that is used
    from_cache: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Dataset:
    """The pieces of a folder, by file name, ready for training: int32 [n], the last id 0 (END)."""

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    report: ReadReport
    pieces: dict[str, ParsedPiece]  # without their tokens
    duplicate_groups: list[list[str]] = field(default_factory=list)  # of versions of one tune

    @property
    def n_tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return sum(map(len, (*self.training.values(), *self.held_out.values())))

    def fingerprint(self) -> str:
        """Return a hash of the vocabulary and of the training and held-out ids, in order."""
        digest = hashlib.sha256("\n".join(self.vocabulary.tokens).encode())
        for pieces in (self.training, self.held_out):
            digest.update(b"|")
            for ids in pieces.values():
                digest.update(ids.astype("<i4").tobytes())
        return digest.hexdigest()


def load_dataset(config: DataConfig, *, merges: Merges | None = None) -> Dataset:
    """Parse all MIDI files of a folder and split them; raise InputError if none is usable.

    Without `merges`, up to `config.bpe` merges are learned from the training pieces.
    """
    encoding = tokenizers.get(config.encoding)
    if config.bpe and type(encoding).is_mergeable is Encoding.is_mergeable:
        raise InputError(f"--bpe has nothing to merge in --encoding={config.encoding}")
    listing = list_folder(config.data_dir)
    if not listing.midi_files:
        raise _no_midi_files(config.data_dir, listing)
    tokens, pieces, report = _collect(_parse(config, encoding, listing), config, listing)
    melodies = {name: piece.melody_hashes for name, piece in pieces.items()}
    groups = duplicates.duplicate_groups(melodies) if config.group_versions else []
    hashes = {name: piece.music_hash for name, piece in pieces.items()}
    held_out = select_held_out(hashes, config.validation, config.seed, groups)
    if merges is None:
        training = [piece for name, piece in tokens.items() if name not in held_out]
        merges = learn(training, config.bpe, encoding.is_mergeable) if config.bpe else ()
    unmerged = Vocabulary((END,), config.encoding, merges)
    vocabulary, ids = _to_ids(tokens, unmerged, transpose=config.transpose)
    return Dataset(
        vocabulary,
        {name: ids[name] for name in tokens if name not in held_out},
        {name: ids[name] for name in tokens if name in held_out},
        report,
        pieces,
        groups,
    )


def _no_midi_files(data_dir: Path, listing: FolderListing) -> InputError:
    kinds = [describe_unsupported(kind, len(x)) for kind, x in listing.unsupported.items()]
    others = f", only {', '.join(kinds)}" if kinds else ""
    return InputError(
        f"no MIDI files in {data_dir}{others}: put some .mid files there, name another folder "
        "with --data-dir, or run 'python train.py --demo' to train on Bach chorales"
    )


def _parse(config: DataConfig, encoding: Encoding, listing: FolderListing) -> Iterable[ParsedFile]:
    """Parse the files on a cluster or in processes of this machine."""
    pool: parsing.Pool = partial(cluster.dask_cluster, config)
    if not config.scheduler:
        jobs = min(config.jobs, len(listing.midi_files))
        parse = parsing.parser(config)
        pool = partial(parsing.local_pool, parse, jobs, config.max_file_seconds)
    pedal = config.pedal and encoding.keeps_rhythm
    versions = f"{encoding.version} {midi.VERSION} {duplicates.VERSION}"
    return parsing.parse_files(
        listing,
        cache=Cache(default_path() if config.cache else None),
        key_suffix=f"{config.encoding} {versions} {pedal}",
        pool=pool,
        window=cluster.WINDOW if config.scheduler else 64,
    )


def _collect(
    parsed_files: Iterable[ParsedFile], config: DataConfig, listing: FolderListing
) -> tuple[dict[str, tuple[str, ...]], dict[str, ParsedPiece], ReadReport]:
    """Return each piece's tokens and its other properties, by file name, and a report."""
    began = time.perf_counter()
    report = ReadReport(len(listing.midi_files), listing.unsupported)
    tokens, pieces, from_cache = {}, {}, 0
    bar = {"unit": "file", "delay": 1, "leave": False, "disable": None}
    for path, result, is_cached in tqdm(parsed_files, "Reading MIDI", report.found, **bar):
        if isinstance(result, ParsedPiece) and result.notes < config.min_notes:
            detail = f"too few notes ({result.notes}, less than --min-notes={config.min_notes})"
            result = ParseError("too few notes", detail)
        if isinstance(result, ParseError):
            report.skipped.append((path, result))
        elif isinstance(result, Path):
            report.duplicates.append((path, result))
        else:
            name = path.relative_to(config.data_dir).as_posix()
            tokens[name] = tuple(map(sys.intern, result.tokens))
            pieces[name] = replace(result, tokens=())
            from_cache += is_cached
    if not tokens:
        path, error = report.skipped[0]
        raise InputError(
            f"none of the {report.found} MIDI files in {config.data_dir} could be used; "
            f"the first, {path.name}: {error.detail}"
        )
    seconds = time.perf_counter() - began
    return tokens, pieces, replace(report, from_cache=from_cache, seconds=seconds)


def select_held_out(
    hashes: dict[str, str], fraction: float, seed: int, groups: Sequence[Sequence[str]] = ()
) -> set[str]:
    """Select a fraction of pieces, given name → hash of the music, so that a new one moves few.

    Each of `groups` of names is selected whole or not at all, and at least one piece is left.
    """
    ranks = {x: hashlib.sha256(f"{seed} {hashes[x]}".encode()).hexdigest() for x in hashes}
    count = max(1, round(fraction * len(hashes))) if fraction and len(hashes) > 2 else 0
    group_of = {name: group for group in groups for name in group}
    ranked = {name: group_of.get(name, [name]) for name in sorted(hashes, key=ranks.__getitem__)}
    held_out: set[str] = set()
    for name, group in ranked.items():
        if name not in held_out and len(held_out) + len(group) <= count:
            held_out.update(group)
    smallest = min(ranked.values(), key=len)
    if count and not held_out and len(smallest) < len(hashes):
        held_out.update(smallest)
    return held_out


def _to_ids(
    tokens: dict[str, tuple[str, ...]], unmerged: Vocabulary, *, transpose: bool
) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    """Return the vocabulary of pieces, to which the merges of `unmerged` are applied, and ids."""
    pieces = {name: unmerged.apply_merges(piece) for name, piece in tokens.items()}
    # Tokens that only occur merged may stand alone in other music.
    all_tokens = set(map(" ".join, unmerged.merges)).union(*tokens.values(), *pieces.values())
    vocabulary = replace(unmerged, tokens=(END, *sorted(all_tokens)))
    if transpose:
        vocabulary = vocabulary.transposition_closure()
    return vocabulary, {name: vocabulary.ids_of([*piece, END]) for name, piece in pieces.items()}
