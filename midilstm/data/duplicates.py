"""Which pieces are versions of one tune, in other keys or arrangements. Knows no tokens, no files.

A tune is known by its lines: the highest notes of each track, as steps from one pitch class to the
next other one, so that keys, octaves, repeated notes, rhythm and the chords below do not matter.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

import numpy as np

from midilstm import midi

VERSION = 1  # raise it whenever the same song might give other spans: caches go by it
STEPS = 12  # in a span: with 8, unrelated tunes share enough
KINDS = 4  # of different steps that a span has at least: trills and scales have fewer
SHARED = 8  # spans that versions share at least ...
SHARE = 0.1  # ... and this part of the shorter one's
ACCOMPANIED = 0.75  # of a note is its own time; after it, a lower one may go on from it
NEAR = 8  # pieces, by name, with which one is compared of those that share a span


def melody_hashes(song: midi.Score) -> str:
    """Return the hashes of the different spans of a song's lines, for `unpack_hashes`."""
    pitched = [note for note in song.notes if note.program != midi.DRUMS]
    pitched.sort(key=attrgetter("track", "program", "start", "pitch"))
    found = [np.empty(0, np.uint32)]
    for _, track in groupby(pitched, attrgetter("track", "program")):
        line = np.array([pitch for pitch, _ in groupby(_melody(track, song.ticks_per_quarter))])
        if len(line) > STEPS:
            steps = np.lib.stride_tricks.sliding_window_view(np.diff(line) % 12, STEPS)
            kinds = np.bitwise_count(np.bitwise_or.reduce(1 << steps, axis=1))
            numbers = steps[kinds >= KINDS] @ 12 ** np.arange(STEPS)
            # Fibonacci hashing: 32 bits are enough to tell apart, and half of the memory.
            found.append((numbers.astype(np.uint64) * 0x9E3779B97F4A7C15 >> 32).astype(np.uint32))
    return b64encode(np.unique(np.concatenate(found)).astype("<u4").tobytes()).decode()


def _melody(track: Iterable[midi.Note], ticks_per_quarter: int) -> Iterator[int]:
    """Yield the pitch classes of a track's highest notes, given its notes by start and pitch."""
    tops = {12 * note.start // ticks_per_quarter: note for note in track}
    above, until = -1, 0.0
    for note in tops.values():
        if note.pitch >= above or note.start >= until:  # else it accompanies a longer one
            yield note.pitch % 12
            above, until = note.pitch, note.start + ACCOMPANIED * note.length


def unpack_hashes(text: str) -> np.ndarray:
    """Return hashes uint32 [n], the mirror of `melody_hashes`; ValueError for another text."""
    return np.frombuffer(b64decode(text, validate=True), "<u4")


def duplicate_groups(pieces: Mapping[str, str]) -> list[list[str]]:
    """Return the groups of two or more versions of one tune, sorted, given name → spans."""
    names = sorted(pieces)
    hashes = [unpack_hashes(pieces[name]) for name in names]
    sizes = np.array(list(map(len, hashes)))
    leader = list(range(len(names)))

    def find(piece: int) -> int:
        while leader[piece] != piece:
            leader[piece] = piece = leader[leader[piece]]
        return piece

    counted = [np.unique(pairs, return_counts=True) for pairs in compared(hashes)]
    codes, where = np.unique(np.concatenate([codes for codes, _ in counted]), return_inverse=True)
    counts = np.bincount(where, np.concatenate([counts for _, counts in counted]))
    first, second = codes // len(names), codes % len(names)
    alike = counts >= np.maximum(SHARED, SHARE * np.minimum(sizes[first], sizes[second]))
    for one, other in zip(first[alike].tolist(), second[alike].tolist(), strict=True):
        leader[find(one)] = find(other)
    found: dict[int, list[str]] = {}
    for number, name in enumerate(names):
        found.setdefault(find(number), []).append(name)
    return [group for group in found.values() if len(group) > 1]


def compared(pieces: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield pairs a < b of pieces as a * len(pieces) + b, once for each span that they share.

    Of many pieces that share one, each is compared with the NEAR next: time grows with the number
    of spans alone, and versions hang together as a chain.
    """
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    having = np.sort(np.concatenate(pieces).astype(np.int64) << 32 | owners)
    shared, owners = having >> 32, having & 0xFFFFFFFF
    for apart in range(1, NEAR + 1):
        same = shared[apart:] == shared[:-apart]
        yield owners[:-apart][same] * len(pieces) + owners[apart:][same]
