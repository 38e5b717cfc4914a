"""Sheet music as music21 reads it back."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from midi_bytes import notes, smf
from music21 import converter, note, percussion

from midilstm import midi
from midilstm.fileio import InputError
from midilstm.rendering.musicxml import write_score
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]


def read_back(piece: TimedPiece) -> Any:
    return converter.parseData(write_score(piece), format="musicxml")


def test_the_score_contains_the_notes_and_the_title(timed: Read, band: bytes) -> None:
    notation = read_back(timed(band, "my <tune>.mid"))
    melody = notation.parts[0].flatten().notes
    assert [event.pitch.midi for event in melody] == list(range(60, 68))
    assert [float(event.offset) for event in melody] == list(range(8))
    assert notation.metadata.bestTitle == "my <tune>"


def test_the_score_keeps_drums_alone_and_in_chords(timed: Read) -> None:
    hits = [(beat / 2, beat / 2 + 0.1, 42) for beat in range(16)]
    hits += [(beat, beat + 0.1, 36) for beat in (0, 4)]
    name = b"\0\xff\x03\x0aPercussion"
    piece = timed(smf(notes(*hits, channel=9, start=name)))
    events = read_back(piece).recurse().notes
    assert len(events.getElementsByClass(note.Unpitched)) == 14
    assert len(events.getElementsByClass(percussion.PercussionChord)) == 2
    names = re.findall(b"<instrument-name>(.*)</", write_score(piece))
    assert names == [b"Bass Drum", b"Hi-Hat Cymbal", b"Percussion"]


@pytest.mark.parametrize("signatures", [{0: (3, 4)}, {0: (3, 4), 15 * 480: (5, 8)}, {0: (6, 8)}])
def test_all_parts_have_the_same_bars_and_time_signatures(
    timed: Read, signatures: dict[int, tuple[int, int]]
) -> None:
    beats = {40: range(33), 32: range(0, 12, 3), midi.DRUMS: range(5)}
    events = [midi.Note(480 * beat, 480, 60, 90, key) for key in beats for beat in beats[key]]
    data = midi.to_bytes(midi.Score(480, tuple(sorted(events)), {0: 90.0}, signatures))
    parts = read_back(timed(data)).parts
    bars = [[bar.offset for bar in part.getElementsByClass("Measure")] for part in parts]
    assert len(bars) == 3 and len(bars[0]) > 10
    assert bars[0] == bars[1] == bars[2]
    for part in parts:
        meters = part.recurse().getElementsByClass("TimeSignature")
        written = {480 * m.getOffsetInHierarchy(part): (m.numerator, m.denominator) for m in meters}
        assert written == signatures


@pytest.mark.parametrize(("count", "per_quarter"), [(200, 1000), (20_001, 4)])
def test_a_score_with_too_many_notes_is_refused(count: int, per_quarter: int, timed: Read) -> None:
    events = [(i / per_quarter, i / per_quarter + 0.25, i % 128) for i in range(count)]
    with pytest.raises(InputError, match=r"x\.mid has too many notes"):
        write_score(timed(smf(notes(*events))))
