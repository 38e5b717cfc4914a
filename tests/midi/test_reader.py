"""Hold what midi.py hears in files, and what it writes, against other readers of MIDI."""

import io
from collections import Counter
from pathlib import Path
from unittest import mock

import mido
import music21
import pretty_midi
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import END, QUARTER, notes, smf, timed

from midilstm import midi
from midilstm.fileio import InputError
from midilstm.midi import DRUMS, Note

Examples = tuple[float, float, int, int]  # start and length in quarter notes, pitch, program
PRETTY, SYMUSIC, PARSE = "pretty_midi", "symusic", "converter.parse"
ALL = (PRETTY, SYMUSIC, PARSE)


def on(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x90 | channel, pitch, 64])


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x80 | channel, pitch, 0])


def program(number: int, channel: int = 0) -> bytes:
    return bytes([0xC0 | channel, number])


def control(number: int, value: int, channel: int = 0) -> bytes:
    return bytes([0xB0 | channel, number, value])


def port(number: int) -> bytes:
    return bytes([0xFF, 0x21, 1, number])


def exclusive(content: str) -> bytes:
    data = bytes.fromhex(content) + b"\xf7"
    return b"\xf0" + bytes([len(data)]) + data


def file(*tracks: list[tuple[int, bytes]]) -> bytes:
    """Return a file of tracks of (tick, event)."""
    return smf(*(timed(track) + END for track in tracks))


def beats(*pitches: int, channel: int = 0, first: int = 0) -> list[tuple[int, bytes]]:
    """Return a quarter note each, one after another."""
    found = []
    for number, pitch in enumerate(pitches, first):
        found += [(480 * number, on(pitch, channel)), (480 * number + 480, off(pitch, channel))]
    return found


def legato(count: int, overlap: int = 10) -> list[tuple[int, bytes]]:
    """Return one key struck on each beat, `overlap` ticks before it is let go."""
    events = [(480 * number, on(60)) for number in range(count)]
    events += [(480 * number + overlap, off(60)) for number in range(1, count + 1)]
    return sorted(events, key=lambda event: event[0])


SLUR = 490 / 480
GS_DRUMS, GS_PIANO = "41 10 42 12 40 {} 15 02 0a", "41 10 42 12 40 {} 15 00 0a"
# What happens → the file, what is heard, and which other readers hear it, too.
FILES: dict[str, tuple[bytes, list[Examples], tuple[str, ...]]] = {
    # Programs and channels
    "a program in its own track": (
        file([(0, program(40)), *beats(60), (480, program(73)), *beats(62, first=1)]),
        [(0, 1, 60, 40), (1, 1, 62, 73)],
        ALL,
    ),
    "programs in a setup track that comes first": (
        file([(0, program(40)), (480, program(73))], beats(60, 62)),
        [(0, 1, 60, 40), (1, 1, 62, 73)],
        (PARSE,),
    ),
    "programs in a setup track that comes last": (
        file(beats(60, 62), [(0, program(40)), (480, program(73))]),
        [(0, 1, 60, 40), (1, 1, 62, 73)],
        (PARSE,),
    ),
    "two tracks that set one channel at one moment": (
        file([(0, program(40)), *beats(60)], [(0, program(73)), *beats(64)]),
        [(0, 1, 60, 40), (0, 1, 64, 73)],
        ALL,
    ),
    "two instruments that take turns on one channel at one tick": (
        file(
            [
                (0, program(40)),
                (0, on(60)),
                (0, program(73)),
                (0, on(64)),
                (480, off(60)),
                (480, off(64)),
            ]
        ),
        [(0, 1, 60, 40), (0, 1, 64, 73)],
        (SYMUSIC,),
    ),
    "a note that another track ends": (
        file([(0, on(60)), (480, on(62))], [(0, off(62)), (480, off(60)), (960, off(62))]),
        [(0, 1, 60, 0), (1, 1, 62, 0)],
        (),
    ),
    "one channel on two ports": (
        file(
            [(0, port(0)), (0, program(40)), *beats(60, 60)],
            [(0, port(1)), (0, program(73)), (240, on(60)), (720, off(60))],
            [(0, port(0)), (0, on(64)), (480, off(64))],
        ),
        [(0, 1, 60, 40), (0, 1, 64, 40), (0.5, 1, 60, 73), (1, 1, 60, 40)],
        (),
    ),
    "two channels with one program": (
        file([*beats(60)], [(240, on(60, 1)), (960, off(60, 1))]),
        [(0, 1, 60, 0), (0.5, 1.5, 60, 0)],
        ALL,
    ),
    "two tracks that share a channel and a key": (
        file([(0, on(60)), (1920, off(60))], [*beats(60, 60, 60)]),
        [(0, 1, 60, 0), (0, 4, 60, 0), (1, 1, 60, 0), (2, 1, 60, 0)],
        (PRETTY, SYMUSIC),
    ),
    # Where a note ends
    "one key on each beat, let go first": (
        file(beats(60, 60, 60, 60)),
        [(beat, 1, 60, 0) for beat in range(4)],
        ALL,
    ),
    "one key on each beat, struck first": (
        file(legato(4, overlap=0)),
        [(beat, 1, 60, 0) for beat in range(4)],
        (PRETTY, SYMUSIC),
    ),
    "two legato notes of one key": (
        file(legato(2)),
        [(0, SLUR, 60, 0), (1, SLUR, 60, 0)],
        (SYMUSIC,),
    ),
    "five legato notes of one key": (
        file(legato(5)),
        [(beat, SLUR, 60, 0) for beat in range(5)],
        (SYMUSIC,),
    ),
    "a lost end": (
        file([(0, on(60)), *beats(60, 60, 60, first=1)]),
        [(beat, 1, 60, 0) for beat in range(4)],
        (),
    ),
    "a lost end, and legato after it": (
        file([(0, on(60)), *((480 + tick, event) for tick, event in legato(3))]),
        [(0, 1, 60, 0), *((beat, SLUR, 60, 0) for beat in (1, 2, 3))],
        (),
    ),
    "lost ends of a strummed chord": (
        file([(120 * stroke, on(60)) for stroke in range(4)] + [(480, off(60))]),
        [(stroke / 4, 1 / 4, 60, 0) for stroke in range(4)],
        (),
    ),
    "a lost end, and one too many later": (
        file([(0, on(60)), *beats(60, 60, 60, first=1), (96_000, off(60))]),
        [(beat, 1, 60, 0) for beat in range(4)],
        (),
    ),
    "a lost end, and at once one too many": (
        file([(0, on(60)), *beats(60, first=1), (96_000, off(60))]),
        [(0, 1, 60, 0), (1, 1, 60, 0)],
        (),
    ),
    "two parts in unison": (
        file([(0, on(60)), (0, on(60)), (240, off(60)), (480, off(60))]),
        [(0, 0.5, 60, 0), (0, 1, 60, 0)],
        (SYMUSIC,),
    ),
    "two parts that share a key": (
        file([(0, on(60)), (480, on(60)), (960, off(60)), (1440, off(60))]),
        [(0, 2, 60, 0), (1, 2, 60, 0)],
        (SYMUSIC,),
    ),
    "a note without length": (
        file([(0, on(60)), (0, off(60)), *beats(62)]),
        [(0, 0, 60, 0), (0, 1, 62, 0)],
        (SYMUSIC,),
    ),
    "all notes off": (
        file([(0, on(60)), (0, on(64, 1)), (480, control(123, 0)), (960, off(64, 1))]),
        [(0, 1, 60, 0), (0, 2, 64, 0)],
        (),
    ),
    # Drums
    "channel 10": (file(beats(38, channel=9)), [(0, 1, 38, DRUMS)], (PRETTY, SYMUSIC)),
    "channel 10, whatever its bank and program": (
        file([(0, control(0, 0, 9)), (0, program(40, 9)), *beats(38, channel=9)]),
        [(0, 1, 38, DRUMS)],
        (PRETTY, SYMUSIC),
    ),
    "a drum bank of XG, from the next program on": (
        file(
            [
                (0, control(0, 127)),
                *beats(38),
                (480, program(0)),
                *beats(38, first=1),
                (960, control(0, 0)),
                (960, program(0)),
                *beats(60, first=2),
            ]
        ),
        [(0, 1, 38, 0), (1, 1, 38, DRUMS), (2, 1, 60, 0)],
        (),
    ),
    "a drum bank of General MIDI 2": (
        file([(0, control(0, 120)), (0, program(0)), *beats(38)]),
        [(0, 1, 38, DRUMS)],
        (),
    ),
    "a drum part of GS": (
        file([(0, exclusive(GS_DRUMS.format("1a"))), (0, program(5, 10)), *beats(38, channel=10)]),
        [(0, 1, 38, DRUMS)],
        (),
    ),
    "the first drum part of GS": (
        file([(0, exclusive(GS_DRUMS.format("11"))), *beats(38)]),
        [(0, 1, 38, DRUMS)],
        (),
    ),
    "channel 10 that GS makes a part like others, from another track": (
        file([(480, exclusive(GS_PIANO.format("10")))], beats(60, 60, channel=9)),
        [(0, 1, 60, DRUMS), (1, 1, 60, 0)],
        (),
    ),
    "a drum part of XG": (
        file([(0, exclusive("43 10 4c 08 02 07 02")), *beats(38, channel=2)]),
        [(0, 1, 38, DRUMS)],
        (),
    ),
    # The sustain pedal
    "a pedal": (
        file([(0, control(64, 127)), *beats(60, 64), (1440, control(64, 0)), *beats(67, first=3)]),
        [(0, 3, 60, 0), (1, 2, 64, 0), (3, 1, 67, 0)],
        (),
    ),
    "a pedal of another track": (
        file(beats(60), [(240, control(64, 64)), (960, control(64, 63))]),
        [(0, 2, 60, 0)],
        (),
    ),
    "a key struck again under the pedal": (
        file(
            [
                (0, control(64, 127)),
                (0, on(60)),
                (240, off(60)),
                *beats(60, first=1),
                (1440, control(64, 0)),
            ]
        ),
        [(0, 1, 60, 0), (1, 2, 60, 0)],
        (),
    ),
    "a pedal changed on the beat": (
        file(
            [
                (0, control(64, 127)),
                *beats(60),
                (480, control(64, 0)),
                (480, control(64, 127)),
                *beats(64, first=1),
                (960, control(64, 0)),
            ]
        ),
        [(0, 1, 60, 0), (1, 1, 64, 0)],
        ALL,
    ),
    "a pedal that stays down": (
        file([(0, control(64, 127)), *beats(60), (1440, on(64)), (1920, off(64))]),
        [(0, 4, 60, 0), (3, 1, 64, 0)],
        (),
    ),
    "a pedal under drums": (
        file([(0, control(64, 127, 9)), *beats(38, channel=9), (960, control(64, 0, 9))]),
        [(0, 1, 38, DRUMS)],
        (PRETTY, SYMUSIC),
    ),
    "all sound off under the pedal": (
        file([(0, control(64, 127)), *beats(60), (960, control(120, 0)), (1440, control(64, 0))]),
        [(0, 2, 60, 0)],
        (),
    ),
}


def heard(data: bytes, *, pedal: bool = True) -> list[Examples]:
    song = midi.read(data, pedal=pedal)
    quarter = song.ticks_per_quarter
    return sorted((n.start / quarter, n.length / quarter, n.pitch, n.program) for n in song.notes)


def heard_by(reader: str, data: bytes) -> list[Examples]:
    """Return what another reader hears; what it does not tell of programs is left 0."""
    if reader == SYMUSIC:
        return sorted(
            (n.time / QUARTER, n.duration / QUARTER, n.pitch, DRUMS if t.is_drum else t.program)
            for t in symusic.Score.from_midi(data).tracks
            for n in t.notes
        )
    if reader == PRETTY:
        pretty = pretty_midi.PrettyMIDI(io.BytesIO(data))
        return sorted(
            (
                round(2 * n.start, 6),
                round(2 * (n.end - n.start), 6),
                n.pitch,
                DRUMS if i.is_drum else i.program,
            )
            for i in pretty.instruments
            for n in i.notes
        )
    score = music21.converter.parse(data, format="midi").stripTies()
    return sorted(
        (float(element.offset), float(element.quarterLength), pitch.midi, 0)
        for element in score.flatten().notes
        for pitch in element.pitches
    )


@pytest.mark.parametrize("what", FILES)
def test_what_a_note_is(what: str) -> None:
    data, expected, readers = FILES[what]
    assert heard(data) == expected
    for reader in readers:
        programs = [(*note[:3], 0 if reader == PARSE else note[3]) for note in expected]
        assert heard_by(reader, data) == programs, reader


def test_the_pedal_is_not_heard_where_it_is_not_wanted() -> None:
    data = FILES["a pedal"][0]
    assert heard(data, pedal=False) == [(0, 1, 60, 0), (1, 1, 64, 0), (3, 1, 67, 0)]


def test_notes_stand_by_start_then_pitch_and_name_their_track() -> None:
    song = midi.read(file([(0, on(67)), (480, off(67)), *beats(60, first=1)], beats(64, 72)))
    assert [(note.start, note.pitch, note.track) for note in song.notes] == [
        *((0, 64, 1), (0, 67, 0)),
        *((480, 60, 0), (480, 72, 1)),
    ]


def test_a_key_struck_twice_at_once_and_let_go_once_is_one_note() -> None:
    song = midi.read(file([(0, on(60)), (0, on(60)), (480, off(60)), (480, on(62))]))
    assert song.notes == (Note(0, 480, 60, 64),)
    assert song.hanging_notes == 2


def test_a_missing_track_is_a_warning() -> None:
    whole = file(beats(60))
    song = midi.read(whole.replace(b"\0\1\0\1", b"\0\1\0\3", 1))
    assert song.notes == midi.read(whole).notes
    assert song.warnings == ("its header promises 3 tracks, but it holds 1",)
    assert midi.read(whole).warnings == ()


def test_tempos_and_time_signatures_stand_by_tick() -> None:
    tempo, three = b"\xff\x51\x03\x07\xa1\x20", b"\xff\x58\x04\x03\x03\x18\x08"
    song = midi.read(file(beats(60), [(480, tempo), (960, b"\xff\x51\x03\0\0\0")], [(0, three)]))
    assert song.tempos == {480: 120}
    assert song.time_signatures == {0: (3, 8)}


def lost_ends(count: int) -> bytes:
    """Return a key struck and let go on each half beat, but for every seventh end."""
    events = [(240 * number, on(60)) for number in range(count)]
    events += [(240 * number + 200, off(60)) for number in range(count) if number % 7 != 3]
    return file(sorted(events))


def test_lost_ends_make_no_note_long() -> None:
    song = midi.read(lost_ends(100))
    assert Counter(note.length for note in song.notes) == {200: 86, 240: 14}
    assert song.hanging_notes == 0


STROKES = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40
)


@settings(max_examples=300, deadline=None)
@given(STROKES)
def test_each_stroke_is_a_note_or_never_ends(strokes: list[tuple[int, bool, int]]) -> None:
    now, track = 0, []
    for wait, is_on, channel in strokes:
        now += 120 * wait
        track.append((now, (on if is_on else off)(60, channel)))
    struck = Counter((tick, event[0] & 15) for tick, event in track if event[0] & 0xF0 == 0x90)
    ends = {tick for tick, _ in track}
    try:
        song = midi.read(file(track))
    except midi.MidiError as error:
        assert error.reason == ("hanging notes" if struck else "no notes")
        return
    assert len(song.notes) + song.hanging_notes == struck.total()
    assert Counter(note.start for note in song.notes) <= Counter(
        tick for tick, _ in struck.elements()
    )
    assert {note.start + note.length for note in song.notes} <= ends


def bundled() -> list[Path]:
    """Return the MIDI files that come inside the music21 package."""
    return sorted(Path(music21.__file__).parent.rglob("*.mid"))


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_beginnings_are_those_of_mido(path: Path) -> None:
    theirs: Counter[tuple[int, int, int]] = Counter()
    for number, track in enumerate(mido.MidiFile(path).tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                theirs[tick, message.note, number] += 1
    song = midi.read(path)
    ours = Counter((note.start, note.pitch, note.track) for note in song.notes)
    assert ours <= theirs
    assert ours.total() + song.hanging_notes == theirs.total()


def test_every_event_is_read_by_music21() -> None:
    data = smf(notes(*((beat, beat + 1, 60) for beat in range(9))))
    with mock.patch.object(music21.midi.MidiEvent, "read", autospec=True) as reading:
        reading.side_effect = music21.midi.MidiException("patched")
        with pytest.raises(midi.MidiError, match="patched"):
            midi.read(data)
    with mock.patch.object(
        music21.midi.MidiEvent, "read", autospec=True, side_effect=music21.midi.MidiEvent.read
    ) as reading:
        midi.read(data)
    assert reading.call_count >= 18


RUNNING = b"\x00\x90\x3c\x40" + b"\x08\x3c\x00\x00\x3c\x40" * 5_000 + b"\x08\x3c\x00" + END


@pytest.mark.parametrize(
    "track",
    [
        RUNNING,
        b"\x00\x90\x3c\x40\x08\x80\x3c\x00" * 5_000 + END,
        b"\x00\xff\x01\x20" * 1 + bytes(32) + (b"\x00\xff\x01\x20" + bytes(32)) * 2_000 + RUNNING,
    ],
    ids=["running status", "a status each", "long texts"],
)
def test_music21_copies_a_track_no_more_than_a_few_times(track: bytes) -> None:
    read, copied = music21.midi.MidiEvent.read, 0

    def counted(event: music21.midi.MidiEvent, content: bytes | memoryview) -> object:
        nonlocal copied
        # Slices of bytes are copies; slices of a memoryview are not.
        copied += len(content) if isinstance(content, bytes) else 0
        return read(event, content)

    with mock.patch.object(music21.midi.MidiEvent, "read", counted):
        midi.read(smf(track))
    assert copied < 8 * len(track)


# What is written


SONG = midi.Score(
    480,
    (
        *(Note(0, 480, 60, 90, 40, 0), Note(0, 1, 38, 100, DRUMS, 0)),
        *(Note(480, 480, 60, 80, 40, 0), Note(480, 960, 64, 70, 0, 0)),
    ),
    {0: 100.0, 480: 90.0},
    {0: (3, 4)},
)


def test_what_is_written_is_read_back() -> None:
    song = midi.read(midi.to_bytes(SONG))
    assert [note[:5] for note in song.notes] == [
        note[:5] for note in sorted(SONG.notes, key=lambda note: (note.start, note.pitch))
    ]
    assert {tick: round(bpm) for tick, bpm in song.tempos.items()} == SONG.tempos
    assert song.time_signatures == SONG.time_signatures


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 20), st.integers(0, 127), st.sampled_from([DRUMS, 0, 40, 127])),
        st.tuples(st.integers(1, 4), st.integers(1, 127)),
        min_size=1,
        max_size=40,
    )
)
def test_any_song_is_read_back(found: dict[tuple[int, int, int], tuple[int, int]]) -> None:
    played = []
    for (start, pitch, program_), (length, velocity) in found.items():
        # A key that is struck again has ended.
        repeated_mask = [s for s, p, i in found if (p, i) == (pitch, program_) and s > start]
        end = min(start + length, *repeated_mask, start + 9)
        played.append((120 * start, 120 * (end - start), pitch, velocity, program_))
    song = midi.read(midi.to_bytes(midi.Score(480, tuple(Note(*note) for note in sorted(played)))))
    assert sorted(note[:5] for note in song.notes) == sorted(played)


def test_what_holds_for_all_stands_in_a_track_of_its_own() -> None:
    data = midi.to_bytes(SONG)
    first, *others = mido.MidiFile(file=io.BytesIO(data)).tracks
    kinds = {message.type for message in first}
    assert {"set_tempo", "time_signature"} <= kinds and "note_on" not in kinds
    assert all("set_tempo" not in {message.type for message in track} for track in others)
    pretty = pretty_midi.PrettyMIDI(io.BytesIO(data))
    assert [round(bpm) for bpm in pretty.get_tempo_changes()[1]] == [100, 90]
    assert {(i.program, i.is_drum) for i in pretty.instruments} == {(40, 0), (0, 0), (0, 1)}
    score = music21.converter.parse(data, format="midi")
    marks = score.flatten().getElementsByClass(music21.tempo.MetronomeMark)
    assert {round(mark.number) for mark in marks} == {100, 90}
    assert len(score.parts) == 3
    assert {str(message.type) for message in first} == {
        "set_tempo",
        "time_signature",
        "end_of_track",
    }
    meters = [part.recurse().getElementsByClass("TimeSignature") for part in score.parts]
    assert [[(m.numerator, m.denominator) for m in found] for found in meters] == [[(3, 4)]] * 3


def test_fifteen_instruments_and_drums_have_a_channel_each() -> None:
    programs = (*range(15), DRUMS)
    song = midi.Score(480, tuple(Note(0, 480, 60, 90, number) for number in programs))
    tracks = mido.MidiFile(file=io.BytesIO(midi.to_bytes(song))).tracks
    channels = [m.channel for track in tracks for m in track if m.type == "note_on"]
    assert sorted(channels) == list(range(16))


def test_a_song_is_performed_on_an_instrument_but_its_drums_stay() -> None:
    song = midi.with_tempo_and_program(SONG, bpm=60, instrument=73)
    assert [note.program for note in song.notes] == [73, DRUMS, 73, 73]
    assert song.tempos == {0: 60}
    assert midi.with_tempo_and_program(midi.Score(480, SONG.notes)).tempos == {0: midi.DEFAULT_BPM}


# Names of General MIDI


def test_instruments_are_named() -> None:
    assert SONG.instruments == ("Acoustic Grand Piano", "Percussion", "Violin")


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("127", 127), ("violin", 40), (" Church Org", 19), ("flu", 73), ("steel", 114)],
)
def test_a_program_is_a_number_or_the_beginning_of_a_name(text: str, number: int) -> None:
    assert midi.program_of(text) == number


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("128", "not a General MIDI program"),
        ("-1", "try violin"),
        ("", "try violin"),
        ("kazoo", "try violin"),
        ("electric", "it could be Electric Grand Piano, Electric Piano 1"),
    ],
)
def test_no_program_is_a_sentence(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        midi.program_of(text)
