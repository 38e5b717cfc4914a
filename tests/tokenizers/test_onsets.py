"""The onsets that the encoding `notes` reads in a file, compared with music21's parse."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import music21
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import END, QUARTER, file_of, notes, smf

from midilstm import midi, tokenizers
from midilstm.midi import quantised
from midilstm.tokenizers.notes import onsets_of

NOTES = tokenizers.get("notes")
# Pieces of different texture that come with music21, in bars: four-part chorale, string quartet,
# piano piece, song with piano, motet, atonal piano piece, two-part exercise.
PIECES: dict[str, tuple[int, int] | None] = {
    "bach/bwv66.6": None,
    "haydn/opus1no1/movement2": None,
    "chopin/mazurka06-2": (1, 16),
    "schumann_robert/opus48no2": None,
    "palestrina/Agnus_01": (1, 20),
    "schoenberg/opus19/movement2": None,
    "demos/two-voices": None,
}


def parse(path: Path) -> list[tuple[Fraction, int, music21.note.Note]]:
    """Return (offset, start tick, note) of each pitched note in music21's parse, ties joined."""
    score = music21.converter.parse(path, forceSource=True)
    parsed = []
    for element in score.flatten().notes:
        if isinstance(element, music21.percussion.PercussionChord | music21.note.Unpitched):
            continue
        for note in element.notes if element.isChord else [element]:
            # A note held over a bar line is written as two, the second tied to the first.
            if note.tie is None or note.tie.type == "start":
                # Offsets are multiples of a twelfth; music21 keeps some of them as floats.
                offset = Fraction(round(element.offset * 12), 12)
                parsed.append((offset, element.editorial.midiTickStart, note))
    return parsed


def parsed_tokens(path: Path) -> list[str]:
    """Return the tokens that music21's full parse gives, chord spelling included."""
    return spell((offset, note.pitch.midi) for offset, _, note in parse(path))


def spell(pitches: Iterable[tuple[Fraction, int]]) -> list[str]:
    """Return the tokens of (onset, pitch) pairs, spelled by music21."""
    onsets: dict[Fraction, set[int]] = {}
    for onset, pitch in pitches:
        onsets.setdefault(onset, set()).add(pitch)
    tokens = []
    for onset in sorted(onsets):
        chord = [music21.pitch.Pitch(midi=pitch) for pitch in sorted(onsets[onset])]
        order = music21.chord.Chord(chord).normalOrder
        tokens.append(chord[0].nameWithOctave if len(chord) == 1 else ".".join(map(str, order)))
    return tokens


def nearest(tick: int, division: int = QUARTER) -> Fraction:
    """Return the nearer of sixteenth and triplet eighth, the sixteenth and the earlier if equal."""
    time = Fraction(tick, division)
    grid = [(Fraction(round(time * d) + step, d), d) for d in (4, 3) for step in (-1, 0, 1)]
    return min(grid, key=lambda point: (abs(point[0] - time), -point[1], point[0]))[0]


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", PIECES)
def test_a_real_piece_reads_as_music21_parses_it(name: str, tmp_path: Path) -> None:
    path, bars = tmp_path / "piece.mid", PIECES[name]
    score = music21.corpus.parse(name)
    (score.measures(*bars) if bars else score).write("midi", fp=path)
    tokens = tokenizers.read(path)
    assert tokens == parsed_tokens(path)
    assert len(tokens) > 15


SWING = notes(*((i + s, i + s + 0.3, 60 + i % 12) for i in range(8) for s in (0, 2 / 3)))
FILES = {
    "swing triplets": smf(SWING, notes(*((i, i + 0.9, 36 + i) for i in range(8)))),
    "drums on a separate track": smf(SWING, notes((0, 0.1, 38), (0.5, 0.6, 40), channel=9)),
    "tracks on one channel": file_of("0-100 60, 100-200 62", "0-100 64, 150-200 65", "50-100 67"),
    "channels on one track": file_of("0-100 60, 0-100 60@3, 0-100 62@8, 100-200 65@3, 100-200 65"),
    "overlapping notes of one pitch": file_of(
        "0-100 60, 50-150 60, 200-400 62, 250-300 62, 350-375 62"
    ),
    "notes without length": file_of("0-0 60, 50-50 62, 100-200 64, 100-100 67"),
    "unsteady fingers": file_of("0-100 60, 2-97 64, 11-120 67, 99-200 65, 105-130 69"),
    "notes faster than the grid": smf(notes(*((i / 8, i / 8 + 0.1, 60 + i) for i in range(16)))),
    "a note that never ends": file_of("0 on 60, 100-200 64"),
    "running status and silent beginnings": smf(
        b"\x00\x90\x3c\x40\x83\x60\x3c\x00\x00\x40\x40\x83\x60\x40\x00" + END
    ),
    "a note held over a bar line, which an untied parse counts twice": smf(notes((3, 5, 60))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_small_file_reads_as_music21_parses_it(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.mid", FILES[name])
    assert tokenizers.read(path) == parsed_tokens(path) != []


def read_onsets(data: bytes) -> set[tuple[Fraction, int]]:
    """Return the (onset, pitch) pairs that tokens are made from."""
    onsets = onsets_of(midi.read(data))
    return {(Fraction(slot, 12), pitch) for slot, pitches in onsets.items() for pitch in pitches}


TRACKS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(1, 200), st.integers(0, 127)),
        min_size=1,
        max_size=10,
        unique_by=lambda note: note[2],  # tests/midi/test_notes.py has overlapping notes of a key
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=25, deadline=None)
@given(TRACKS, st.sampled_from([96, 100, 480]))
def test_a_random_file_has_the_notes_of_the_parse(
    tmp_path_factory: pytest.TempPathFactory,
    tracks: list[list[tuple[int, int, int]]],
    division: int,
) -> None:
    played = [[(start, start + length, pitch) for start, length, pitch in t] for t in tracks]
    data = smf(*(notes(*track, division=1) for track in played), division=division)
    path = save(tmp_path_factory.mktemp("random") / "random.mid", data)
    # Ticks are compared, because music21 may delay a note in its score, and it may put one into
    # two chords: see the next tests.
    expected = {(nearest(tick, division), note.pitch.midi) for _, tick, note in parse(path)}
    onsets = read_onsets(data)
    assert onsets <= expected
    assert {pitch for _, pitch in onsets} == {pitch for _, pitch in expected}
    assert tokenizers.read(path) == spell(onsets)


def test_difference_the_parse_delays_what_follows_a_crowded_bar(tmp_path: Path) -> None:
    # music21 lets a bar in several voices grow by what is held over its end and starts the next
    # bar later, so that a part is behind the others; this reader keeps the time of the file.
    played = (3.5, 4.5, 58), (3.5, 8.5, 61), (4, 9, 55), (5, 9, 67), (8, 13, 59)
    path = save(tmp_path / "crowded.mid", smf(notes(*played)))
    onsets = {note.pitch.midi: (offset, nearest(tick)) for offset, tick, note in parse(path)}
    assert onsets.pop(59) == (8.5, 8)
    assert all(offset == tick for offset, tick in onsets.values())
    assert read_onsets(path.read_bytes()) == {(start, pitch) for start, _, pitch in played}


@pytest.mark.parametrize(
    ("track", "parsed", "expected"),
    [
        # C and E end too far apart to be one chord; G ends near both, and music21 puts it in both.
        ("0-100 60, 14-140 64, 18-120 67", ["7.0", "4.7"], ["7.0", "E4"]),
        # music21 makes one percussion chord of a drum and the notes that begin and end with it.
        ("0-100 38@9, 0-100 60, 100-200 64", ["E4"], ["C4", "E4"]),
    ],
)
def test_differences_from_the_parse(
    track: str, parsed: list[str], expected: list[str], tmp_path: Path
) -> None:
    path = save(tmp_path / "a.mid", file_of(track))
    assert parsed_tokens(path) == parsed
    assert tokenizers.read(path) == expected


@pytest.mark.parametrize(
    ("tracks", "token"),
    [
        (["0-100 61, 0-100 42, 0-100 54, 0-100 41"], "1.5.6"),
        (["0-100 48, 0-100 60"], "0"),  # an octave
        (["0-100 60", "0-200 60"], "C4"),  # unison
        (["0-100 60", "0-300 40@9", "0-200 62@2"], "0.2"),  # with percussion
    ],
)
def test_the_token_of_an_onset(tracks: list[str], token: str) -> None:
    assert NOTES.encode(midi.read(file_of(*tracks))) == [token]


def test_percussion_alone_is_an_error() -> None:
    with pytest.raises(midi.MidiError, match="only percussion"):
        NOTES.encode(midi.read(file_of("0-100 40@9")))


def spelling(pitches: Iterable[int]) -> str:
    """Return the token of pitches that begin together."""
    (token,) = NOTES.encode(midi.read(smf(notes(*((0, 1, pitch) for pitch in pitches)))))
    return token


def test_each_pitch_and_each_set_of_classes_is_spelled_as_music21_spells_it() -> None:
    for pitch in range(128):
        assert spelling([pitch]) == music21.pitch.Pitch(midi=pitch).nameWithOctave
    for size in (2, 3, 12):
        for classes in combinations(range(60, 72), size):
            order = music21.chord.Chord([*map(music21.pitch.Pitch, classes)]).normalOrder
            assert spelling(classes) == ".".join(map(str, order))


@pytest.mark.parametrize("division", [1, 3, 4, 7, 96, 480, 1000])
def test_each_tick_goes_to_the_nearer_of_sixteenth_and_triplet(division: int) -> None:
    for tick in range(3 * division):
        assert Fraction(quantised(tick, division), 12) == nearest(tick, division)
