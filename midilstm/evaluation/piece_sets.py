"""What is evaluated: the music of a run, other music, sampled pieces, files. Scores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from midilstm.config import DataConfig, ReadingConfig, SamplingConfig
from midilstm.data.dataset import Dataset, load_dataset
from midilstm.evaluation.features import NoteArray
from midilstm.fileio import InputError
from midilstm.generation import generate as loop
from midilstm.generation.network import Network
from midilstm.model_dir import RunSettings
from midilstm.tokenizers.vocabulary import Vocabulary

LISTENED = 200  # pieces of a set whose music is described, at most: each is compared with each

Pieces = Mapping[str, np.ndarray]  # name → ids int [n]


def subsample(pieces: Pieces, number: int, rng: np.random.Generator) -> Pieces:
    """Return at most `number` pieces, drawn, in order."""
    if len(pieces) <= number:
        return pieces
    chosen = set(rng.choice(len(pieces), number, replace=False).tolist())
    return {name: ids for place, (name, ids) in enumerate(pieces.items()) if place in chosen}


def load_music(
    config: DataConfig, settings: RunSettings | None, vocabulary: Vocabulary
) -> tuple[Dataset, list[str]]:
    """Load the music of the run with these settings, split as it was; InputError for other music.

    Without settings all pieces are held out, in this vocabulary; the notes say what that lacks.
    `config` says where the files are and how they are read.
    """
    merges = vocabulary.merges
    if settings is None:
        other = replace(config, validation=0, transpose=False)
        return in_vocabulary(load_dataset(other, merges=merges), vocabulary)
    reading = {item.name: getattr(config, item.name) for item in fields(ReadingConfig)}
    dataset = load_dataset(replace(settings.data, **reading), merges=merges)
    if dataset.fingerprint() == settings.dataset.sha256:
        return dataset, []
    raise InputError(
        f"{config.data_dir} does not hold the music that the model was trained on "
        f"({settings.dataset.pieces:,} pieces with {settings.dataset.tokens:,} tokens; here "
        f"{len(dataset.training) + len(dataset.held_out):,} with {dataset.n_tokens:,}): give that "
        "folder with --data-dir, or add --other-corpus to take every piece here as held out"
    )


def in_vocabulary(corpus: Dataset, vocabulary: Vocabulary) -> tuple[Dataset, list[str]]:
    """Return another corpus as held out, in this vocabulary, and a note on what that lacks."""
    table = vocabulary.ids_of(corpus.vocabulary.tokens)
    unknown = [corpus.vocabulary.tokens[number] for number in np.flatnonzero(table < 0)]
    known = {name: table[ids][table[ids] >= 0] for name, ids in corpus.training.items()}
    missing = corpus.n_tokens - sum(map(len, known.values()))
    note = (
        f"Left out: {missing:,} of {corpus.n_tokens:,} tokens, of {len(unknown):,} kinds that the "
        f"model does not know ({', '.join(unknown[:10])}{' ...' if len(unknown) > 10 else ''}). "
        "What a note and a quarter cost is too low by what these would have."
    )
    corpus = replace(corpus, vocabulary=vocabulary, training={}, held_out=known)
    return corpus, [note] if unknown else []


def read_folder(
    folder: Path, config: DataConfig, vocabulary: Vocabulary
) -> tuple[Pieces, Vocabulary]:
    """Read a folder's pieces, without ends; return them and a vocabulary with all their tokens."""
    config = replace(config, data_dir=folder, validation=0, transpose=False)
    corpus = load_dataset(config, merges=vocabulary.merges)
    new = [token for token in corpus.vocabulary.tokens if token not in vocabulary.token_ids]
    larger = replace(vocabulary, tokens=(*vocabulary.tokens, *new))
    table = larger.ids_of(corpus.vocabulary.tokens)
    return {name: table[ids[:-1]] for name, ids in corpus.training.items()}, larger


def sampled(
    network: Network,
    vocabulary: Vocabulary,
    seeds: Sequence[int],
    length: int,
    memory: loop.MatchModel | None = None,
    **knobs: Any,
) -> Pieces:
    """Sample a piece of `length` tokens for each seed; `knobs` are those of sampling."""
    rules: dict[str, Any] = {"memory": memory, "grammar": vocabulary.grammar()}
    total, chosen = len(seeds) * length, SamplingConfig(**knobs)
    with tqdm(None, "Sampling", total, unit="token", delay=2, leave=False, disable=None) as bar:
        pieces = loop.generate(network, seeds, length, chosen, progress=bar.update, **rules)
    named = zip(seeds, pieces, strict=True)
    return {f"generated piece of seed {seed}": np.array(ids, np.int32) for seed, ids in named}


def typical_length(corpus: Dataset) -> int:
    """Return the median length of people's pieces, held-out ones if there are any, without ends."""
    people = corpus.held_out or corpus.training
    return max(1, int(np.median([len(ids) - 1 for ids in people.values()])))


def beginnings(made: Pieces, corpus: Dataset, length: int) -> dict[str, Pieces]:
    """Return the sets of pieces to compare, cut to one length, without ends and empty ones."""
    people = {"held_out": corpus.held_out, "training": corpus.training}
    sets: dict[str, Pieces] = {"generated": {name: ids[:length] for name, ids in made.items()}}
    for group, pieces in people.items():
        if cut := {name: ids[:-1][:length] for name, ids in pieces.items() if len(ids) > 1}:
            sets[group] = cut
    return sets


def listen(pieces: Pieces, vocabulary: Vocabulary, rng: np.random.Generator) -> list[NoteArray]:
    """Return what each piece sounds like; of very many, some are drawn."""
    tokens, played = vocabulary.tokens, vocabulary.encoding.timed_notes
    chosen = subsample(pieces, LISTENED, rng).values()
    return [NoteArray.of(played([tokens[i] for i in ids]), ids) for ids in chosen]
