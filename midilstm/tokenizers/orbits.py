"""Describe the tokens of a vocabulary by what they share with their transpositions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from midilstm.tokenizers.vocabulary import Vocabulary

CLASSES = 12


@dataclass(frozen=True)
class TokenOrbits:
    """Tokens as rotations of the profiles [12, C] of N types.

    A type is a chord up to transposition, END, or one note: transposition takes notes from octave
    to octave, so that each has a row of its own. A profile is `mixing` times three of F arrays
    [12, C], its `parts`: one of its own, the first N of the F; and, of chords, one of all chords
    of that size and one of all chords, whose rotations by the pitch classes are added up.
    """

    types: np.ndarray  # int32 [V]
    places: np.ndarray  # int32 [V, 12]: of a token's rows among those of all profiles
    parts: np.ndarray  # int32 [N, 3], below F
    mixing: np.ndarray  # float32 [N, 12, 36]


def token_orbits(vocabulary: Vocabulary) -> TokenOrbits:
    """Return the types of a vocabulary's tokens, and what their profiles share."""
    by_token: list[tuple[int, tuple[int, ...]]] = [(0, ())]  # END
    roots = [0]
    for note, token in enumerate(vocabulary.tokens[1:], 1):
        chord = vocabulary.encoding.chord(token)
        root, shape = chord or (0, (0,))
        by_token.append((0 if chord else note, shape))
        roots.append(root)
    types = sorted(set(by_token))
    count, indices = len(types), np.array([types.index(x) for x in by_token], np.int32)
    rows = (np.arange(CLASSES) - np.array(roots)[:, None]) % CLASSES
    parts = [(i, count + len(shape), count + CLASSES + 1) for i, (_, shape) in enumerate(types)]
    return TokenOrbits(
        types=indices,
        places=(CLASSES * indices[:, None] + rows).astype(np.int32),
        parts=np.array(parts, np.int32),
        mixing=np.array([_mixing(*x) for x in types], np.float32),
    )


def _mixing(note: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix [12, 36] of a note's type or, where that is 0, of a chord's or of END."""
    # A chord that some transposition leaves as it is needs a profile that it leaves as it is.
    symmetries = [k for k in range(CLASSES) if {(x + k) % CLASSES for x in shape} == {*shape}]
    matrix = np.zeros((CLASSES, 3, CLASSES))
    matrix[:, 0] = _rotations(symmetries) / len(symmetries)
    if shape and not note:
        matrix[:, 1] = matrix[:, 0]
        matrix[:, 2] = _rotations(shape) / np.sqrt(len(shape))
    return matrix.reshape(CLASSES, -1)


def _rotations(shifts: Iterable[int]) -> np.ndarray:
    """Return the matrix [12, 12] that adds up rows rotated by so many places."""
    return np.sum([np.roll(np.eye(CLASSES), shift, axis=0) for shift in shifts], axis=0)
