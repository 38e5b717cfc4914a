"""Names of keys and chords as musicians write them, and estimated keys as music21 has them."""

import numpy as np
import pytest
from music21 import note, stream

from midilstm.fileio import InputError
from midilstm.generation.harmony import (
    PROFILES,
    chords_of,
    describe_chords,
    estimate_key,
    key_profile,
)


def classes_of_key(name: str) -> set[int]:
    return set(np.flatnonzero(np.isfinite(key_profile(name))).tolist())


@pytest.mark.parametrize(
    ("name", "tonic", "classes"),
    [
        ("D", 2, {2, 4, 6, 7, 9, 11, 1}),
        ("Dm", 2, {2, 4, 5, 7, 9, 10, 0, 1}),
        ("bbm", 10, {10, 0, 1, 3, 5, 6, 8, 9}),
        ("Bb", 10, {10, 0, 2, 3, 5, 7, 9}),
        ("B♭ maj", 10, {10, 0, 2, 3, 5, 7, 9}),
        ("C major", 0, {0, 2, 4, 5, 7, 9, 11}),
        ("d Minor", 2, {2, 4, 5, 7, 9, 10, 0, 1}),  # with its leading tone
        ("Bb major", 10, {10, 0, 2, 3, 5, 7, 9}),
        ("B- major", 10, {10, 0, 2, 3, 5, 7, 9}),
        ("F# minor", 6, {6, 8, 9, 11, 1, 2, 4, 5}),
        ("D dorian", 2, {2, 4, 5, 7, 9, 11, 0}),
    ],
)
def test_a_key_has_its_scale_and_prefers_its_tonic(
    name: str, tonic: int, classes: set[int]
) -> None:
    assert classes_of_key(name) == classes
    assert key_profile(name).max() == key_profile(name)[tonic] == 0


@pytest.mark.parametrize("name", ["", "d", "B-", "D-minor", "H", "D minor now", "auto", "x" * 300])
def test_an_unknown_key_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(InputError, match="not a key that music21 knows: use for example D, Dm"):
        classes_of_key(name)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("steps", [(0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0), (0, 3, 7, 8, 7, 2, 3, 0)])
def test_the_estimated_key_is_that_of_music21(tonic: int, steps: tuple[int, ...]) -> None:
    pitches = [60 + tonic + step for step in steps]
    expected = stream.Stream([note.Note(pitch) for pitch in pitches]).analyze("key.krumhansl")
    name, mode = estimate_key(np.bincount(np.array(pitches) % 12, minlength=12)).split()
    assert mode == expected.mode
    assert classes_of_key(f"{name} major") == classes_of_key(f"{expected.tonic.name} major")
    assert estimate_key(np.zeros(12))  # some key even without notes


def test_a_key_is_spelled_with_fewer_accidentals() -> None:
    assert estimate_key(np.roll(PROFILES["major"], 8)) == "Ab major"
    assert estimate_key(np.roll(PROFILES["minor"], 8)) == "G# minor"


@pytest.mark.parametrize(
    ("symbol", "scale"),
    [
        ("Dm7", {2, 4, 5, 7, 9, 11, 0}),  # dorian
        ("G7", {7, 9, 11, 0, 2, 4, 5}),  # mixolydian
        ("C7alt", {0, 1, 3, 4, 6, 8, 10}),  # altered
        *((x, None) for x in ("C", "Am", "F#m7b5", "Gsus4", "Cdim7", "Caug", "CmM7", "D7b9")),
    ],
)
def test_the_scale_of_a_chord_contains_it(symbol: str, scale: set[int] | None) -> None:
    ((chord,),) = chords_of(symbol)
    assert chord
    assert chord.tones <= chord.scale
    assert len(chord.scale) in (6, 7, 8)
    assert scale in (None, chord.scale)


def test_the_bars_of_chords_are_described_with_their_notes() -> None:
    text = "C-7 F7/A | N.C. | % |"
    assert describe_chords(text) == "C-7 (C Eb G Bb) F7/A (A F C Eb) | N.C. | N.C."
