"""Names of keys and chords → pitch classes, and the key of notes heard. Knows no ids."""

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

AUTO = "auto"  # the key that the piece is in
MOST = 64  # chords
# Scales by semitones above the root, the first that holds a chord's notes: ionian, mixolydian,
# dorian, locrian, melodic minor, diminished, whole tone, lydian, phrygian dominant.
SCALES = (
    *({0, 2, 4, 5, 7, 9, 11}, {0, 2, 4, 5, 7, 9, 10}, {0, 2, 3, 5, 7, 9, 10}),
    *({0, 1, 3, 5, 6, 8, 10}, {0, 2, 3, 5, 7, 9, 11}, {0, 2, 3, 5, 6, 8, 9, 11}),
    *({0, 2, 4, 6, 8, 10}, {0, 2, 4, 6, 7, 9, 11}, {0, 1, 4, 5, 7, 8, 10}),
)
PROFILES = {
    mode: np.array(KrumhanslSchmuckler().getWeights(mode), float) for mode in ("major", "minor")
}
Classes = frozenset[int]  # pitch classes, C is 0


class Chord(NamedTuple):
    """A chord's pitch classes, and those of its scale, which holds them."""

    tones: Classes
    scale: Classes


def classes_of_key(name: str) -> Classes:
    """Return the pitch classes of a key such as D minor or Bb major; InputError for none.

    Minor has its leading tone, too.
    """
    return frozenset(np.flatnonzero(np.isfinite(key_profile(name))).tolist())


def key_profile(name: str) -> np.ndarray:
    """Return how much at home each pitch class is in a key, float [12].

    It is 0 for the tonic, down to -1, and -inf for what is foreign.
    """
    try:
        tonic, mode = name.split()
        found = Key(_flat(tonic), mode.lower())
        classes = frozenset(pitch.pitchClass for pitch in found.pitches)
    except Exception as error:  # music21 has one for each way to be no key
        cure = "say for example 'D minor', 'Bb major' or 'auto'"
        raise InputError(f"--key={name} is no key that music21 knows: {cure}") from error
    tonic = found.tonic.pitchClass
    if found.mode == "minor":
        classes |= {(tonic - 1) % 12}
    profile = PROFILES["minor" if (tonic + 3) % 12 in classes else "major"]
    weights = np.roll(profile / profile.max() - 1, tonic)
    return np.where(np.isin(np.arange(12), [*classes]), weights, -np.inf)


def estimate_key(counts: Sequence[float] | np.ndarray) -> str:
    """Name the key of pitch classes heard so often, float [12], as Krumhansl and Schmuckler do."""
    found, away = [], np.asarray(counts, float) - np.mean(counts)
    for mode, profile in PROFILES.items():
        for tonic in range(12):
            self_similarity = away @ np.roll(profile - profile.mean(), tonic) / profile.std()
            found.append((round(float(self_similarity), 9), -tonic, mode))
    _, tonic, mode = max(found)
    named = Pitch(-tonic), Pitch(-tonic).getEnharmonic()  # Ab major, but G# minor
    usual = min(named, key=lambda pitch: abs(Key(pitch.name, mode).sharps))
    return f"{usual.name.replace('-', 'b')} {mode}"


def chords_of(figures: str) -> tuple[Chord, ...]:
    """Return the chords of figures such as Dm7 G7 Cmaj7; raise InputError for what is none."""
    words = figures.split()
    if not 1 <= len(words) <= MOST:
        raise InputError(f"--chords takes 1 to {MOST} chord symbols, a bar each, not {len(words)}")
    return tuple(map(_chord, words))


def _chord(figure: str) -> Chord:
    """Return the chord of a figure."""
    try:
        symbol = ChordSymbol("/".join(map(_flat, figure.split("/"))))
        tones = frozenset(pitch.pitchClass for pitch in symbol.pitches)
        root = symbol.root().pitchClass
    except Exception as error:  # and for each way to be no chord
        cure = "say for example C, Am7, Bb7, F#m7b5, Gsus4 or C/E"
        raise InputError(f"{figure} in --chords is no chord that music21 knows: {cure}") from error
    scales = [frozenset((root + step) % 12 for step in scale) for scale in SCALES]
    return Chord(tones, max(scales, key=lambda scale: len(tones & scale)) | tones)


def _flat(name: str) -> str:
    """Spell a name that begins with a note as music21 does: B- for Bb."""
    return re.sub("^([A-Ga-g])b", r"\1-", name[:1].upper() + name[1:])
