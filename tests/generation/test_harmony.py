"""Names of keys and chords as musicians write them, and the key that music21 hears, too."""

import numpy as np
import pytest
from music21 import note, stream

from midilstm.fileio import InputError
from midilstm.generation.harmony import (
    PROFILES,
    chords_of,
    classes_of_key,
    estimate_key,
    key_profile,
)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("d Minor", {2, 4, 5, 7, 9, 10, 0, 1}),  # with its leading tone
        ("Bb major", {10, 0, 2, 3, 5, 7, 9}),
        ("B- major", {10, 0, 2, 3, 5, 7, 9}),
        ("F# minor", {6, 8, 9, 11, 1, 2, 4, 5}),
        ("D dorian", {2, 4, 5, 7, 9, 11, 0}),
    ],
)
def test_a_key_is_its_scale_and_the_tonic_is_home(name: str, classes: set[int]) -> None:
    assert classes_of_key(name) == classes
    weights = key_profile(name)
    assert weights.max() == weights[{"C": 0, "d": 2, "D": 2, "B": 10, "F": 6}[name[0]]] == 0
    assert {*np.flatnonzero(np.isfinite(weights))} == classes


@pytest.mark.parametrize("name", ["", "D", "D min", "H major", "D minor now", "auto", "x" * 300])
def test_what_is_no_key_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(InputError, match="no key that music21 knows: say for example 'D minor'"):
        classes_of_key(name)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("steps", [(0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0), (0, 3, 7, 8, 7, 2, 3, 0)])
def test_the_key_heard_is_music21s(tonic: int, steps: tuple[int, ...]) -> None:
    pitches = [60 + tonic + step for step in steps]
    found = stream.Stream([note.Note(pitch) for pitch in pitches]).analyze("key.krumhansl")
    name, mode = estimate_key(np.bincount(np.array(pitches) % 12, minlength=12)).split()
    assert (classes_of_key(f"{name} major"), mode) == (
        classes_of_key(f"{found.tonic.name} major"),
        found.mode,
    )
    assert estimate_key(np.zeros(12))  # of nothing, any


def test_a_key_has_the_name_of_fewer_accidentals() -> None:
    assert estimate_key(np.roll(PROFILES["major"], 8)) == "Ab major"
    assert estimate_key(np.roll(PROFILES["minor"], 8)) == "G# minor"


def test_chords_are_read_as_they_are_written() -> None:
    minor, seventh, flat, slash = chords_of("Dm7 G7  Bb7\nC/E")
    assert minor.tones == {2, 5, 9, 0}
    assert minor.scale == {2, 4, 5, 7, 9, 11, 0}  # dorian
    assert seventh.scale == {7, 9, 11, 0, 2, 4, 5}  # mixolydian
    assert flat.tones == {10, 2, 5, 8}  # and not B with a flat seventh
    assert slash.tones == {0, 4, 7}


@pytest.mark.parametrize("figure", ["C", "Am", "F#m7b5", "Gsus4", "Cdim7", "Caug", "CmM7", "D7b9"])
def test_a_chords_scale_holds_it(figure: str) -> None:
    (chord,) = chords_of(figure)
    assert chord.tones <= chord.scale
    assert len(chord.scale) in (6, 7, 8)


@pytest.mark.parametrize("figures", ["Hm7", "C7alt", "N.C.", "Dm7 foo", "/", "C" * 300])
def test_what_is_no_chord_is_refused_by_name(figures: str) -> None:
    with pytest.raises(InputError, match="no chord that music21 knows"):
        chords_of(figures)


@pytest.mark.parametrize("figures", [" ", "C " * 65])
def test_there_are_one_to_64_chords(figures: str) -> None:
    with pytest.raises(InputError, match="1 to 64 chord symbols"):
        chords_of(figures)
