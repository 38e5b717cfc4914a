"""Notes in seconds and bar lines against what was written, and against pretty_midi."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import QUARTER, notes, smf
from midi_bytes import timed as events
from pretty_midi import PrettyMIDI

from midilstm.rendering.page import LAYOUT
from midilstm.rendering.timeline import COLOURS, DRUM_COLOUR, TimedPiece

Read = Callable[..., TimedPiece]


def test_notes_have_the_times_pitches_and_instruments_that_were_written(
    timed: Read, band: bytes
) -> None:
    piece = timed(band)
    names = [part.name for part in piece.parts]
    assert names == ["Acoustic Grand Piano", "Acoustic Bass", "Percussion"]
    assert [pitch for _, _, pitch, _ in piece.parts[0].notes] == list(range(60, 68))
    starts = [start for start, _, _, _ in piece.parts[0].notes]
    assert starts == pytest.approx([step / 2 for step in range(8)])
    assert (piece.seconds, piece.bars) == (pytest.approx(4.0), pytest.approx((0.0, 2.0)))
    assert len(piece.parts[2].notes) == 16


def test_tempos_and_metres_give_the_seconds_that_pretty_midi_has(
    timed: Read, tmp_path: Path
) -> None:
    # 120 a minute at first; 60 from the second quarter, 200 from the seventh; 3/4, then 2/4.
    tempo = [(1, b"\xff\x51\3\x0f\x42\x40"), (6, b"\xff\x51\3\x04\x93\xe0")]
    metre = [(0, b"\xff\x58\4\3\2\x18\x08"), (6, b"\xff\x58\4\2\2\x18\x08")]
    changes = events((beat * QUARTER, event) for beat, event in sorted(tempo + metre))
    piece = timed(smf(notes(*((beat, beat + 1, 60 + beat) for beat in range(12)), start=changes)))
    theirs = PrettyMIDI(str(tmp_path / "x.mid"))
    spans = [(note.start, note.end) for note in theirs.instruments[0].notes]
    assert [span for *span, _, _ in piece.parts[0].notes] == [pytest.approx(s) for s in spans]
    assert piece.bars == pytest.approx(theirs.get_downbeats())


def test_bars_of_compound_metre_are_whole(timed: Read) -> None:
    nine_eighths = b"\0\xff\x58\4\x09\3\x18\x08"
    piece = timed(smf(notes((0, 9, 60), start=nine_eighths)))
    assert piece.bars == pytest.approx((0.0, 2.25))


def test_every_colour_stands_out_in_both_themes() -> None:
    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    papers = re.findall(r"--paper: (#\w{6})", LAYOUT.read_text(encoding="utf-8"))
    assert len(papers) == 2
    for colour in (*COLOURS, DRUM_COLOUR):
        for paper in papers:
            dark, light = sorted((luminance(colour), luminance(paper)))
            assert (light + 0.05) / (dark + 0.05) >= 3, (colour, paper)
