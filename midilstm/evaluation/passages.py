"""What generated files share with training pieces, saved for the listening page. Samples nothing.

copies.json has, by file, the longest run that stands in a training piece in any key: where it is,
and the notes of the training piece's passage, so that the page needs no corpus.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from midilstm import midi
from midilstm.evaluation.copying import LENGTHS, SHIFTS, Originals, keys_of
from midilstm.evaluation.pieces import Pieces
from midilstm.files import InputError, printable, write_atomically
from midilstm.tokens.vocabulary import Vocabulary

FILE, MARK = "copies.json", "by evaluate.py"
LEAST = LENGTHS[-1]  # ids: what people share with each other is shorter, as a rule


def write_copies(folder: Path, made: Pieces, training: Pieces, vocabulary: Vocabulary) -> None:
    """Write the copies in a folder's files, ids without ends; training pieces have theirs."""
    originals = Originals({name: ids[:-1] for name, ids in training.items()})
    found = {}
    for name, keys in zip(made, keys_of(made, vocabulary), strict=True):
        lengths = originals.longest(keys)
        key, length = int(lengths.argmax()), int(lengths.max())
        if length >= LEAST:
            match = originals.match(keys[key], length)
            original = training[match["piece"]]
            found[name] = {
                "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
                "piece": match["piece"],
                "semitones": SHIFTS[key],
                "tokens": length,
                "bars": where(vocabulary, made[name], match["start"], length),
                "notes": heard(vocabulary, original, match["piece_start"], length),
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
            if place >= start and encoding.sounds(part).plays:
                after = int(place >= start + length)
                found[after] = min(found[after], clock.place()[0])
            clock.tell(part)
    return [bars if bars < np.inf else clock.place()[0] + 1 for bars in found]


def heard(
    vocabulary: Vocabulary, ids: np.ndarray, start: int, length: int
) -> list[tuple[float, float, int, int, int]]:
    """Return a passage's notes: start and end in seconds, pitch, velocity, program."""
    tokens = [vocabulary.tokens[number] for number in ids[: start + length]]
    encoding = vocabulary.encoding
    song = encoding.song_of(encoding.music(encoding.continued(tokens[start:], tokens[:start])))
    beat = song.ticks_per_quarter * next(iter(song.tempos.values()), midi.BPM) / 60
    first = min((note.start for note in song.notes), default=0)
    return [
        (
            round((note.start - first) / beat, 3),
            round((note.start + note.length - first) / beat, 3),
            *(note.pitch, note.velocity, note.program),
        )
        for note in song.notes
    ]
