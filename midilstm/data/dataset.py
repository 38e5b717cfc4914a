"""A folder of MIDI files → a vocabulary, training and held-out pieces as ids. Knows no networks."""

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

from midilstm import tokenizers as encodings
from midilstm.config import DataConfig
from midilstm.data import cluster, duplicates, remote
from midilstm.data import parsing as reading
from midilstm.data.files import find_files
from midilstm.data.parsing import ParsedFile, ParsedPiece, ParseError
from midilstm.fileio import InputError
from midilstm.tokenizers.base import Encoding
from midilstm.tokenizers.bpe import Merges, learn
from midilstm.tokenizers.vocabulary import END, Vocabulary


@dataclass
class ReadReport:
    """What happened to the files of a folder."""

    found: int
    unread: dict[str, list[Path]]  # music that is no MIDI, by what it is and what to do
    skipped: list[tuple[Path, ParseError]] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)  # and the first of its kind
    from_cache: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Dataset:
    """A collection ready for training: each piece int32 [n], its last id 0 (END)."""

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]  # file name → ids
    held_out: dict[str, np.ndarray]
    report: ReadReport
    pieces: dict[str, ParsedPiece]  # file name → what its file holds, without its tokens
    duplicate_groups: list[list[str]] = field(
        default_factory=list
    )  # file names, by tune, of two or more

    @property
    def n_tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return sum(map(len, (*self.training.values(), *self.held_out.values())))

    def fingerprint(self) -> str:
        """Return a hash of what is trained on and what is held out, in order."""
        whole = hashlib.sha256("\n".join(self.vocabulary.tokens).encode())
        for part in (self.training, self.held_out):
            whole.update(b"|")
            for ids in part.values():
                whole.update(ids.astype("<i4").tobytes())
        return whole.hexdigest()


def load_dataset(config: DataConfig, *, merges: Merges | None = None) -> Dataset:
    """Parse all MIDI files of a folder and split them; raise InputError if none is usable.

    Without `merges` up to `config.bpe` of them are learned from the training pieces.
    """
    name, data_dir = config.encoding, config.data_dir
    encoding = encodings.get(name)
    if config.bpe and type(encoding).is_mergeable is Encoding.is_mergeable:
        raise InputError(f"--bpe has nothing to merge in --encoding={name}")
    far = remote.listing(data_dir) if remote.url_of(data_dir) else {}
    paths, report = _found(data_dir, far)
    parse = partial(reading.parse_bytes, name=name, pedal=config.pedal)
    jobs = min(config.jobs, len(paths))
    pool = partial(reading.local_pool, parse, jobs, config.max_file_seconds)
    window = 64
    if config.scheduler:
        pool = partial(
            cluster.dask_cluster, name, config.pedal, config.max_file_seconds, config.scheduler
        )
        window = cluster.WINDOW
    cache = reading.cache_for(data_dir, name, pedal=config.pedal)
    outcomes = reading.parse_files(paths, name=name, cache=cache, pool=pool, window=window, far=far)
    tokens, sizes = _gathered(outcomes, report, data_dir, config.min_notes)
    spans = {file: size.melody_hashes for file, size in sizes.items()}
    tunes = duplicates.duplicate_groups(spans) if config.group_versions else []
    music = {file: size.music for file, size in sizes.items()}
    held_out = held_out_names(music, config.validation, config.seed, tunes)
    if merges is None:
        training = [piece for file, piece in tokens.items() if file not in held_out]
        merges = learn(training, config.bpe, encoding.is_mergeable) if config.bpe else ()
    vocabulary, ids = _numbered(
        tokens, Vocabulary((END,), name, merges), transpose=config.transpose
    )
    held = {file: ids.pop(file) for file in tokens if file in held_out}
    return Dataset(vocabulary, ids, held, report, sizes, tunes)


def _found(data_dir: Path, far: Iterable[Path]) -> tuple[list[Path], ReadReport]:
    if not far and not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give a folder of .mid files with --data-dir")
    paths, unread = find_files(data_dir, far)
    if not paths:
        others = "".join(f", but {len(files):,} {kind}" for kind, files in unread.items())
        raise InputError(
            f"no MIDI files in {data_dir}{others}: put some .mid there, name another folder "
            "with --data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    return paths, ReadReport(len(paths), unread)


def _gathered(
    outcomes: Iterable[ParsedFile], report: ReadReport, data_dir: Path, min_notes: int
) -> tuple[dict[str, tuple[str, ...]], dict[str, ParsedPiece]]:
    """Return each piece's tokens, and what else is known of it, by file; report on the others."""
    began = time.perf_counter()
    tokens, sizes = {}, {}
    bar = {"unit": "file", "delay": 1, "leave": False, "disable": None}
    for path, result, is_cached in tqdm(outcomes, "Reading MIDI", report.found, **bar):
        if isinstance(result, ParsedPiece) and result.notes < min_notes:
            detail = f"too few notes ({result.notes}, and --min-notes asks for {min_notes})"
            result = ParseError("too few notes", detail)
        if isinstance(result, ParseError):
            report.skipped.append((path, result))
        elif isinstance(result, Path):
            report.duplicates.append((path, result))
        else:
            file = path.relative_to(data_dir).as_posix()
            tokens[file] = tuple(map(sys.intern, result.tokens))
            sizes[file] = replace(result, tokens=())
            report.from_cache += is_cached
    report.seconds = time.perf_counter() - began
    if not tokens:
        path, refusal = report.skipped[0]
        raise InputError(
            f"none of the {report.found} MIDI files in {data_dir} could be used; "
            f"the first, {path.name}: {refusal.detail}"
        )
    return tokens, sizes


def held_out_names(
    music: dict[str, str], share: float, seed: int, tunes: Sequence[Sequence[str]] = ()
) -> set[str]:
    """Choose from pieces, name → fingerprint (the same in every encoding): a new one moves few.

    Of `tunes`, groups of names, each is chosen whole or not at all, at least one piece is left.
    """
    ranks = {x: hashlib.sha256(f"{seed} {music[x]}".encode()).hexdigest() for x in music}
    count = max(1, round(share * len(music))) if share and len(music) > 2 else 0
    rng_batch_of = {name: tune for tune in tunes for name in tune}
    held_out: set[str] = set()
    wanted = {name: rng_batch_of.get(name, [name]) for name in sorted(music, key=ranks.__getitem__)}
    for name, group in wanted.items():
        if name not in held_out and len(held_out) + len(group) <= count:
            held_out.update(group)
    smallest = min(wanted.values(), key=len)
    if count and not held_out and len(smallest) < len(music):
        held_out.update(smallest)
    return held_out


def _numbered(
    tokens: dict[str, tuple[str, ...]], merging: Vocabulary, *, transpose: bool
) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    """Return the vocabulary of pieces, with the merges of `merging` made, and their ids."""
    pieces = {file: merging.apply_merges(piece) for file, piece in tokens.items()}
    # Also what is only ever a part of a larger token here: it may stand alone in other music.
    every = set(map(" ".join, merging.merges)).union(*tokens.values(), *pieces.values())
    vocabulary = replace(merging, tokens=(END, *sorted(every)))
    if transpose:
        vocabulary = vocabulary.transposition_closure()
    return vocabulary, {file: vocabulary.ids_of([*piece, END]) for file, piece in pieces.items()}
