"""Scores written as MIDI files, read back and by other readers, and names of General MIDI."""

import io
from collections import Counter

import mido
import music21
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midilstm import midi
from midilstm.midi import DRUMS, Note

SCORE = midi.Score(
    480,
    (
        *(Note(0, 480, 60, 90, 40, 0), Note(0, 1, 38, 100, DRUMS, 0)),
        *(Note(480, 480, 60, 80, 40, 0), Note(480, 960, 64, 70, 0, 0)),
    ),
    {0: 100.0, 480: 90.0},
    {0: (3, 4)},
)


def test_tempos_and_time_signatures_are_read_back() -> None:
    score = midi.read(midi.to_bytes(SCORE))
    assert {tick: round(bpm) for tick, bpm in score.tempos.items()} == SCORE.tempos
    assert score.time_signatures == SCORE.time_signatures


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 20), st.integers(0, 127), st.sampled_from([DRUMS, 0, 40, 127])),
        st.tuples(st.integers(1, 4), st.integers(1, 127)),
        min_size=1,
        max_size=40,
    )
)
def test_any_notes_are_read_back(values: dict[tuple[int, int, int], tuple[int, int]]) -> None:
    notes = []
    for (start, pitch, program), (length, velocity) in values.items():
        # A note ends at the next one of its key.
        later = [s for s, p, i in values if (p, i) == (pitch, program) and s > start]
        end = min(start + length, *later, start + 9)
        notes.append((120 * start, 120 * (end - start), pitch, velocity, program))
    score = midi.read(midi.to_bytes(midi.Score(480, tuple(Note(*note) for note in sorted(notes)))))
    assert sorted(note[:5] for note in score.notes) == sorted(notes)


def test_other_readers_find_tempos_and_meters_in_a_track_without_notes() -> None:
    data = midi.to_bytes(SCORE)
    first, *others = mido.MidiFile(file=io.BytesIO(data)).tracks
    assert {str(message.type) for message in first} == {
        *("set_tempo", "time_signature", "end_of_track")
    }
    assert all("set_tempo" not in {message.type for message in track} for track in others)
    pretty = pretty_midi.PrettyMIDI(io.BytesIO(data))
    assert [round(bpm) for bpm in pretty.get_tempo_changes()[1]] == [100, 90]
    assert {(i.program, i.is_drum) for i in pretty.instruments} == {(40, 0), (0, 0), (0, 1)}
    score = music21.converter.parse(data, format="midi")
    marks = score.flatten().getElementsByClass(music21.tempo.MetronomeMark)
    assert {round(mark.number) for mark in marks} == {100, 90}
    meters = [part.recurse().getElementsByClass("TimeSignature") for part in score.parts]
    assert [[(m.numerator, m.denominator) for m in marks] for marks in meters] == [[(3, 4)]] * 3


def test_fifteen_instruments_and_drums_have_a_channel_each() -> None:
    notes = tuple(Note(0, 480, 60, 90, program) for program in (*range(15), DRUMS))
    tracks = mido.MidiFile(file=io.BytesIO(midi.to_bytes(midi.Score(480, notes)))).tracks
    channels = [m.channel for track in tracks for m in track if m.type == "note_on"]
    assert sorted(channels) == list(range(16))


def test_tracks_have_the_names_of_their_instruments() -> None:
    tracks = mido.MidiFile(file=io.BytesIO(midi.to_bytes(SCORE))).tracks
    assert [track.name for track in tracks] == [
        *("", "Percussion", "Acoustic Grand Piano", "Violin"),
    ]


@pytest.mark.parametrize("end", [0, 4321])
def test_stems_are_as_long_as_the_piece_and_have_its_tempos_and_meters(end: int) -> None:
    content = midi.to_bytes(SCORE, end)
    stems = midi.split_stems(content)
    assert set(stems) == {"Percussion", "Acoustic Grand Piano", "Violin"}
    notes: list[Note] = []
    for name, stem in stems.items():
        score = midi.read(stem)
        assert score.instruments == (name,)
        notes += score.notes
        file, whole = (mido.MidiFile(file=io.BytesIO(data)) for data in (stem, content))
        assert file.tracks[0][:-1] == whole.tracks[0][:-1]
        ends = {sum(message.time for message in track) for track in file.tracks}
        assert ends == {end or 1441}  # the last note ends at 1440
        channels = {m.channel for m in file.tracks[1] if m.type == "note_on"}
        assert channels <= {m.channel for m in whole if m.type == "note_on"}
        pretty = [pretty_midi.PrettyMIDI(io.BytesIO(data)) for data in (stem, content)]
        assert [*pretty[0].get_tempo_changes()[1]] == [*pretty[1].get_tempo_changes()[1]]
        (part,) = pretty[0].instruments
        (same,) = (x for x in pretty[1].instruments if x.name == name)
        assert [str(note) for note in part.notes] == [str(note) for note in same.notes]
    assert sorted(note[:5] for note in notes) == sorted(note[:5] for note in SCORE.notes)


def test_a_program_replaces_all_but_drums_and_a_tempo_all_others() -> None:
    score = midi.with_tempo_and_program(SCORE, bpm=60, instrument=73)
    assert [note.program for note in score.notes] == [73, DRUMS, 73, 73]
    assert score.tempos == {0: 60}
    assert midi.with_tempo_and_program(midi.Score(480, SCORE.notes)).tempos == {0: midi.DEFAULT_BPM}


def test_instruments_have_names() -> None:
    assert SCORE.instruments == ("Acoustic Grand Piano", "Percussion", "Violin")


def test_notes_of_one_key_that_overlap_keep_their_lengths() -> None:
    notes = [(0, 960, 60, 70), (240, 100, 60, 80), (240, 800, 60, 90), (960, 10, 60, 50)]
    score = midi.Score(
        480,
        tuple(Note(*note, program=program) for note in sorted(notes) for program in (-1, 40, 73)),
    )
    content = midi.to_bytes(score)
    written = [note[:5] for note in midi.read(content).notes]
    assert Counter(written) == Counter(note[:5] for note in score.notes)
    stems = midi.split_stems(content)
    assert [len(midi.read(stem).notes) for stem in stems.values()] == [4, 4, 4]
