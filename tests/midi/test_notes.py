"""Which notes the events of a file are, compared with other readers of MIDI."""

import io
import re
from collections import Counter
from pathlib import Path

import mido
import music21
import pretty_midi
import pytest
import symusic
from band_files import bundled
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import file_of

from midilstm import midi
from midilstm.midi import DRUMS

# Each case has a name with the other readers that find the same notes; the tracks of a file as in
# midi_bytes.file_of; and its notes, START-END PITCH PROGRAM each.
CASES = """
a program in its own track: pretty_midi symusic parse
    0 program 40, 0-100 60, 100 program 73, 100-200 62
    = 0-100 60 40, 100-200 62 73
programs in a setup track that comes first: parse
    0 program 40, 100 program 73 / 0-100 60, 100-200 62
    = 0-100 60 40, 100-200 62 73
programs in a setup track that comes last: parse
    0-100 60, 100-200 62 / 0 program 40, 100 program 73
    = 0-100 60 40, 100-200 62 73
two tracks that set one channel at one moment: pretty_midi symusic parse
    0 program 40, 0-100 60 / 0 program 73, 0-100 64
    = 0-100 60 40, 0-100 64 73
two instruments that take turns on one channel at one tick: symusic
    0 program 40, 0-100 60, 0 program 73, 0-100 64
    = 0-100 60 40, 0-100 64 73
a note that another track ends:
    0 on 60, 100 on 62 / 0 off 62, 100 off 60, 200 off 62
    = 0-100 60, 100-200 62
one channel on two ports:
    0 port 0, 0 program 40, 0-100 60, 100-200 60 / 0 port 1, 0 program 73, 50-150 60
        / 0 port 0, 0-100 64
    = 0-100 60 40, 0-100 64 40, 50-150 60 73, 100-200 60 40
two channels with one program: pretty_midi symusic parse
    0-100 60 / 50-200 60@1
    = 0-100 60, 50-200 60
two tracks that share a channel and a key: pretty_midi symusic
    0-400 60 / 0-100 60, 100-200 60, 200-300 60
    = 0-100 60, 0-400 60, 100-200 60, 200-300 60
one key on each beat, released before it is pressed: pretty_midi symusic parse
    0-100 60, 100-200 60, 200-300 60
    = 0-100 60, 100-200 60, 200-300 60
one key on each beat, pressed before it is released: pretty_midi symusic
    0 on 60, 100 on 60, 100 off 60, 200 on 60, 200 off 60, 300 off 60
    = 0-100 60, 100-200 60, 200-300 60
two legato notes of one key: symusic
    0-102 60, 100-202 60
    = 0-102 60, 100-202 60
five legato notes of one key: symusic
    0-102 60, 100-202 60, 200-302 60, 300-402 60, 400-502 60
    = 0-102 60, 100-202 60, 200-302 60, 300-402 60, 400-502 60
a lost end:
    0 on 60, 100-200 60, 200-300 60, 300-400 60
    = 0-100 60, 100-200 60, 200-300 60, 300-400 60
a lost end, and legato after it:
    0 on 60, 100-202 60, 200-302 60, 300-402 60
    = 0-100 60, 100-202 60, 200-302 60, 300-402 60
lost ends of a strummed chord:
    0 on 60, 25 on 60, 50 on 60, 75 on 60, 100 off 60
    = 0-25 60, 25-50 60, 50-75 60, 75-100 60
a lost end, and one too many later:
    0 on 60, 100-200 60, 200-300 60, 300-400 60, 20000 off 60
    = 0-100 60, 100-200 60, 200-300 60, 300-400 60
a lost end, and at once one too many:
    0 on 60, 100-200 60, 20000 off 60
    = 0-100 60, 100-200 60
two parts in unison: symusic
    0-50 60, 0-100 60
    = 0-50 60, 0-100 60
two parts that share a key: symusic
    0 on 60, 100 on 60, 200 off 60, 300 off 60
    = 0-200 60, 100-300 60
a key pressed twice at once and released once:
    0 on 60, 0 on 60, 100 off 60, 100 on 62
    = 0-100 60
a note without length: symusic
    0-0 60, 0-100 62
    = 0-0 60, 0-100 62
all notes off:
    0 on 60, 0-200 64@1, 100 control 123 0
    = 0-100 60, 0-200 64
channel 10: pretty_midi symusic
    0-100 38@9
    = 0-100 38 -1
channel 10, whatever its bank and program: pretty_midi symusic
    0 control 0 0@9, 0 program 40@9, 0-100 38@9
    = 0-100 38 -1
a drum bank of XG, from the next program on:
    0 control 0 127, 0-100 38, 100 program 0, 100-200 38, 200 control 0 0, 200 program 0, 200-300 60
    = 0-100 38, 100-200 38 -1, 200-300 60
a drum bank of General MIDI 2:
    0 control 0 120, 0 program 0, 0-100 38
    = 0-100 38 -1
a drum part of GS:
    0 f0 0a 41 10 42 12 40 1a 15 02 0a f7, 0 program 5@10, 0-100 38@10
    = 0-100 38 -1
the first drum part of GS:
    0 f0 0a 41 10 42 12 40 11 15 02 0a f7, 0-100 38
    = 0-100 38 -1
channel 10 that GS makes a part like others, from another track:
    100 f0 0a 41 10 42 12 40 10 15 00 0a f7 / 0-100 60@9, 100-200 60@9
    = 0-100 60 -1, 100-200 60
a drum part of XG:
    0 f0 08 43 10 4c 08 02 07 02 f7, 0-100 38@2
    = 0-100 38 -1
a pedal:
    0 control 64 127, 0-100 60, 100-200 64, 300 control 64 0, 300-400 67
    = 0-300 60, 100-300 64, 300-400 67
a pedal of another track:
    0-100 60 / 50 control 64 64, 200 control 64 63
    = 0-200 60
a key pressed again under the pedal:
    0 control 64 127, 0-50 60, 100-200 60, 300 control 64 0
    = 0-100 60, 100-300 60
a pedal changed on the beat: pretty_midi symusic parse
    0 control 64 127, 0-100 60, 100 control 64 0, 100 control 64 127, 100-200 64, 200 control 64 0
    = 0-100 60, 100-200 64
a pedal that stays down:
    0 control 64 127, 0-100 60, 300-400 64
    = 0-400 60, 300-400 64
a pedal under drums: pretty_midi symusic
    0 control 64 127@9, 0-100 38@9, 200 control 64 0@9
    = 0-100 38 -1
controller 121 under the pedal, which sets no program:
    0 program 40, 0 control 64 127, 0-100 60, 200 control 121 0, 300-400 67, 450 control 64 0
    = 0-200 60 40, 300-400 67 40
controller 121 of another channel:
    0 control 64 127, 0-100 60, 200 control 121 0@1, 300 control 64 0
    = 0-300 60
controller 121, and the pedal down again:
    0 control 64 127, 0-100 60, 200 control 121 0, 200 control 64 127, 200-300 64, 400 control 64 0
    = 0-200 60, 200-400 64
GM System On under the pedal, from another track:
    0 program 40, 0 control 64 127, 0-100 60, 300-400 67 / 200 f0 05 7e 7f 09 01 f7
    = 0-200 60 40, 300-400 67
GS Reset under the pedal, and a program at once:
    0 control 64 127, 0-100 60, 200 program 40, 300-400 67
        / 200 f0 0a 41 10 42 12 40 00 7f 00 41 f7
    = 0-200 60, 300-400 67 40
XG System On after a drum bank:
    0 control 0 127, 0 program 1, 0-100 38, 200 f0 08 43 10 4c 00 00 7e 00 f7, 200-300 60
    = 0-100 38 -1, 200-300 60
GS Reset after drum parts:
    0 f0 0a 41 10 42 12 40 11 15 02 0a f7, 0 f0 0a 41 10 42 12 40 10 15 00 0a f7,
        0-100 38, 0-100 60@9, 200 f0 0a 41 10 42 12 40 00 7f 00 41 f7, 200-300 60, 200-300 38@9
    = 0-100 38 -1, 0-100 60, 200-300 38 -1, 200-300 60
GS Reset before drum parts, at once:
    0 f0 0a 41 10 42 12 40 00 7f 00 41 f7, 0 f0 0a 41 10 42 12 40 11 15 02 0a f7, 0-100 38
    = 0-100 38 -1
a reset of another port:
    0 port 0, 0 program 40, 0 control 64 127, 0-100 60, 300 control 64 0
        / 0 port 1, 200 f0 05 7e 7f 09 01 f7
    = 0-300 60 40
a message that resets nothing:
    0 program 40, 0 control 64 127, 0-100 60, 200 f0 05 7e 7f 09 02 f7, 300 control 64 0
    = 0-300 60 40
all sound off under the pedal:
    0 control 64 127, 0-100 60, 200 control 120 0, 300 control 64 0
    = 0-200 60
"""
Notes = list[tuple[int, int, int, int]]  # start and end in ticks, pitch, program


def parse_case(readers: str, tracks: str, notes: str) -> tuple[bytes, Notes, list[str]]:
    """Return the file of a case, its notes and its readers."""
    data = file_of(*(" ".join(track.split()) for track in tracks.split("/")))
    return data, [parse_note(*note.split()) for note in notes.split(", ")], readers.split()


def parse_note(times: str, pitch: str, program: str = "0") -> tuple[int, int, int, int]:
    start, end = times.split("-")
    return int(start), int(end), int(pitch), int(program)


PATTERN = re.compile(r"^(\S.*):(.*)\n([^=]*)= (.*)$", re.MULTILINE)
FILES = {name: parse_case(*rest) for name, *rest in PATTERN.findall(CASES)}


def read_notes(data: bytes, *, pedal: bool = True) -> Notes:
    notes = midi.read(data, pedal=pedal).notes
    return sorted((n.start, n.start + n.length, n.pitch, n.program) for n in notes)


def notes_of_other(reader: str, data: bytes) -> Notes:
    """Return the notes that another reader finds; music21's parse has no programs."""
    if reader == "symusic":
        return sorted(
            (n.time, n.time + n.duration, n.pitch, DRUMS if t.is_drum else t.program)
            for t in symusic.Score.from_midi(data).tracks
            for n in t.notes
        )
    if reader == "pretty_midi":
        pretty = pretty_midi.PrettyMIDI(io.BytesIO(data))
        return sorted(
            (round(200 * n.start), round(200 * n.end), n.pitch, DRUMS if i.is_drum else i.program)
            for i in pretty.instruments
            for n in i.notes
        )
    score = music21.converter.parse(data, format="midi").stripTies()
    return sorted(
        (round(100 * x.offset), round(100 * (x.offset + x.quarterLength)), pitch.midi, 0)
        for x in score.flatten().notes
        for pitch in x.pitches
    )


@pytest.mark.parametrize("name", FILES)
def test_events_are_these_notes(name: str) -> None:
    data, expected, readers = FILES[name]
    assert read_notes(data) == expected
    for reader in readers:
        notes = [(*note[:3], 0 if reader == "parse" else note[3]) for note in expected]
        assert notes_of_other(reader, data) == notes, reader


def test_a_pedal_can_be_ignored() -> None:
    expected = [(0, 100, 60, 0), (100, 200, 64, 0), (300, 400, 67, 0)]
    assert read_notes(FILES["a pedal"][0], pedal=False) == expected


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_starts_are_those_of_mido(path: Path) -> None:
    starts: Counter[tuple[int, int, int]] = Counter()
    for index, track in enumerate(mido.MidiFile(path).tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity:
                starts[tick, message.note, index] += 1
    score = midi.read(path)
    notes_read = Counter((note.start, note.pitch, note.track) for note in score.notes)
    assert notes_read <= starts
    assert notes_read.total() + score.hanging_notes == starts.total()


def test_missing_ends_make_no_note_long() -> None:
    pressed = [f"{50 * i} on 60" for i in range(100)]
    released = [f"{50 * i + 40} off 60" for i in range(100) if i % 7 != 3]
    score = midi.read(file_of(", ".join(pressed + released)))
    assert Counter(note.length for note in score.notes) == {40: 86, 50: 14}
    assert score.hanging_notes == 0


PRESSES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["on", "off"]), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(PRESSES)
def test_each_press_is_a_note_or_hangs(events: list[tuple[int, str, int]]) -> None:
    tick, items = 0, []
    starts, ends = Counter[int](), set[int]()
    for wait, kind, channel in events:
        tick += 25 * wait
        items.append(f"{tick} {kind} 60@{channel}")
        starts[tick] += kind == "on"
        ends.add(tick)
    try:
        score = midi.read(file_of(", ".join(items)))
    except midi.MidiError as error:
        assert error.reason == ("hanging notes" if starts.total() else "no notes")
        return
    assert len(score.notes) + score.hanging_notes == starts.total()
    assert Counter(note.start for note in score.notes) <= starts
    assert {note.start + note.length for note in score.notes} <= ends


def test_a_pedal_may_be_applied_after_reading() -> None:
    sources: list[bytes | Path] = [*(data for data, _, _ in FILES.values()), *bundled()]
    pedalled = 0
    for source in sources:
        score = midi.read(source, pedal=False)
        assert midi.apply_sustain(score) == midi.read(source)
        pedalled += bool(score.pedal_ticks)
    assert pedalled >= 7
