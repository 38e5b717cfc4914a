"""What the encoding `notes` writes, as mido and music21 read it, and its transposition."""

from itertools import combinations
from pathlib import Path

import mido
import music21
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import notes, smf

from midilstm import midi, tokenizers
from midilstm.tokenizers.notes import NAMES

NOTES = tokenizers.get("notes")
HUNDRED = [*NAMES[21:109], *(f"{root}.{root + 4}" for root in range(8)), "0", "3", "7", "11"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*NAMES[12:], *HUNDRED[88:], "0.4.7", "7.11.2", "11.0.1.2.3.4.5.6"]),
        min_size=1,
        max_size=40,
    )
)
def test_tokens_are_read_back(tmp_path_factory: pytest.TempPathFactory, tokens: list[str]) -> None:
    path = tmp_path_factory.mktemp("written") / "piece.mid"
    tokenizers.write(tokens, path)
    assert tokenizers.read(path) == tokens


def test_each_pitch_is_read_back(tmp_path: Path) -> None:
    # Two names of the inaudible lowest octave are also higher ones, and come back as those.
    tokenizers.write(NAMES, tmp_path / "piece.mid")
    assert tokenizers.read(tmp_path / "piece.mid") == [*NAMES]


@pytest.mark.parametrize("bpm", [4, 96, 1000])
def test_mido_reads_tokens_half_a_quarter_apart(bpm: int, tmp_path: Path) -> None:
    tokenizers.write(HUNDRED, tmp_path / "piece.mid", bpm=bpm, instrument=73)
    seconds, times = 0.0, {"note_on": set[float](), "note_off": set[float]()}
    messages = list(mido.MidiFile(tmp_path / "piece.mid"))
    for message in messages:
        seconds += message.time
        if message.type in times:
            times[message.type].add(round(seconds, 3))
    step = 60 / bpm / 2
    assert times["note_on"] == {round(step * i, 3) for i in range(100)}
    assert times["note_off"] == {round(step * i, 3) for i in range(1, 101)}
    assert [m.tempo for m in messages if m.type == "set_tempo"] == [mido.bpm2tempo(bpm)]
    assert {m.program for m in messages if m.type == "program_change"} == {73}


def test_music21_reads_tokens_half_a_quarter_apart(tmp_path: Path) -> None:
    tokenizers.write(HUNDRED, tmp_path / "piece.mid")
    score = music21.converter.parse(tmp_path / "piece.mid", forceSource=True)
    elements = list(score.flatten().notes)
    assert [float(element.offset) for element in elements] == [i / 2 for i in range(100)]
    assert [
        ".".join(map(str, x.normalOrder)) if x.isChord else x.pitch.nameWithOctave for x in elements
    ] == HUNDRED


def test_chords_are_written_in_octave_4() -> None:
    assert [note.pitch for note in NOTES.decode(["7.11.2"]).notes] == [67, 71, 62]


@pytest.mark.parametrize("token", ["", "H4", "C", "1.5.12", "1.1", "1..5", "01.5", "<end>", "C4 "])
def test_an_unknown_token_is_an_error(token: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither a note .* nor a chord"):
        tokenizers.write(["C4", token], tmp_path / "piece.mid")
    assert not (tmp_path / "piece.mid").exists()
    with pytest.raises(ValueError, match="neither a note"):
        NOTES.transpose(token, 1)


def test_an_unknown_encoding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose from notes"):
        tokenizers.read(tmp_path / "piece.mid", "morse")


@pytest.mark.parametrize(
    ("token", "known", "expected"),
    [
        ("C#4", ["C4", "D4", "C#6", "1.5"], "C#6"),  # the same pitch class, octaves away
        ("C#4", ["C4", "G4", "1.5"], "C4"),  # or else the nearest pitch
        ("C#9", ["C#2", "C#8", "C9"], "C#8"),
        ("C#4", ["1.5.8"], None),
        ("0.4.7", ["0.4", "0.4.7.10", "2.5.9"], "0.4.7.10"),  # 3 of 4 against 2 of 3
        ("0.4.7", ["C4", "2.5.9"], "C4"),
        ("0.4.7", ["2.5.9", "D4"], None),
        ("0.4.7", [], None),
    ],
)
def test_the_nearest_known_token_sounds_most_like_it(
    token: str, known: list[str], expected: str | None
) -> None:
    assert NOTES.nearest(token, known) == expected
    assert NOTES.nearest(token, known[::-1]) == expected


def read_chords(chords: list[list[int]], semitones: int = 0) -> list[str]:
    """Return the tokens of a MIDI file of these chords, transposed, a quarter note each."""
    played = [(i, i + 1, pitch + semitones) for i, chord in enumerate(chords) for pitch in chord]
    return NOTES.encode(midi.read(smf(notes(*played))))


def test_each_transposed_chord_is_that_of_transposed_music() -> None:
    classes = range(60, 72)
    chords = [list(chord) for size in range(1, 13) for chord in combinations(classes, size)]
    tokens = [NOTES.transpose(token, 5) for token in read_chords(chords)]
    assert tokens == read_chords(chords, 5)


@pytest.mark.parametrize("semitones", range(-6, 6))
def test_transposed_tokens_are_those_of_transposed_music(semitones: int) -> None:
    rng = np.random.default_rng(semitones + 6)
    sizes = rng.integers(1, 5, 300)
    chords = [sorted(set(rng.integers(21, 109, size).tolist())) for size in sizes]
    # E-1 and B-1 each name two pitches, and mean the higher: 4 and 11 are left out.
    chords += [[pitch] for pitch in range(6, 122) if pitch != 11]
    tokens = [NOTES.transpose(token, semitones) for token in read_chords(chords)]
    assert tokens == read_chords(chords, semitones)


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
    assert NOTES.transpose(token, semitones) == expected


def test_a_token_has_pitch_classes_and_lasts_an_eighth_of_a_bar() -> None:
    assert NOTES.content("C#5")[:4] == ({1}, (), True, False)
    assert NOTES.content("1.5.8")[:4] == ({1, 5, 8}, (), True, False)
    clock = NOTES.clock()
    for step in range(20):
        assert clock.position() == (step / 8, step / 2 % 4)
        clock.advance("C#5")
