"""Any bytes give a score or an error with a reason, in time that grows with their number."""

import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from midi_bytes import END, chunk, header, notes, smf, timed

from midilstm import midi

MELODY, BASS = notes((0, 1, 60), (1, 2, 64)), notes((0, 1, 48), (1.5, 2, 50))
SOUND = smf(MELODY, BASS)
STARTS = [(0, 48), (0, 60), (480, 64), (720, 50)]
TRACK = notes((0, 1, 60))
NOTE = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"

# The events of the only track of a file
BROKEN_TRACKS = {
    "a track cut inside an event": (NOTE + b"\x00\x90", "truncated"),
    "a text longer than its track": (NOTE + b"\x00\xff\x01\x7fabc", "truncated"),
    "no notes": (END, "no notes"),
    "only endings": (b"\x00\x80\x3c\x00" + END, "no notes"),
    "notes that never end": (b"\x00\x90\x3c\x40" + END, "hanging notes"),
    "an end before the beginning": (b"\x00\x80\x3c\x00\x00\x90\x3c\x40" + END, "hanging notes"),
    "a delta of 2**28 - 1": (
        b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00" + END,
        "absurdly long",
    ),
    "a time of five bytes": (b"\x81\x80\x80\x80\x00\x90\x3c\x40" + END, "damaged"),
    "a length of five bytes": (b"\x00\xff\x01\x80\x80\x80\x80\x00" + TRACK, "damaged"),
    "a wrong length of five bytes": (b"\x00\xff\x01\x81\x80\x80\x80\x00" + TRACK, "damaged"),
    "a pitch above 127": (b"\x00\x90\x80\x40" + END, "damaged"),
    "a pitch above 127 that ends": (TRACK[:-4] + b"\x00\x80\x90\x00" + END, "damaged"),
    "a program above 127": (b"\x00\xc0\x80" + TRACK, "damaged"),
    "an unknown event": (b"\x00\xf4" + TRACK, "damaged"),
    "a real-time message": (b"\x00\xf8" + TRACK, "damaged"),
    "running status without a status": (b"\x00\x3c\x40" + TRACK, "damaged"),
    "a velocity that is missing": (b"\x00\x90\x3c\x40\x00\x80\x3c", "truncated"),
    "a time and nothing after it": (NOTE + b"\x00", "truncated"),
}
BROKEN = {name: (smf(events), reason) for name, (events, reason) in BROKEN_TRACKS.items()} | {
    "an empty file": (b"", "empty file"),
    "a web page": (b"<!DOCTYPE html><p>404", "not a MIDI file"),
    "a header after 5000 bytes of something else": (b"x" * 5000 + SOUND, "not a MIDI file"),
    "a header cut short": (SOUND[:11], "truncated"),
    "nothing but a header": (header(3), "truncated"),
    "half a file": (SOUND[: len(SOUND) // 2], "truncated"),
    "a file cut inside an event of the last track": (SOUND[: -len(END) - 1], "truncated"),
    "a file cut between two events of the last track": (SOUND[: -len(END)], "truncated"),
    "format 2": (smf(TRACK, kind=2), "format 2"),
    "format 7": (smf(TRACK, kind=7), "unknown format"),
    "film frames": (smf(TRACK, division=0xE728), "SMPTE timing"),
    "no ticks in a quarter": (smf(TRACK, division=0), "zero division"),
    "no tracks": (header(0), "no notes"),
    "a track with a wrong length and without an end": (
        SOUND[:18] + b"\0\1\0\0" + MELODY[: -len(END)],
        "truncated",
    ),
    "too many bytes": (SOUND + bytes(midi.MAX_BYTES), "too large"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    data, reason = BROKEN[name]
    path = tmp_path / "broken.mid"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(midi.MidiError) as caught:
            midi.read(source)
        assert caught.value.reason == reason
        assert str(caught.value).startswith(reason)
        assert str(path) not in str(caught.value)


READABLE = {
    "RIFF around it": b"RIFF\xff\0\0\0RMIDdata\xff\0\0\0" + SOUND,
    "junk before it": b"\x00" * 128 + SOUND,
    "junk after it": SOUND + b"\x00junk" * 50,
    "a chunk of another kind between its tracks": (
        header(2) + chunk(MELODY) + b"XFIH\0\0\0\2ab" + chunk(BASS)
    ),
    "a last byte lost after the End of Track has begun": SOUND[:-1],
    "a header that promises too many tracks": SOUND.replace(b"\0\1\0\2", b"\0\1\0\xc8", 1),
    "a header that promises too few tracks": SOUND.replace(b"\0\1\0\2", b"\0\1\0\1", 1),
    "a header longer than usual": SOUND.replace(b"\0\0\0\6", b"\0\0\0\x08", 1).replace(
        b"MTrk", b"\0\0MTrk", 1
    ),
    "a track length that is too long": SOUND[:18] + b"\0\1\0\0" + SOUND[22:],
    "a track length that is too short": SOUND[:18] + b"\0\0\0\3" + SOUND[22:],
    "no End of Track": smf(MELODY[: -len(END)], BASS[: -len(END)]),
    "events that tokens do not need": smf(
        b"\x00\xff\x51\x03\0\0\0"  # a tempo of zero
        b"\x00\xff\x58\x04\0\x14\x18\x08"  # no beats in a bar, of a 2**20th note each
        b"\x00\xff\x59\x02\x63\xff"  # a key of 99 sharps, neither major nor minor
        b"\x00\xff\x03\x03\xff\xfe\xe9"  # a name that is no UTF-8
        b"\x00\xff\x99\x01a"  # an unknown meta event
        b"\x00\xf0\x03\x43\x12\xf7\x00\xf7\x02\xf3\x01"  # system exclusive, escaped bytes
        b"\x00\xb0\x07\x64\x00\xe0\x00\x40\x00\xd0\x40\x00\xa0\x3c\x40"  # volume, bend, pressures
        + MELODY,
        BASS,
    ),
    "running status that goes on after a text": smf(
        b"\x00\x90\x3c\x40\x00\xff\x01\x01a\x83\x60\x3c\x00\x00\x40\x40\x83\x60\x40\x00" + END,
        BASS,
    ),
    "a velocity above 127": SOUND.replace(b"\x90\x3c\x40", b"\x90\x3c\xc0", 1),
    "a huge silence after the last note": smf(
        MELODY,
        BASS[: -len(END)] + b"\xff\xff\xff\x7f\xff\x2f\x00",
    ),
    "a note that never ends among others": smf(b"\x00\x91\x3e\x40" + MELODY, BASS),
}


@pytest.mark.parametrize("name", READABLE)
def test_an_odd_file_is_read(name: str) -> None:
    assert READABLE[name] != SOUND
    assert [(note.start, note.pitch) for note in midi.read(READABLE[name]).notes] == STARTS


def test_the_reason_quotes_the_beginning_of_another_file() -> None:
    with pytest.raises(midi.MidiError) as caught:
        midi.read(b"<!DOCTYPE html>")
    assert str(caught.value) == "not a MIDI file (it starts with '<!DOCTYPE htm')"


def test_an_error_can_be_sent_to_another_process() -> None:
    error = midi.MidiError("format 2", "why")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.reason) == (str(error), error.reason)


def test_a_path_that_cannot_be_read_is_an_oserror(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.mid"):
        with pytest.raises(OSError):
            midi.read(path)


def test_the_longest_piece_allowed_is_read() -> None:
    last = midi.MAX_QUARTERS
    assert midi.read(smf(notes((last - 1, last, 62)))).quarters == last
    with pytest.raises(midi.MidiError, match="absurdly long"):
        midi.read(smf(notes((last - 1, last + 1, 62))))


def outcome(data: bytes) -> midi.Score | str:
    """Return the score or the reason; any other exception fails the test."""
    try:
        score = midi.read(data)
    except midi.MidiError as error:
        assert "\n" not in str(error)
        return error.reason
    assert score.notes
    assert all(0 <= note.pitch < 128 and 0 <= note.velocity < 128 for note in score.notes)
    assert all(note.start >= 0 and note.length >= 0 for note in score.notes)
    assert 0 <= score.quarters <= midi.MAX_QUARTERS
    return score


KNOWN = {reason for _, reason in BROKEN.values()}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_give_a_reason(data: bytes) -> None:
    assert outcome(data) in KNOWN


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 3), st.integers(0, 0xFFFF), st.lists(st.binary(max_size=80), max_size=4))
@example(1, 480, [b"\x00\x90\x3c\x40\x01\x3c\x00"])
def test_random_events_in_a_valid_frame_give_a_score_or_a_reason(
    kind: int, division: int, tracks: list[bytes]
) -> None:
    result = outcome(smf(*tracks, kind=kind, division=division))
    assert isinstance(result, midi.Score) or result in KNOWN


KINDS = st.sampled_from(["set", "insert", "delete", "cut"])
EDITS = st.lists(st.tuples(KINDS, st.integers(0), st.binary(max_size=4)), min_size=1, max_size=6)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([SOUND, *READABLE.values()]), EDITS)
def test_a_mutated_file_gives_a_score_or_a_reason(
    data: bytes, edits: list[tuple[str, int, bytes]]
) -> None:
    for kind, offset, new in edits:
        start = offset % (len(data) + 1)
        ends = {"set": len(new), "insert": 0, "delete": 1 + len(new), "cut": len(data)}
        inserted = b"" if kind in ("delete", "cut") else new
        data = data[:start] + inserted + data[start + ends[kind] :]
    result = outcome(data)
    assert isinstance(result, midi.Score) or result in KNOWN


def clusters(count: int) -> bytes:
    """Return the events of notes that begin together and end one after another."""
    rng = random.Random(count)
    begin = [(0, bytes([0x90 | rng.randrange(9), rng.randrange(128), 64])) for _ in range(count)]
    end = [
        (tick, bytes([0x80 | channel, pitch, 0]))
        for tick, (channel, pitch) in enumerate((c, p) for c in range(9) for p in range(128))
    ]
    return timed(begin + end) + END


PEDALLED = b"\x01\xb0\x40\x7f\x00\x90\x3c\x40\x01\x80\x3c\x00\x01\xb0\x40\x00"
# The most expensive files, by a number of repetitions
HEAVY: dict[str, Callable[[int], bytes]] = {
    "one cluster": lambda count: smf(clusters(4 * count), division=4),
    "many clusters": lambda count: smf(*[clusters(9)] * (count // 50)),
    "notes that never end": lambda count: smf(b"\x00\x90\x3c\x40" * count + TRACK),
    "overlaps": lambda count: smf(b"\x00\x90\x3c\x40" * count + b"\x01\x80\x3c\x00" * count + END),
    "one key in many tracks": lambda count: smf(*[TRACK] * count),
    "all notes off": lambda count: smf(
        (b"\x00\x90\x3c\x40" + b"\x01\xb0\x7b\x00" * 9) * count + END
    ),
    "a pedal": lambda count: smf(PEDALLED * count + END),
    "track headers without end": lambda count: (
        header(1) + b"MTrk\x7f\xff\xff\xff\x00\xff\x2f\x00" * count
    ),
}


def count_lines(data: bytes) -> int:
    """Return how many lines of the package run while it is read."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal lines
        lines += event == "line"
        return trace if "midilstm" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        outcome(data)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("name", HEAVY)
def test_work_grows_with_the_bytes_only(name: str) -> None:
    few, many = HEAVY[name](300), HEAVY[name](1200)
    assert count_lines(many) / count_lines(few) < 1.2 * len(many) / len(few)
