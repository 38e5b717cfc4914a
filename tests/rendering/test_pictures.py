"""What the pictures contain, and where."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from matplotlib.figure import Figure
from midi_bytes import notes, smf

from midilstm.fileio import InputError
from midilstm.rendering.pictures import draw_piano_roll, draw_self_similarity
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]


def draw(piece: TimedPiece) -> Any:
    """Draw a piano roll and return matplotlib's figure."""
    with patch.object(Figure, "savefig", autospec=True) as savefig:
        draw_piano_roll(piece)
    return savefig.call_args.args[0]


def test_notes_are_drawn_at_their_times_and_pitches(timed: Read) -> None:
    [panel] = draw(timed(smf(notes((0, 2, 60), (2, 4, 72), (4, 6, 60))))).axes
    boxes = [path.get_extents() for path in panel.collections[0].get_paths()]
    spans = [(box.x0, box.x1, (box.y0 + box.y1) / 2) for box in boxes]
    assert spans == [pytest.approx(span) for span in ((0, 1, 60), (1, 2, 72), (2, 3, 60))]
    assert panel.get_xlim() == (0, 3)


def test_drums_have_named_rows_and_each_part_has_a_colour(timed: Read, band: bytes) -> None:
    figure = draw(timed(band))
    pitched, drums = figure.axes
    assert [text.get_text() for text in drums.get_yticklabels()] == ["Bass Drum 1", "Closed Hi Hat"]
    layers = [*pitched.collections, *drums.collections]
    assert len({tuple(layer.get_facecolor()[0]) for layer in layers}) == 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["Acoustic Grand Piano", "Acoustic Bass", "Percussion"]


def test_repeats_have_a_tinted_background(timed: Read, repeating: bytes) -> None:
    first, second = draw(timed(repeating)).axes[0].patches[-2:]
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in (first, second)]
    assert spans == [pytest.approx((0, 4.5)), pytest.approx((4.5, 9))]
    assert first.get_facecolor() == second.get_facecolor()


def test_a_self_similarity_matrix_is_drawn_up_to_1000_bars(timed: Read) -> None:
    piece = replace(timed(smf(notes((0, 1, 60)))), bars=tuple(range(1001)))
    with pytest.raises(InputError, match="1,000 bars"):
        draw_self_similarity(piece)


@pytest.mark.parametrize("draw_picture", [draw_piano_roll, draw_self_similarity])
@pytest.mark.parametrize("end", [0, 1])
def test_a_title_with_a_formula_or_missing_glyphs_gives_no_warning(
    draw_picture: Callable[[TimedPiece], bytes], end: int, timed: Read, recwarn: Any
) -> None:
    piece = timed(smf(notes((0, end, 38), channel=9)), "$\\frac$ 名.mid")
    assert draw_picture(piece).startswith(b"\x89PNG")
    assert not recwarn.list
