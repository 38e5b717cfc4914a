"""A folder of MIDI files → a vocabulary, training and held-out pieces as ids. Knows no networks."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm import tokens as encodings
from midilstm.corpus import reading
from midilstm.corpus.folder import find_files
from midilstm.corpus.reading import Outcome, Piece, Refusal
from midilstm.files import InputError
from midilstm.tokens.bpe import Merges, learn
from midilstm.tokens.encoding import Encoding
from midilstm.tokens.vocabulary import END, Vocabulary


@dataclass
class Report:
    """What happened to the files of a folder."""

    found: int
    unread: dict[str, list[Path]]  # music that is no MIDI, by what it is and what to do
    skipped: list[tuple[Path, Refusal]] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)  # and the first of its kind
    from_cache: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Corpus:
    """A collection ready for training: each piece int32 [n], its last id 0 (END)."""

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]  # file name → ids
    held_out: dict[str, np.ndarray]
    report: Report
    sizes: dict[str, Piece]  # file name → its notes and quarters

    @property
    def tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return sum(map(len, (*self.training.values(), *self.held_out.values())))

    def digest(self) -> str:
        """Return a hash of what is trained on and what is held out, in order."""
        whole = hashlib.sha256("\n".join(self.vocabulary.tokens).encode())
        for part in (self.training, self.held_out):
            whole.update(b"|")
            for ids in part.values():
                whole.update(ids.astype("<i4").tobytes())
        return whole.hexdigest()


def load_corpus(
    data_dir: Path,
    *,
    name: str = "notes",
    pedal: bool = True,
    validation: float = 0.1,
    seed: int = 0,
    jobs: int | None = None,
    max_file_seconds: float = 20.0,
    min_notes: int = 0,
    scheduler: str | None = None,
    transpose: bool = False,
    bpe: int | Merges = 0,
) -> Corpus:
    """Parse all MIDI files below `data_dir` and split them; raise InputError if none is usable.

    `bpe` is the number of merges to learn from the training pieces, or the merges to make.
    """
    encoding = encodings.get(name)
    if bpe and type(encoding).joins is Encoding.joins:
        raise InputError(f"--bpe has nothing to merge in --encoding={name}")
    paths, report = _found(data_dir)
    parse = partial(reading.parse_bytes, name=name, pedal=pedal)
    workers = min(jobs or os.cpu_count() or 1, len(paths))
    pool = partial(reading.local_pool, parse, workers, max_file_seconds)
    if scheduler:
        pool = partial(reading.dask_cluster, parse, scheduler)
    cache = reading.cache_for(data_dir, name, pedal=pedal)
    outcomes = reading.parse_files(paths, cache=cache, pool=pool)
    tokens, sizes = _gathered(outcomes, report, data_dir, min_notes)
    held_out = held_out_names({file: size.music for file, size in sizes.items()}, validation, seed)
    if isinstance(bpe, int):
        training = [piece for file, piece in tokens.items() if file not in held_out]
        bpe = learn(training, bpe, encoding.joins) if bpe else ()
    vocabulary, ids = _numbered(tokens, Vocabulary((END,), name, bpe), transpose=transpose)
    held = {file: ids.pop(file) for file in tokens if file in held_out}
    return Corpus(vocabulary, training=ids, held_out=held, report=report, sizes=sizes)


def _found(data_dir: Path) -> tuple[list[Path], Report]:
    if not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give a folder of .mid files with --data-dir")
    paths, unread = find_files(data_dir)
    if not paths:
        others = "".join(f", but {len(files):,} {kind}" for kind, files in unread.items())
        raise InputError(
            f"no .mid or .midi files in {data_dir}{others}: put some there, name another folder "
            "with --data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    return paths, Report(len(paths), unread)


def _gathered(
    outcomes: Iterable[Outcome], report: Report, data_dir: Path, min_notes: int
) -> tuple[dict[str, tuple[str, ...]], dict[str, Piece]]:
    """Return each piece's tokens, and what else is known of it, by file; report on the others."""
    began = time.perf_counter()
    tokens, sizes = {}, {}
    bar = {"unit": "file", "delay": 1, "leave": False, "disable": None}
    for path, result, is_cached in tqdm(outcomes, "Reading MIDI", report.found, **bar):
        if isinstance(result, Piece) and result.notes < min_notes:
            detail = f"too few notes ({result.notes}, and --min-notes asks for {min_notes})"
            result = Refusal("too few notes", detail)
        if isinstance(result, Refusal):
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


def held_out_names(music: dict[str, str], share: float, seed: int) -> set[str]:
    """Choose from pieces, name → fingerprint (the same in every encoding): a new one moves none."""
    ranks = {x: hashlib.sha256(f"{seed} {music[x]}".encode()).hexdigest() for x in music}
    count = max(1, round(share * len(music))) if share and len(music) > 2 else 0
    return set(sorted(music, key=ranks.__getitem__)[:count])


def _numbered(
    tokens: dict[str, tuple[str, ...]], merging: Vocabulary, *, transpose: bool
) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    """Return the vocabulary of pieces, with the merges of `merging` made, and their ids."""
    pieces = {file: merging.spelled(piece) for file, piece in tokens.items()}
    # Also what is only ever a part of a larger token here: it may stand alone in other music.
    every = set(map(" ".join, merging.merges)).union(*tokens.values(), *pieces.values())
    vocabulary = replace(merging, tokens=(END, *sorted(every)))
    if transpose:
        vocabulary = vocabulary.closed()
    return vocabulary, {file: vocabulary.table([*piece, END]) for file, piece in pieces.items()}
