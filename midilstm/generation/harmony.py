"""Parse the names of keys and chords into pitch classes, and estimate the key of notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from music21.analysis.discrete import KrumhanslSchmuckler
from music21.harmony import ChordSymbol
from music21.key import Key
from music21.pitch import Pitch

from midilstm.fileio import InputError

AUTO = "auto"  # stands for the key that the piece is in
MAX_CHORDS = 64
# In semitones above the root; a chord gets the first that holds its notes. Ionian, mixolydian,
# dorian, locrian, melodic minor, diminished, whole tone, lydian, phrygian dominant.
SCALES = (
    *({0, 2, 4, 5, 7, 9, 11}, {0, 2, 4, 5, 7, 9, 10}, {0, 2, 3, 5, 7, 9, 10}),
    *({0, 1, 3, 5, 6, 8, 10}, {0, 2, 3, 5, 7, 9, 11}, {0, 2, 3, 5, 6, 8, 9, 11}),
    *({0, 2, 4, 6, 8, 10}, {0, 2, 4, 6, 7, 9, 11}, {0, 1, 4, 5, 7, 8, 10}),
)
PROFILES = {
    mode: np.array(KrumhanslSchmuckler().getWeights(mode), float) for mode in ("major", "minor")
}
PitchClasses = frozenset[int]  # C is 0


class Chord(NamedTuple):
    """The pitch classes of a chord, and of a scale that contains it."""

    tones: PitchClasses
    scale: PitchClasses


def key_profile(name: str) -> np.ndarray:
    """Return how central each pitch class is in a key, float [12], as Krumhansl measured it.

    It is 0 for the tonic, down to -1 within the key, and -inf outside it.
    """
    try:
        tonic, mode = name.split()
        key = Key(_flat(tonic), mode.lower())
        classes = frozenset(pitch.pitchClass for pitch in key.pitches)
    except Exception as error:  # music21 raises many kinds
        raise InputError(
            f"--key={name} is not a key that music21 knows: use for example 'D minor', 'Bb major' "
            "or 'auto'"
        ) from error
    tonic = key.tonic.pitchClass
    if key.mode == "minor":
        classes |= {(tonic - 1) % 12}
    profile = PROFILES["minor" if (tonic + 3) % 12 in classes else "major"]
    weights = np.roll(profile / profile.max() - 1, tonic)
    return np.where(np.isin(np.arange(12), [*classes]), weights, -np.inf)


def estimate_key(counts: Sequence[float] | np.ndarray) -> str:
    """Return the key of counts of pitch classes, float [12], by Krumhansl and Schmuckler."""
    candidates, deviations = [], np.asarray(counts, float) - np.mean(counts)
    for mode, profile in PROFILES.items():
        for tonic in range(12):
            correlation = deviations @ np.roll(profile - profile.mean(), tonic) / profile.std()
            candidates.append((round(float(correlation), 9), -tonic, mode))
    _, tonic, mode = max(candidates)
    spellings = Pitch(-tonic), Pitch(-tonic).getEnharmonic()  # Ab major, but G# minor
    usual = min(spellings, key=lambda pitch: abs(Key(pitch.name, mode).sharps))
    return f"{usual.name.replace('-', 'b')} {mode}"


def chords_of(figures: str) -> tuple[Chord, ...]:
    """Return the chords of figures such as Dm7 G7 Cmaj7; raise InputError for an unknown one."""
    words = figures.split()
    if not 1 <= len(words) <= MAX_CHORDS:
        raise InputError(
            f"--chords takes 1 to {MAX_CHORDS} chord symbols, one per bar, not {len(words)}"
        )
    return tuple(map(_chord, words))


def _chord(figure: str) -> Chord:
    """Return the chord of a figure."""
    try:
        symbol = ChordSymbol("/".join(map(_flat, figure.split("/"))))
        tones = frozenset(pitch.pitchClass for pitch in symbol.pitches)
        root = symbol.root().pitchClass
    except Exception as error:  # music21 raises many kinds
        raise InputError(
            f"{figure} in --chords is not a chord that music21 knows: use for example C, Am7, Bb7, "
            "F#m7b5, Gsus4 or C/E"
        ) from error
    scales = [frozenset((root + step) % 12 for step in scale) for scale in SCALES]
    return Chord(tones, max(scales, key=lambda scale: len(tones & scale)) | tones)


def _flat(name: str) -> str:
    """Return a name that begins with a note as music21 spells it: B- for Bb."""
    return re.sub("^([A-Ga-g])b", r"\1-", name[:1].upper() + name[1:])
