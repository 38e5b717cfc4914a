"""How the reader decodes the events of a file beside its notes, and how often music21 copies it."""

from unittest import mock

import music21
import pytest
from midi_bytes import END, notes, smf, timed

from midilstm import midi

NOTE = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"


def test_notes_are_sorted_by_start_then_pitch_and_have_their_track() -> None:
    score = midi.read(smf(notes((0, 1, 67), (1, 2, 60)), notes((0, 1, 64), (1, 2, 72))))
    assert [(note.start, note.pitch, note.track) for note in score.notes] == [
        *((0, 64, 1), (0, 67, 0)),
        *((480, 60, 0), (480, 72, 1)),
    ]


def test_a_missing_track_is_a_warning() -> None:
    complete = smf(NOTE + END)
    score = midi.read(complete.replace(b"\0\1\0\1", b"\0\1\0\3", 1))
    assert score.notes == midi.read(complete).notes
    assert score.warnings == ("its header promises 3 tracks, but it holds 1",)
    assert midi.read(complete).warnings == ()


def test_tempos_and_time_signatures_have_their_ticks() -> None:
    tempos = timed([(480, b"\xff\x51\x03\x07\xa1\x20"), (960, b"\xff\x51\x03\0\0\0")])
    score = midi.read(smf(NOTE + END, tempos + END, b"\x00\xff\x58\x04\x03\x03\x18\x08" + END))
    assert score.tempos == {480: 120}
    assert score.time_signatures == {0: (3, 8)}


def test_music21_reads_every_event() -> None:
    data, read = smf(NOTE * 9 + END), music21.midi.MidiEvent.read
    with mock.patch.object(music21.midi.MidiEvent, "read", autospec=True) as reading:
        reading.side_effect = music21.midi.MidiException("patched")
        with pytest.raises(midi.MidiError, match="patched"):
            midi.read(data)
        reading.reset_mock()
        reading.side_effect = read
        midi.read(data)
    assert reading.call_count >= 18


RUNNING = b"\x00\x90\x3c\x40" + b"\x08\x3c\x00\x00\x3c\x40" * 5_000 + b"\x08\x3c\x00" + END


@pytest.mark.parametrize(
    "track",
    [RUNNING, NOTE * 5_000 + END, (b"\x00\xff\x01\x20" + bytes(32)) * 2_000 + RUNNING],
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
