"""Transposed tokens against what reading transposed music gives."""

from itertools import combinations

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm.tokens import encoding
from midilstm.tokens.vocabulary import END, Vocabulary


def read(chords: list[list[int]]) -> list[str]:
    """Return the tokens of a MIDI file of these chords of pitches, a quarter note each."""
    played = [(i, i + 1, pitch) for i, chord in enumerate(chords) for pitch in chord]
    return list(encoding.read_piece(smf(notes(*played))).tokens)


def moved(chords: list[list[int]], semitones: int) -> list[list[int]]:
    return [[pitch + semitones for pitch in chord] for chord in chords]


@pytest.mark.parametrize("semitones", [-6, -1, 5])
def test_every_chord_is_what_the_transposed_music_reads_as(semitones: int) -> None:
    classes = range(60, 72)
    chords = [list(chord) for size in range(1, 13) for chord in combinations(classes, size)]
    assert len(chords) == 4095
    tokens = [encoding.transpose(token, semitones) for token in read(chords)]
    assert tokens == read(moved(chords, semitones))


@pytest.mark.parametrize("semitones", range(-6, 6))
def test_music_over_the_whole_keyboard_is_too(semitones: int) -> None:
    rng = np.random.default_rng(semitones + 6)
    chords = [
        sorted(set(rng.integers(21, 109, rng.integers(1, 5)).tolist())) for _ in range(300)
    ] + [[pitch] for pitch in range(6, 122)]
    tokens = [encoding.transpose(token, semitones) for token in read(chords)]
    # E-1 and B-1 each name two pitches, and mean the higher.
    twice = {i for i, chord in enumerate(chords) if chord in ([4], [11])}
    expected = read(moved(chords, semitones))
    assert [t for i, t in enumerate(tokens) if i not in twice] == [
        t for i, t in enumerate(expected) if i not in twice
    ]


@pytest.mark.parametrize(
    ("token", "semitones", "expected"),
    [
        ("C-1", -1, "B-1"),  # pitch 11 of octave -1: the lowest B
        ("C-1", -6, "F#-1"),
        ("G9", 5, "C9"),
        ("G9", 1, "G#8"),
        ("B4", 1, "C5"),
        ("7", 5, "0"),  # one pitch class in two octaves
    ],
)
def test_a_note_that_would_leave_midi_stays_in_the_nearest_octave(
    token: str, semitones: int, expected: str
) -> None:
    assert encoding.transpose(token, semitones) == expected


@pytest.mark.parametrize("token", ["H4", "1.1", "12.3", "", "<end>"])
def test_an_unknown_token_cannot_be_transposed(token: str) -> None:
    with pytest.raises(ValueError, match="neither a note"):
        encoding.transpose(token, 1)


def test_ids_go_to_the_transposed_tokens_id_or_to_none() -> None:
    vocabulary = Vocabulary((END, "0.4.7", "2.6.9", "C4", "D4"))
    assert vocabulary.transposed(2).tolist() == [0, 2, 5, 4, 5]
    assert vocabulary.transposed(0).tolist() == [0, 1, 2, 3, 4]
