"""The encoding notes: what it reads, writes and transposes, held against music21 and mido."""

import io
from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import mido
import music21
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import END, QUARTER, notes, smf, timed

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.tokenizers.notes import NAMES, onsets_of, quantised

NOTES = encodings.get("notes")

Onsets = list[tuple[Fraction, tuple[int, ...]]]

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


def parsed(path: Path) -> list[tuple[Fraction, int, music21.note.Note]]:
    """Return (offset, start tick, note) of each pitched note in music21's parse, ties joined."""
    score = music21.converter.parse(path, forceSource=True)
    found = []
    for element in score.flatten().notes:
        if isinstance(element, music21.percussion.PercussionChord | music21.note.Unpitched):
            continue
        for note in element.notes if element.isChord else [element]:
            # A note held over a bar line is written as two, the second tied to the first.
            if note.tie is None or note.tie.type == "start":
                # Offsets are multiples of a twelfth; music21 keeps some of them as floats.
                offset = Fraction(round(element.offset * 12), 12)
                found.append((offset, element.editorial.midiTickStart, note))
    return found


def oracle(path: Path) -> list[str]:
    """Return the tokens that music21's full parse gives, chord spelling included."""
    return spelled([(offset, note.pitch.midi) for offset, _, note in parsed(path)])


def spelled(pitches: Iterable[tuple[Fraction, int]]) -> list[str]:
    """Return the tokens of (onset, pitch) pairs, spelled by music21."""
    onsets: dict[Fraction, set[int]] = {}
    for onset, pitch in pitches:
        onsets.setdefault(onset, set()).add(pitch)
    tokens = []
    for onset in sorted(onsets):
        chord = [music21.pitch.Pitch(midi=midi) for midi in sorted(onsets[onset])]
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
    path = tmp_path / "piece.mid"
    score = music21.corpus.parse(name)
    bars = PIECES[name]
    (score.measures(*bars) if bars else score).write("midi", fp=path)
    tokens = encodings.read(path)
    assert tokens == oracle(path)
    assert len(tokens) > 15


SWING = notes(*((i + s, i + s + 0.3, 60 + i % 12) for i in range(8) for s in (0, 2 / 3)))
BUILT = {
    "swing triplets": smf(SWING, notes(*((i, i + 0.9, 36 + i) for i in range(8)))),
    "drums on their own track": smf(
        SWING, notes(*((i / 2, i / 2 + 0.1, 38) for i in range(16)), channel=9)
    ),
    "several tracks on one channel": smf(
        notes((0, 1, 60), (1, 2, 62)), notes((0, 1, 64), (1.5, 2, 65)), notes((0.5, 1, 67))
    ),
    "several channels on one track": smf(
        timed(
            (tick * QUARTER, bytes([status | channel, pitch, 64]))
            for tick, status, pitch in ((0, 0x90, 60), (1, 0x80, 60), (1, 0x90, 65), (2, 0x80, 65))
            for channel in (0, 3, 8)
        )
        + END,
        kind=0,
    ),
    "overlapping notes of one pitch": smf(
        notes((0, 1, 60), (0.5, 1.5, 60), (2, 4, 62), (2.5, 3, 62), (3.5, 3.75, 62))
    ),
    "notes without length": smf(notes((0, 0, 60), (0.5, 0.5, 62), (1, 2, 64), (1, 1, 67))),
    "unsteady fingers": smf(
        notes((0, 1, 60), (0.02, 0.97, 64), (0.11, 1.2, 67), (0.99, 2, 65), (1.05, 1.3, 69))
    ),
    "notes faster than the grid": smf(notes(*((i / 8, i / 8 + 0.1, 60 + i) for i in range(16)))),
    "a note that never ends": smf(timed([(0, b"\x90\x3c\x40")]) + notes((1, 2, 64))),
    "running status and silent beginnings": smf(
        b"\x00\x90\x3c\x40\x83\x60\x3c\x00\x00\x40\x40\x83\x60\x40\x00" + END
    ),
}


@pytest.mark.parametrize("texture", BUILT)
def test_a_built_file_reads_as_music21_parses_it(texture: str, tmp_path: Path) -> None:
    path = save(tmp_path / "built.mid", BUILT[texture])
    assert encodings.read(path) == oracle(path) != []


TRACKS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(1, 200), st.integers(0, 127)),
        min_size=1,
        max_size=10,
        # Which of two overlapping notes of a key an end ends, readers see differently: test_midi.
        unique_by=lambda note: note[2],
    ),
    min_size=1,
    max_size=2,
)


def encode(data: bytes) -> list[str]:
    return NOTES.encode(midi.read(data))


def heard(data: bytes) -> set[tuple[Fraction, int]]:
    """Return the (onset, pitch) pairs that tokens are made from."""
    onsets = onsets_of(midi.read(data))
    return {(Fraction(slot, 12), pitch) for slot, found in onsets.items() for pitch in found}


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
    # Each note's own start tick counts, not its place in the score; the next two tests say why
    # that can be later, and why music21 can have a pitch once more.
    theirs = {(nearest(tick, division), note.pitch.midi) for _, tick, note in parsed(path)}
    ours = heard(data)
    assert ours <= theirs
    assert {pitch for _, pitch in ours} == {pitch for _, pitch in theirs}
    assert encodings.read(path) == spelled(ours)


def test_difference_the_parse_delays_what_follows_a_crowded_bar(tmp_path: Path) -> None:
    # music21 lets a bar in several voices grow by what is held over its end and starts the next
    # bar later, so that a part runs behind the others; ours keeps the file's own time.
    played = (3.5, 4.5, 58), (3.5, 8.5, 61), (4, 9, 55), (5, 9, 67), (8, 13, 59)
    path = save(tmp_path / "crowded.mid", smf(notes(*played)))
    placed = {note.pitch.midi: (offset, nearest(tick)) for offset, tick, note in parsed(path)}
    assert placed.pop(59) == (8.5, 8)
    assert all(offset == tick for offset, tick in placed.values())
    assert heard(path.read_bytes()) == {(start, pitch) for start, _, pitch in played}


def test_difference_a_note_near_two_chords_is_in_both_for_the_parse(tmp_path: Path) -> None:
    # C and E end too far apart to be one chord; G ends near both, and music21 puts it in both.
    played = (0, 1, 60), (0.14, 1.4, 64), (0.18, 1.2, 67)
    path = save(tmp_path / "near.mid", smf(notes(*played)))
    assert oracle(path) == ["7.0", "4.7"]
    assert encodings.read(path) == ["7.0", "E4"]


def test_difference_drums_on_a_shared_track_swallow_notes_for_the_parse(tmp_path: Path) -> None:
    # music21 makes one percussion chord of a drum and the notes that begin and end with it.
    shared = timed(
        [(0, b"\x99\x26\x40"), (0, b"\x90\x3c\x40"), (480, b"\x89\x26\x00"), (480, b"\x80\x3c\x00")]
    )
    path = save(tmp_path / "shared.mid", smf(shared + notes((1, 2, 64)), kind=0))
    assert oracle(path) == ["E4"]
    assert encodings.read(path) == ["C4", "E4"]


def test_difference_an_untied_parse_counts_a_held_note_twice(tmp_path: Path) -> None:
    path = save(tmp_path / "held.mid", smf(notes((3, 5, 60))))
    assert len(music21.converter.parse(path, forceSource=True).flatten().notes) == 2
    assert encodings.read(path) == oracle(path) == ["C4"]


def test_a_chord_is_its_normal_order() -> None:
    chord = [music21.pitch.Pitch(name).midi for name in ("C#4", "F#2", "F#3", "F2")]
    assert encode(smf(notes(*((0, 1, pitch) for pitch in chord)))) == ["1.5.6"]


def test_an_octave_is_a_chord_of_one_class() -> None:
    assert encode(smf(notes((0, 1, 48), (0, 1, 60)))) == ["0"]


def test_two_parts_in_unison_are_one_pitch() -> None:
    assert encode(smf(notes((0, 1, 60)), notes((0, 2, 60)))) == ["C4"]


def test_each_pitch_and_each_set_of_classes_is_spelled_as_music21_spells_it() -> None:
    for number in range(128):
        assert encode(smf(notes((0, 1, number)))) == [
            music21.pitch.Pitch(midi=number).nameWithOctave
        ]
    for size in (2, 3, 12):
        for classes in combinations(range(12), size):
            (token,) = encode(smf(notes(*((0, 1, 60 + member) for member in classes))))
            order = music21.chord.Chord([music21.pitch.Pitch(member) for member in classes])
            assert token == ".".join(map(str, order.normalOrder))


@pytest.mark.parametrize("division", [1, 3, 4, 7, 96, 480, 1000])
def test_each_tick_goes_to_the_nearer_of_sixteenth_and_triplet(division: int) -> None:
    for tick in range(3 * division):
        assert Fraction(quantised(tick, division), 12) == nearest(tick, division)


def test_percussion_is_left_out() -> None:
    drums = notes((0, 3, 40), channel=9)
    assert encode(smf(notes((0, 1, 60)), drums, notes((0, 2, 62), channel=2))) == ["0.2"]
    with pytest.raises(midi.MidiError, match="only percussion"):
        encode(smf(drums))


# Sixteenths and more apart, so that no two are one chord; any pitch, length and channel but drums.
MELODIES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(12, 127), st.integers(0, 8)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(MELODIES)
def test_mido_hears_the_same_onsets(melody: list[tuple[int, int, int, int]]) -> None:
    track, now = [], 0
    for gap, length, pitch, channel in melody:
        now += gap * QUARTER // 4
        track.append((now, mido.Message("note_on", note=pitch, channel=channel)))
        track.append(
            (now + length * QUARTER // 4, mido.Message("note_off", note=pitch, channel=channel))
        )
    track.sort(key=lambda event: (event[0], event[1].type == "note_on"))
    file = mido.MidiFile(ticks_per_beat=QUARTER)
    file.add_track()
    now = 0
    for tick, message in track:
        file.tracks[0].append(message.copy(time=tick - now))
        now = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    heard = mido.MidiFile(file=io.BytesIO(buffer.getvalue()))
    tick, onsets = 0, []
    for message in heard.tracks[0]:
        tick += message.time
        if message.type == "note_on" and message.velocity:
            onsets.append((nearest(tick), message.note))
    assert encode(buffer.getvalue()) == spelled(onsets)


HUNDRED = [
    *NAMES[21:109],
    *(f"{root}.{root + 4}" for root in range(8)),
    "0",
    "3",
    "7",
    "11",
]


TOKENS = st.one_of(
    st.sampled_from(NAMES[12:]),
    st.sampled_from([*HUNDRED[88:], "0.4.7", "7.11.2", "11.0.1.2.3.4.5.6"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TOKENS, min_size=1, max_size=40))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[str]
) -> None:
    path = tmp_path_factory.mktemp("written") / "piece.mid"
    encodings.write(tokens, path)
    assert encodings.read(path) == tokens


def test_every_token_that_can_be_read_can_be_written(tmp_path: Path) -> None:
    tokens = [encode(smf(notes((0, 1, pitch))))[0] for pitch in range(128)]
    encodings.write(tokens, tmp_path / "piece.mid")
    # Twice through is stable, though two names of the inaudible lowest octave are also higher ones.
    assert encodings.read(tmp_path / "piece.mid") == tokens


def test_mido_reads_a_hundred_tokens_half_a_quarter_apart(tmp_path: Path) -> None:
    encodings.write(HUNDRED, tmp_path / "piece.mid", bpm=96, instrument=73)
    file = mido.MidiFile(tmp_path / "piece.mid")
    seconds, onsets, ends = 0.0, [], []
    for message in file:
        seconds += message.time
        if message.type == "note_on":
            onsets.append(round(seconds, 3))
        if message.type == "note_off":
            ends.append(round(seconds, 3))
    step = 60 / 96 / 2
    assert sorted(set(onsets)) == [round(step * i, 3) for i in range(100)]
    assert sorted(set(ends)) == [round(step * i, 3) for i in range(1, 101)]
    tempos = [message.tempo for message in file if message.type == "set_tempo"]
    programs = {message.program for message in file if message.type == "program_change"}
    assert tempos == [mido.bpm2tempo(96)]
    assert programs - {0} == {73}  # a track without notes may say 0


def test_music21_reads_a_hundred_tokens_half_a_quarter_apart(tmp_path: Path) -> None:
    path = tmp_path / "piece.mid"
    encodings.write(HUNDRED, path)
    score = music21.converter.parse(path, forceSource=True)
    assert oracle(path) == HUNDRED
    assert [float(note.offset) for note in score.flatten().notes] == [i / 2 for i in range(100)]


def test_chords_are_written_in_octave_4(tmp_path: Path) -> None:
    encodings.write(["7.11.2"], tmp_path / "piece.mid")
    messages = mido.MidiFile(tmp_path / "piece.mid")
    assert sorted(m.note for m in messages if m.type == "note_on") == [62, 67, 71]


@pytest.mark.parametrize("token", ["", "H4", "C", "1.5.12", "1.1", "1..5", "01.5", "<end>", "C4 "])
def test_an_unknown_token_is_refused(token: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither a note .* nor a chord"):
        encodings.write(["C4", token], tmp_path / "piece.mid")
    assert not (tmp_path / "piece.mid").exists()


@pytest.mark.parametrize("bpm", [4, 1000])
def test_the_extreme_tempos_are_written(bpm: int, tmp_path: Path) -> None:
    encodings.write(["C4"], tmp_path / "piece.mid", bpm=bpm)
    (tempo,) = [m.tempo for m in mido.MidiFile(tmp_path / "piece.mid") if m.type == "set_tempo"]
    assert tempo == 60_000_000 // bpm


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose from notes"):
        encodings.read(tmp_path / "piece.mid", "morse")
    with pytest.raises(ValueError, match="choose from notes"):
        encodings.write(["C4"], tmp_path / "piece.mid", "morse")


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


def chords_read(chords: list[list[int]]) -> list[str]:
    """Return the tokens of a MIDI file of these chords of pitches, a quarter note each."""
    played = [(i, i + 1, pitch) for i, chord in enumerate(chords) for pitch in chord]
    return encode(smf(notes(*played)))


def moved(chords: list[list[int]], semitones: int) -> list[list[int]]:
    return [[pitch + semitones for pitch in chord] for chord in chords]


@pytest.mark.parametrize("semitones", [5])
def test_every_chord_is_what_the_transposed_music_reads_as(semitones: int) -> None:
    classes = range(60, 72)
    chords = [list(chord) for size in range(1, 13) for chord in combinations(classes, size)]
    assert len(chords) == 4095
    tokens = [NOTES.transpose(token, semitones) for token in chords_read(chords)]
    assert tokens == chords_read(moved(chords, semitones))


@pytest.mark.parametrize("semitones", range(-6, 6))
def test_music_over_the_whole_keyboard_is_too(semitones: int) -> None:
    rng = np.random.default_rng(semitones + 6)
    chords = [
        sorted(set(rng.integers(21, 109, rng.integers(1, 5)).tolist())) for _ in range(300)
    ] + [[pitch] for pitch in range(6, 122)]
    tokens = [NOTES.transpose(token, semitones) for token in chords_read(chords)]
    # E-1 and B-1 each name two pitches, and mean the higher.
    twice = {i for i, chord in enumerate(chords) if chord in ([4], [11])}
    expected = chords_read(moved(chords, semitones))
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
    assert NOTES.transpose(token, semitones) == expected


@pytest.mark.parametrize("token", ["H4", "1.1", "12.3", "", "<end>"])
def test_an_unknown_token_cannot_be_transposed(token: str) -> None:
    with pytest.raises(ValueError, match="neither a note"):
        NOTES.transpose(token, 1)


def test_a_token_sounds_its_pitch_classes_an_eighth_of_a_bar_after_the_one_before() -> None:
    assert NOTES.content("C#5").pitch_classes == {1}
    assert NOTES.content("1.5.8").pitch_classes == {1, 5, 8}
    assert NOTES.content("C#5").programs == ()
    clock = NOTES.clock()
    for step in range(20):
        assert clock.position() == (step / 8, step / 2 % 4)
        clock.advance("C#5")
