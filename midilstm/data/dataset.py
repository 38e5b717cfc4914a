"""Load a folder of MIDI files as a vocabulary and training and held-out pieces of ids."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from midilstm import tokenizers
from midilstm.config import DataConfig
from midilstm.data import duplicates
from midilstm.data.files import ReadReport, list_folder
from midilstm.data.parsing import ParsedPiece
from midilstm.data.reading import read_files
from midilstm.fileio import InputError
from midilstm.tokenizers.base import Encoding
from midilstm.tokenizers.bpe import learn
from midilstm.tokenizers.vocabulary import END, Vocabulary


@dataclass(frozen=True)
class Dataset:
    """The pieces of a folder, by file name, ready for training: int32 [n], the last id 0 (END).

    Their order depends on the music alone, not on the names.
    """

    vocabulary: Vocabulary
    training: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    report: ReadReport
    pieces: dict[str, ParsedPiece]  # without their tokens
    duplicate_groups: list[list[str]] = field(default_factory=list)  # of versions of one tune
    hashes: dict[str, str] = field(default_factory=dict)  # of the tokens of each piece

    @property
    def n_tokens(self) -> int:
        """Return the number of ids in all pieces, ends included."""
        return self.n_training_tokens + sum(map(len, self.held_out.values()))

    @property
    def n_training_tokens(self) -> int:
        """Return the number of ids in the training pieces, ends included."""
        return sum(map(len, self.training.values()))

    def fingerprint(self) -> str:
        """Return a hash of the vocabulary and of the training and held-out ids, in order."""
        digest = sha256("\n".join(self.vocabulary.tokens).encode())
        for pieces in (self.training, self.held_out):
            digest.update(b"|")
            for ids in pieces.values():
                digest.update(ids.astype("<i4").tobytes())
        return digest.hexdigest()


def load_dataset(
    config: DataConfig, *, like: Vocabulary | None = None, skip: Container[str] = ()
) -> Dataset:
    """Parse all MIDI files of a folder and split them; raise InputError if none is usable.

    Tokens are abbreviated and merged as in the vocabulary `like`. Without one, they are abbreviated
    if each piece has a single instrument, and up to `config.bpe` merges are learned from the
    training pieces. Files whose names are in `skip` are not parsed.
    """
    encoding = tokenizers.get(config.encoding)
    if config.bpe and type(encoding).is_mergeable is Encoding.is_mergeable:
        raise InputError(f"--bpe has nothing to merge in --encoding={config.encoding}")
    report = list_folder(config.data_dir, follow_links=config.follow_links)
    report.skip(skip, config.data_dir)
    pieces = read_files(report, config)
    pieces = dict(sorted(pieces.items(), key=lambda item: (item[1].music_hash, item[1].tokens)))
    melodies = {name: piece.melody_hashes for name, piece in pieces.items()}
    groups = duplicates.duplicate_groups(melodies) if config.group_versions else []
    hashes = {name: piece.music_hash for name, piece in pieces.items()}
    held_out = select_held_out(hashes, config.validation, config.seed, groups)
    tokens = {name: piece.tokens for name, piece in pieces.items()}
    if like is None:
        is_solo = bool(encoding.solo) and all(len(x.instruments) == 1 for x in pieces.values())
        like = Vocabulary((END,), config.encoding, is_solo=is_solo)
        if config.bpe:
            training = [like.apply_merges(tokens[name]) for name in tokens if name not in held_out]
            like = replace(like, merges=learn(training, config.bpe, encoding.is_mergeable))
    unmerged = replace(like, tokens=(END,))
    vocabulary, ids = _to_ids(tokens, unmerged, transpose=config.transpose)
    return Dataset(
        vocabulary,
        {name: ids[name] for name in tokens if name not in held_out},
        {name: ids[name] for name in tokens if name in held_out},
        report,
        {name: replace(piece, tokens=()) for name, piece in pieces.items()},
        groups,
        {name: sha256("\n".join(piece).encode()).hexdigest() for name, piece in tokens.items()},
    )


def select_held_out(
    hashes: dict[str, str], fraction: float, seed: int, groups: Sequence[Sequence[str]] = ()
) -> set[str]:
    """Select a fraction of pieces, given name → hash of the music, so that a new one moves few.

    Each of `groups` of names is selected whole or not at all, and at least one piece is left.
    """
    ranks = {x: sha256(f"{seed} {hashes[x]}".encode()).hexdigest() for x in hashes}
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
    pieces = {name: unmerged.apply_merges(piece) for name, piece in tokens.items()}
    # Tokens that only occur merged may stand alone in other music.
    all_tokens = set(map(" ".join, unmerged.merges)).union(*tokens.values(), *pieces.values())
    vocabulary = replace(unmerged, tokens=(END, *sorted(all_tokens)))
    if transpose:
        vocabulary = vocabulary.transposition_closure()
    return vocabulary, {name: vocabulary.ids_of([*piece, END]) for name, piece in pieces.items()}
