"""Group the versions of a tune, in other keys, rhythms or arrangements, by their melodies.

A melody is the highest notes of a track, as steps from each pitch class to the next different one,
so that key, octave, repeated notes, rhythm and accompaniment do not matter.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

import numpy as np

from midilstm import midi

VERSION = 1  # raise it whenever the same score may give other hashes: cache keys contain it
STEPS = 12  # per passage: with 8, unrelated tunes share enough passages
MIN_DISTINCT_STEPS = 4  # in a passage: trills and scales have fewer
MIN_SHARED = 8  # passages that two versions share at least ...
MIN_SHARED_FRACTION = 0.1  # ... and this fraction of the shorter one's passages
ACCOMPANIMENT = 0.75  # of a note's length, during which lower notes do not belong to the melody
NEIGHBOURS = 8  # pieces, of those that share a passage, with which each is compared


def melody_hashes(score: midi.Score) -> str:
    """Return the hashes uint32 [n] of a score's different melodic passages, in Base64."""
    pitched = [note for note in score.notes if note.program != midi.DRUMS]
    pitched.sort(key=attrgetter("track", "program", "start", "pitch"))
    hashes = [np.empty(0, np.uint32)]
    for _, track in groupby(pitched, attrgetter("track", "program")):
        pitch_classes = _melody(track, score.ticks_per_quarter)
        melody = np.array([pitch_class for pitch_class, _ in groupby(pitch_classes)])
        if len(melody) > STEPS:
            passages = np.lib.stride_tricks.sliding_window_view(np.diff(melody) % 12, STEPS)
            distinct = np.bitwise_count(np.bitwise_or.reduce(1 << passages, axis=1))
            codes = passages[distinct >= MIN_DISTINCT_STEPS] @ 12 ** np.arange(STEPS)
            # Fibonacci hashing to 32 bits, which halves the memory.
            hashes.append((codes.astype(np.uint64) * 0x9E3779B97F4A7C15 >> 32).astype(np.uint32))
    return b64encode(np.unique(np.concatenate(hashes)).astype("<u4").tobytes()).decode()


def _melody(track: Iterable[midi.Note], ticks_per_quarter: int) -> Iterator[int]:
    """Yield the pitch classes of a track's highest notes, given its notes by start and pitch."""
    highest = {12 * note.start // ticks_per_quarter: note for note in track}
    pitch, end = -1, 0.0
    for note in highest.values():
        if note.pitch >= pitch or note.start >= end:  # else it accompanies a longer note
            yield note.pitch % 12
            pitch, end = note.pitch, note.start + ACCOMPANIMENT * note.length


def duplicate_groups(pieces: Mapping[str, str]) -> list[list[str]]:
    """Return the groups of two or more versions of one tune, given name → melody hashes."""
    names = list(pieces)
    hashes = [np.frombuffer(b64decode(text), "<u4") for text in pieces.values()]
    sizes = np.array(list(map(len, hashes)))
    parents = list(range(len(names)))

    def find_root(piece: int) -> int:
        while parents[piece] != piece:
            parents[piece] = piece = parents[parents[piece]]
        return piece

    counted = [np.unique(pairs, return_counts=True) for pairs in shared_passages(hashes)]
    pairs, index = np.unique(np.concatenate([pairs for pairs, _ in counted]), return_inverse=True)
    counts = np.bincount(index, np.concatenate([counts for _, counts in counted]))
    first, second = pairs // len(names), pairs % len(names)
    smaller = np.minimum(sizes[first], sizes[second])
    is_version = counts >= np.maximum(MIN_SHARED, MIN_SHARED_FRACTION * smaller)
    for a, b in zip(first[is_version].tolist(), second[is_version].tolist(), strict=True):
        parents[find_root(a)] = find_root(b)
    groups: dict[int, list[str]] = {}
    for piece, name in enumerate(names):
        groups.setdefault(find_root(piece), []).append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def shared_passages(pieces: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield pairs a < b of pieces as a * len(pieces) + b, once per passage that they share.

    Each piece is compared with the next NEIGHBOURS that share the passage, so that the time grows
    linearly with the number of passages; more versions than that are connected as a chain.
    """
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    passages = np.sort(np.concatenate(pieces).astype(np.int64) << 32 | owners)
    hashes, owners = passages >> 32, passages & 0xFFFFFFFF
    for distance in range(1, NEIGHBOURS + 1):
        is_shared = hashes[distance:] == hashes[:-distance]
        yield owners[:-distance][is_shared] * len(pieces) + owners[distance:][is_shared]
