"""Load, read or draw the pieces that are evaluated, and cut them to one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from midilstm import midi
from midilstm.config import DataConfig, ReadingConfig
from midilstm.data.dataset import Dataset, load_dataset
from midilstm.evaluation.features import NoteArray
from midilstm.fileio import InputError
from midilstm.generation.sampler import Sampler
from midilstm.run_settings import RunSettings
from midilstm.tokenizers.vocabulary import Vocabulary

Pieces = Mapping[str, np.ndarray]  # name → ids int [n]


def subsample(pieces: Pieces, size: int, rng: np.random.Generator) -> Pieces:
    """Return at most `size` pieces, drawn at random, in their order."""
    if len(pieces) <= size:
        return pieces
    chosen = set(rng.choice(len(pieces), size, replace=False).tolist())
    return {name: ids for index, (name, ids) in enumerate(pieces.items()) if index in chosen}


def reading_flags(config: ReadingConfig) -> dict[str, Any]:
    """Return where MIDI files are and how they are read."""
    return {flag.name: getattr(config, flag.name) for flag in fields(ReadingConfig)}


def load_music(
    config: DataConfig, settings: RunSettings | None, vocabulary: Vocabulary
) -> tuple[Dataset, list[str]]:
    """Load the dataset of the run with these settings, split as it was, and warnings.

    Raise InputError where the files that `config` names are not those of the run. Without settings
    all pieces are held out, in this vocabulary.
    """
    if settings is None:
        other = replace(config, validation=0, transpose=False)
        return convert_to_vocabulary(load_dataset(other, like=vocabulary), vocabulary)
    config = replace(settings.data, **reading_flags(config))
    dataset = load_dataset(config, like=vocabulary, skip=settings.dataset.skipped)
    if dataset.fingerprint() == settings.dataset.sha256:
        return dataset, []
    raise InputError(
        f"{config.data_dir} does not hold the music that the model was trained on "
        f"({settings.dataset.pieces:,} pieces with {settings.dataset.tokens:,} tokens, but this "
        f"folder has {len(dataset.training) + len(dataset.held_out):,} with {dataset.n_tokens:,}): "
        "give that folder with --data-dir, or add --other-corpus to evaluate all pieces of this one"
    )


def convert_to_vocabulary(dataset: Dataset, vocabulary: Vocabulary) -> tuple[Dataset, list[str]]:
    """Return a dataset's pieces as held out, in this vocabulary, and a warning of lost tokens."""
    table = vocabulary.ids_of(dataset.vocabulary.tokens)
    unknown = [dataset.vocabulary.tokens[index] for index in np.flatnonzero(table < 0)]
    known = {name: table[ids][table[ids] >= 0] for name, ids in dataset.training.items()}
    n_lost = dataset.n_tokens - sum(map(len, known.values()))
    warning = (
        f"Left out: {n_lost:,} of {dataset.n_tokens:,} tokens, of {len(unknown):,} kinds that the "
        f"model does not know ({', '.join(unknown[:10])}{' ...' if len(unknown) > 10 else ''}). "
        "The nats per note and per quarter do not include them and are too low."
    )
    converted = replace(dataset, vocabulary=vocabulary, training={}, held_out=known)
    return converted, [warning] if unknown else []


def read_folder(
    folder: Path, config: DataConfig, vocabulary: Vocabulary
) -> tuple[Pieces, Vocabulary]:
    """Read a folder's pieces, without ends, and extend the vocabulary by their new tokens."""
    config = replace(config, data_dir=folder, validation=0, transpose=False)
    dataset = load_dataset(config, like=vocabulary)
    new = [token for token in dataset.vocabulary.tokens if token not in vocabulary.token_ids]
    extended = replace(vocabulary, tokens=(*vocabulary.tokens, *new))
    table = extended.ids_of(dataset.vocabulary.tokens)
    return {name: table[ids[:-1]] for name, ids in dataset.training.items()}, extended


def sample_pieces(sampler: Sampler, seeds: Sequence[int]) -> Pieces:
    """Draw a piece of the sampler's length for each seed."""
    named = zip(seeds, sampler.draw(seeds), strict=True)
    return {f"generated piece of seed {seed}": np.array(p.ids, np.int32) for seed, p in named}


def typical_length(dataset: Dataset) -> int:
    """Return the median length without ends of held-out pieces, or of training pieces if none."""
    pieces = dataset.held_out or dataset.training
    return max(1, int(np.median([len(ids) - 1 for ids in pieces.values()])))


def cut_sets(generated: Pieces, dataset: Dataset, length: int) -> dict[str, Pieces]:
    """Return the sets of pieces to compare, cut to one length, without ends and empty pieces."""
    sets: dict[str, Pieces] = {"generated": {name: ids[:length] for name, ids in generated.items()}}
    for group, pieces in (("held_out", dataset.held_out), ("training", dataset.training)):
        if cut := {name: ids[:-1][:length] for name, ids in pieces.items() if len(ids) > 1}:
            sets[group] = cut
    return sets


def decode(ids: np.ndarray, vocabulary: Vocabulary) -> midi.Score:
    """Return the score of ids int [n], without those that are invalid."""
    encoding = vocabulary.encoding
    return encoding.decode(encoding.drop_invalid([vocabulary.tokens[i] for i in ids]))


def to_note_arrays(pieces: Pieces, vocabulary: Vocabulary) -> list[NoteArray]:
    """Return the notes of each piece."""
    tokens, timed_notes = vocabulary.tokens, vocabulary.encoding.timed_notes
    return [
        NoteArray.from_notes(timed_notes([tokens[token_id] for token_id in ids]), ids)
        for ids in pieces.values()
    ]
