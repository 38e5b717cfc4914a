"""A folder of MIDI files → a vocabulary, training and held-out pieces as ids. Knows no networks."""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midilstm import tokens as encodings
from midilstm.corpus import reading
from midilstm.corpus.reading import Duplicate, Parsed, Piece, Skipped
from midilstm.files import InputError
from midilstm.tokens import bpe
from midilstm.tokens.bpe import Merges
from midilstm.tokens.vocabulary import END, Vocabulary


@dataclass
class Report:
    """What happened to the files of a folder."""

    found: int = 0
    parsed: int = 0
    from_cache: int = 0
    seconds: float = 0.0
    notes: int = 0
    quarters: float = 0.0
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    instruments: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: reading.Outcome) -> None:
        """Count one file's outcome."""
        if isinstance(outcome, Skipped):
            self.skipped.append(outcome)
        elif isinstance(outcome, Duplicate):
            self.duplicates.append(outcome)
        else:
            self.parsed += 1
            self.from_cache += outcome.cached
            self.notes += outcome.piece.notes
            self.quarters += outcome.piece.quarters
            self.instruments.update(outcome.piece.instruments)


@dataclass(frozen=True)
class Size:
    """How much music a piece is, whatever its encoding."""

    notes: int
    quarters: float


@dataclass(frozen=True)
class Corpus:
    """A collection ready for training: each piece int32 [n], its last id 0 (END)."""

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]  # file name → ids
    held_out: dict[str, np.ndarray]
    report: Report
    sizes: dict[str, Size] = field(default_factory=dict)  # file name → notes and quarters

    @property
    def tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return sum(map(len, self.training.values())) + sum(map(len, self.held_out.values()))

    def digest(self) -> str:
        """Return a hash of what is trained on and what is held out, in order."""
        whole = hashlib.sha256("\n".join(self.vocabulary.tokens).encode())
        for part in (self.training, self.held_out):
            whole.update(b"|")
            for ids in part.values():
                whole.update(ids.astype("<i4").tobytes())
        return whole.hexdigest()


@dataclass
class _Read:
    """What was read of a folder, before there is a vocabulary."""

    report: Report
    numbers: dict[str, int] = field(default_factory=dict)  # token → provisional number
    pieces: dict[str, array[int]] = field(default_factory=dict)  # file name → provisional numbers
    sizes: dict[str, Size] = field(default_factory=dict)
    music: dict[str, str] = field(default_factory=dict)  # each piece's fingerprint

    def add(self, path: str, piece: Piece) -> None:
        self.sizes[path] = Size(piece.notes, piece.quarters)
        self.music[path] = piece.music
        self.pieces[path] = self._numbered(piece.tokens)

    def _numbered(self, tokens: Sequence[str]) -> array[int]:
        return array("i", (self.numbers.setdefault(token, len(self.numbers)) for token in tokens))

    def merge(self, vocabulary: Vocabulary) -> None:
        """Make the vocabulary's merges in every piece."""
        names, self.numbers = list(self.numbers), {}
        for path, piece in self.pieces.items():
            tokens = vocabulary.spelled([names[number] for number in piece])
            self.pieces[path] = self._numbered(tokens)


def load_corpus(
    data_dir: Path,
    *,
    name: str = "notes",
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

    With `transpose` the vocabulary has every token in every key. `bpe` is the number of merges to
    learn from the training pieces, or the merges to make.
    """
    paths = _files(data_dir)
    began = time.perf_counter()
    read = _Read(Report(found=len(paths)))
    for outcome in _outcomes(paths, data_dir, name, jobs, max_file_seconds, scheduler):
        outcome = gated(outcome, min_notes)
        read.report.add(outcome)
        if isinstance(outcome, Parsed):
            read.add(outcome.path.relative_to(data_dir).as_posix(), outcome.piece)
    read.report.seconds = time.perf_counter() - began
    if not read.pieces:
        first = read.report.skipped[0]
        raise InputError(
            f"none of the {len(paths)} MIDI files in {data_dir} could be used; "
            f"the first, {first.path.name}: {first.detail}"
        )
    held_out = held_out_names(read.music, validation, seed)
    pairs = _learned(read, held_out, name, bpe) if isinstance(bpe, int) else bpe
    tokens = set(read.numbers)
    if pairs:
        read.merge(Vocabulary((END,), name, pairs))
        # Also what is only ever a part of a larger token here: it may stand alone in other music.
        tokens.update(read.numbers, map(" ".join, pairs))
    vocabulary = Vocabulary((END, *sorted(tokens)), name, pairs)
    if transpose:
        vocabulary = vocabulary.closed()
    arrays = _renumbered(read.pieces, list(read.numbers), vocabulary)
    return Corpus(
        vocabulary,
        {path: ids for path, ids in arrays.items() if path not in held_out},
        {path: ids for path, ids in arrays.items() if path in held_out},
        read.report,
        read.sizes,
    )


def _learned(read: _Read, held_out: set[str], name: str, count: int) -> Merges:
    """Learn merges from the training pieces alone."""
    if not count:
        return ()
    names = list(read.numbers)
    training = (
        [names[number] for number in piece]
        for path, piece in read.pieces.items()
        if path not in held_out
    )
    return bpe.learn(training, count, encodings.get(name).joins)


def _renumbered(
    pieces: dict[str, array[int]], tokens: list[str], vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """Turn each piece's places in `tokens` into ids of the vocabulary, an END after them."""
    ids_of = vocabulary.ids
    table = np.array([ids_of[token] for token in tokens], np.int32)
    return {
        path: np.append(table[np.frombuffer(places, np.int32)], np.int32(0))
        for path, places in pieces.items()
    }


def _files(data_dir: Path) -> list[Path]:
    if not data_dir.is_dir():
        raise InputError(f"{data_dir} is not a folder; give a folder of .mid files with --data-dir")
    paths = reading.find_files(data_dir)
    if not paths:
        raise InputError(
            f"no .mid or .midi files in {data_dir}: put some there, name another folder with "
            "--data-dir, or run 'python train.py --demo' to train on Bach chorales"
        )
    return paths


def _outcomes(
    paths: list[Path],
    data_dir: Path,
    name: str,
    jobs: int | None,
    max_file_seconds: float,
    scheduler: str | None,
) -> Iterator[reading.Outcome]:
    """Yield each file's outcome under a progress bar that shows after a second."""
    workers = min(jobs or os.cpu_count() or 1, len(paths))
    if scheduler:
        pool = partial(reading.dask_cluster, name, scheduler)
    else:
        pool = partial(reading.local_pool, name, workers, max_file_seconds)
    cache = reading.cache_for(data_dir, name)
    outcomes = reading.parse_files(paths, cache=cache, pool=pool)
    yield from tqdm(
        outcomes, "Reading MIDI", len(paths), unit="file", delay=1, leave=False, disable=None
    )


def gated(outcome: reading.Outcome, min_notes: int) -> reading.Outcome:
    """Turn a piece with too few notes into a skipped file."""
    if isinstance(outcome, Parsed) and outcome.piece.notes < min_notes:
        detail = f"too few notes ({outcome.piece.notes}, and --min-notes asks for {min_notes})"
        return Skipped(outcome.path, "too few notes", detail)
    return outcome


def held_out_names(music: dict[str, str], share: float, seed: int) -> set[str]:
    """Choose the held-out pieces by their fingerprints, so that a new file moves no old one.

    `music` maps a name to its fingerprint. It is the same in every encoding, and so is the split
    where every encoding can read every piece. At least one of three or more pieces; none when
    `share` is 0 or there are fewer.
    """
    if share == 0 or len(music) < 3:
        return set()
    count = max(1, round(share * len(music)))

    def rank(name: str) -> str:
        return hashlib.sha256(f"{seed} {music[name]}".encode()).hexdigest()

    return set(sorted(music, key=rank)[:count])
