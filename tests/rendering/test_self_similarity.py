"""The picture of the form: what stands in which bar."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm.fileio import InputError
from midilstm.rendering.self_similarity import draw_self_similarity, self_similarity
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
A, B = (60, 62, 64, 65), (61, 63, 66, 68)


def bars(*pitches: int) -> list[tuple[float, float, int]]:
    return [(beat, beat + 1, pitch) for beat, pitch in enumerate(pitches)]


def test_bars_that_return_are_alike_and_others_are_not(timed: Read) -> None:
    found = self_similarity(timed(smf(notes(*bars(*A, *B, *A, *A[:2], *B[:2], *A)))).song)
    assert found.shape == (5, 5)
    assert np.diag(found) == pytest.approx(1)
    assert (found[0, 2], found[2, 0], found[2, 4], found[4, 2]) == (1, 1, 1, 1)
    assert found[0, 3] == pytest.approx(1 / 2)
    assert found[0, 1] < 1 / 2


def test_a_bar_that_returns_off_the_beat_is_found_where_it_begins(timed: Read) -> None:
    late = ((beat + 9.5, beat + 10, pitch) for beat, pitch in enumerate(A))
    found = self_similarity(timed(smf(notes(*bars(*A, *B), *late))).song)
    assert found[0, 2] == 1
    assert found[0, 1] < 1 / 2


def test_bars_of_silence_and_bars_shorter_than_the_grid(timed: Read) -> None:
    found = self_similarity(timed(smf(notes((0, 1, 60), (12, 13, 60)))).song)
    assert found.tolist() == [[1, 0, 0, 1], [0] * 4, [0] * 4, [1, 0, 0, 1]]
    tiny = b"\0\xff\x58\4\1\7\x18\x08"  # 1/128
    assert self_similarity(timed(smf(notes((0, 1, 60), start=tiny))).song).shape == (32, 32)


def test_it_is_a_marked_picture_and_thousands_of_bars_are_refused(timed: Read) -> None:
    piece = timed(smf(notes(*bars(*A))))
    assert draw_self_similarity(piece).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="1,000 bars"):
        draw_self_similarity(replace(piece, bars=tuple(range(1001))))
