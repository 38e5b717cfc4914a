"""Notes in seconds and bar lines, compared with the bytes written and with pretty_midi."""

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


def test_all_colours_have_enough_contrast_in_both_themes() -> None:
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
