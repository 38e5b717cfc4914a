"""The score as music21 reads it back."""

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


def test_the_score_holds_the_notes(timed: Read, band: bytes) -> None:
    score = read_back(timed(band, "my <tune>.mid"))
    melody = score.parts[0].flatten().notes
    assert [one.pitch.midi for one in melody] == list(range(60, 68))
    assert [float(one.offset) for one in melody] == list(range(8))
    assert score.metadata.bestTitle == "my <tune>"


def test_the_score_keeps_drums_that_its_part_does_not_name(timed: Read) -> None:
    # Hi-hats alone, hi-hats with a bass drum: two kinds of music21 object in a part of one name.
    hits = [(beat / 2, beat / 2 + 0.1, 42) for beat in range(16)]
    hits += [(beat, beat + 0.1, 36) for beat in (0, 4)]
    name = b"\0\xff\x03\x0aPercussion"
    found = read_back(timed(smf(notes(*hits, channel=9, start=name)))).recurse().notes
    assert len(found.getElementsByClass(note.Unpitched)) == 14
    assert len(found.getElementsByClass(percussion.PercussionChord)) == 2


@pytest.mark.parametrize("signatures", [{0: (3, 4)}, {0: (3, 4), 15 * 480: (5, 8)}, {0: (6, 8)}])
def test_all_parts_have_all_bars_in_one_time(
    timed: Read, signatures: dict[int, tuple[int, int]]
) -> None:
    parts = {40: range(33), 32: range(0, 12, 3), midi.DRUMS: range(5)}
    played = [
        midi.Note(480 * beat, 480, 60, 90, program)
        for program, beats in parts.items()
        for beat in beats
    ]
    data = midi.to_bytes(midi.Score(480, tuple(sorted(played)), {0: 90.0}, signatures))
    found = read_back(timed(data)).parts
    bars = [[bar.offset for bar in part.getElementsByClass("Measure")] for part in found]
    assert len(bars) == 3 and len(bars[0]) > 10
    assert bars[0] == bars[1] == bars[2]
    for part in found:
        meters = part.recurse().getElementsByClass("TimeSignature")
        said = {480 * m.getOffsetInHierarchy(part): (m.numerator, m.denominator) for m in meters}
        assert said == signatures


@pytest.mark.parametrize(
    "played",
    [
        [(0, 1, at % 128) for at in range(8_000)],
        [(at / 1000, 1, at % 128) for at in range(200)],
        [(at / 4, at / 4 + 0.25, 60) for at in range(20_001)],
    ],
    ids=["chord", "cluster", "long"],
)
def test_more_notes_than_a_score_can_hold_are_refused_at_once(
    played: list[tuple[float, float, int]], timed: Read
) -> None:
    with pytest.raises(InputError, match=r"x\.mid has too many notes"):
        write_score(timed(smf(notes(*played))))
