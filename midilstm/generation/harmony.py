"""Parse the names of keys and chords into pitch classes, and estimate the key of notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from music21.analysis.discrete import KrumhanslSchmuckler
from music21.key import Key
from music21.pitch import Pitch

from midilstm.fileio import InputError
from midilstm.midi.chord_symbols import (
    NO_CHORD,
    SIGNS,
    ChordSymbol,
    parse_bars,
    pitch_class,
)

AUTO = "auto"  # stands for the key that the piece is in
# A tonic and a mode; a hyphen is a flat before a space, and ambiguous elsewhere.
KEY = re.compile(r"([A-Ga-g](?:[#b]*|-+(?=\s)))\s*(\S*)")
MODES = {**dict.fromkeys(("", "M", "maj"), "major"), **dict.fromkeys(("m", "min"), "minor")}
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
    """The pitch classes of a chord, of a scale that contains it, and of its lowest note."""

    tones: PitchClasses
    scale: PitchClasses
    bass: int


def key_profile(name: str) -> np.ndarray:
    """Return how central each pitch class is in a key, float [12], as Krumhansl measured it.

    It is 0 for the tonic, down to -1 within the key, and -inf outside it.
    """
    try:
        match = KEY.fullmatch(name.strip().translate(SIGNS))
        if not match or (match[0].islower() and not match[2]):  # d may be D or Dm
            raise ValueError
        tonic, mode = match.groups()
        key = Key(tonic[0].upper() + tonic[1:].replace("b", "-"), MODES.get(mode, mode.lower()))
        classes = frozenset(pitch.pitchClass for pitch in key.pitches)
    except Exception as error:  # music21 raises many kinds
        raise InputError(
            f"--key={name} is not a key that music21 knows: use for example D, Dm, 'Bb major', "
            "'D dorian' or auto"
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


def chords_of(text: str) -> tuple[tuple[Chord | None, ...], ...]:
    """Return the chords of each bar, None for N.C.; raise InputError for what is no symbol."""
    return tuple(tuple(symbol and _chord(symbol) for symbol in bar) for bar in parse_bars(text))


def describe_chords(text: str) -> str:
    """Return bars of chords with their notes, such as Dm (D F A) G (G B D) | C (C E G)."""
    return " | ".join(
        " ".join(f"{x.text} ({' '.join(x.notes)})" if x else NO_CHORD for x in bar)
        for bar in parse_bars(text)
    )


def _chord(symbol: ChordSymbol) -> Chord:
    """Return a symbol's pitch classes, and the first scale that has most of them."""
    tones, root = frozenset(map(pitch_class, symbol.notes)), pitch_class(symbol.root)
    bass = pitch_class(symbol.notes[0])
    if len(tones) >= 7:  # such as those of C7alt
        return Chord(tones, tones, bass)
    scales = [frozenset((root + step) % 12 for step in scale) for scale in SCALES]
    return Chord(tones, max(scales, key=lambda scale: len(tones & scale)) | tones, bass)
