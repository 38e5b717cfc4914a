"""What generated files share with training pieces, saved for the listening page. Samples nothing.

copies.json has, by file, the longest run that stands in a training piece in any key, where it is
longer than people's: its place, and the notes of the training piece's passage, so that the page
needs no corpus.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from midilstm import midi
from midilstm import model_dir as runs
from midilstm.data.dataset import Dataset
from midilstm.evaluation.copying import LENGTHS, SHIFTS, TrainingIndex, transpositions
from midilstm.evaluation.piece_sets import Pieces, load_music
from midilstm.fileio import InputError, printable, warn, write_atomically
from midilstm.generation.loaded_model import LoadedModel
from midilstm.tokenizers.vocabulary import Vocabulary

Name = TypeVar("Name")  # a file's, or a seed
FILE, MARK = "copies.json", "by evaluate.py"
LEAST = LENGTHS[-1]  # ids: less is no copy


class Copy(NamedTuple):
    """The longest run of a piece that stands in a training piece, `semitones` higher."""

    tokens: int
    semitones: int
    start: int
    piece: str
    piece_start: int


def long_copies(
    made: Mapping[Name, np.ndarray], corpus: Dataset, vocabulary: Vocabulary
) -> dict[Name, Copy]:
    """Return, by name, the copies in pieces, ids without ends, that are longer than people's.

    People's are what held-out pieces of the length share with training pieces, but for one in 20.
    """
    originals = TrainingIndex({name: ids[:-1] for name, ids in corpus.training.items()})
    length = max(map(len, made.values()), default=0)
    people = {name: ids[:-1][:length] for name, ids in corpus.held_out.items()}
    shared = [found.tokens for found in _longest(people, originals, vocabulary)]
    usual = int(np.quantile(shared, 0.95, method="higher")) if shared else 0
    every = zip(made, _longest(made, originals, vocabulary), strict=True)
    return {name: found for name, found in every if found.tokens >= max(LEAST, usual + 1)}


def copied(data_dir: Path, model: LoadedModel, made: Mapping[int, np.ndarray]) -> list[int | None]:
    """Return how many ids of each piece are a long copy, of the music that a model was trained on.

    It is 0 for none. Where that music is not in the folder, say so, and return None for each.
    """
    vocabulary, settings = model.vocabulary, runs.load_settings(model.checkpoint_path.parent)
    config = replace(settings.data, data_dir=data_dir)
    try:
        corpus, _ = load_music(config, settings, vocabulary)
    except InputError:
        where = f"{data_dir} does not hold the music that the model was trained on (--data-dir)"
        warn(f"--best cannot tell copies, for {where}")
        return [None] * len(made)
    found = long_copies(made, corpus, vocabulary)
    return [found[name].tokens if name in found else 0 for name in made]


def _longest(
    pieces: Mapping[Any, np.ndarray], originals: TrainingIndex, vocabulary: Vocabulary
) -> Iterator[Copy]:
    """Yield each piece's longest run in an original, in any key."""
    keys = transpositions(pieces, vocabulary)
    lengths = originals.longest([ids for moved in keys for ids in moved])
    for moved, row in zip(keys, lengths.reshape(-1, len(SHIFTS)), strict=True):
        key = int(row.argmax())
        match = originals.match(moved[key], int(row[key]))
        place = (match["start"], match["piece"], match["piece_start"])
        yield Copy(match["length"], SHIFTS[key], *place)


def write_copies(folder: Path, made: Pieces, corpus: Dataset, vocabulary: Vocabulary) -> None:
    """Write the long copies in a folder's files, ids without ends."""
    found = {
        name: {
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            "piece": copy.piece,
            "semitones": copy.semitones,
            "tokens": copy.tokens,
            "bars": where(vocabulary, made[name], copy.start, copy.tokens),
            "notes": heard(vocabulary, corpus.training[copy.piece], copy.piece_start, copy.tokens),
        }
        for name, copy in long_copies(made, corpus, vocabulary).items()
    }
    path = folder / FILE
    if path.exists() and MARK.encode() not in path.read_bytes():
        raise InputError(f"{path} is not evaluate.py's work and stays: move it away to write there")
    write_atomically(path, json.dumps({"made": MARK, "copies": found}, indent=1) + "\n")
    print(printable(f"Wrote {path}: the page plays copies beside their originals"))


def where(vocabulary: Vocabulary, ids: np.ndarray, start: int, length: int) -> list[float]:
    """Return the bars after a piece's beginning at which a passage, and what follows it, sounds."""
    encoding = vocabulary.encoding
    clock, found = encoding.clock(), [np.inf, np.inf]
    for place, number in enumerate(ids.tolist()):
        for part in vocabulary.tokens[number].split(" "):
            if place >= start and encoding.content(part).has_notes:
                after = int(place >= start + length)
                found[after] = min(found[after], clock.position()[0])
            clock.advance(part)
    return [bars if bars < np.inf else clock.position()[0] + 1 for bars in found]


def heard(
    vocabulary: Vocabulary, ids: np.ndarray, start: int, length: int
) -> list[tuple[float, float, int, int, int]]:
    """Return a passage's notes: start and end in seconds, pitch, velocity, program."""
    tokens = [vocabulary.tokens[number] for number in ids[: start + length]]
    encoding = vocabulary.encoding
    song = encoding.decode(
        encoding.drop_invalid(encoding.with_header(tokens[start:], tokens[:start]))
    )
    beat = song.ticks_per_quarter * next(iter(song.tempos.values()), midi.DEFAULT_BPM) / 60
    first = min((note.start for note in song.notes), default=0)
    return [
        (
            round((note.start - first) / beat, 3),
            round((note.start + note.length - first) / beat, 3),
            *(note.pitch, note.velocity, note.program),
        )
        for note in song.notes
    ]
