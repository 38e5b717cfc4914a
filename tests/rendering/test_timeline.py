"""Notes in seconds and bar lines, compared with the bytes written and with pretty_midi."""

from collections.abc import Callable
from pathlib import Path

import pytest
from midi_bytes import QUARTER, notes, smf
from midi_bytes import timed as events
from pretty_midi import PrettyMIDI

from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]


def test_times_under_changes_of_tempo_and_metre_agree_with_pretty_midi(
    timed: Read, tmp_path: Path
) -> None:
    # 120 per minute at first; 60 from the second quarter, 200 from the seventh; 3/4, then 2/4.
    tempo = [(1, b"\xff\x51\3\x0f\x42\x40"), (6, b"\xff\x51\3\x04\x93\xe0")]
    metre = [(0, b"\xff\x58\4\3\2\x18\x08"), (6, b"\xff\x58\4\2\2\x18\x08")]
    changes = events((beat * QUARTER, event) for beat, event in sorted(tempo + metre))
    piece = timed(smf(notes(*((beat, beat + 1, 60 + beat) for beat in range(12)), start=changes)))
    reference = PrettyMIDI(str(tmp_path / "x.mid"))
    spans = [(note.start, note.end) for note in reference.instruments[0].notes]
    assert [note[:2] for note in piece.parts[0].notes] == [pytest.approx(span) for span in spans]
    assert piece.bars == pytest.approx(reference.get_downbeats())
    assert piece.seconds == pytest.approx(reference.get_end_time())
