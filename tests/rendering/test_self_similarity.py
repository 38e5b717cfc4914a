"""The self-similarity matrix of pieces whose repeats are known."""

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


def test_equal_bars_are_similar_and_different_bars_are_not(timed: Read) -> None:
    matrix = self_similarity(timed(smf(notes(*bars(*A, *B, *A, *A[:2], *B[:2], *A)))).score)
    assert matrix.shape == (5, 5)
    assert np.diag(matrix) == pytest.approx(1)
    assert (matrix[0, 2], matrix[2, 0], matrix[2, 4], matrix[4, 2]) == (1, 1, 1, 1)
    assert matrix[0, 3] == pytest.approx(1 / 2)
    assert matrix[0, 1] < 1 / 2


def test_a_repeat_off_the_beat_counts_for_the_bar_where_it_begins(timed: Read) -> None:
    late = ((beat + 9.5, beat + 10, pitch) for beat, pitch in enumerate(A))
    matrix = self_similarity(timed(smf(notes(*bars(*A, *B), *late))).score)
    assert matrix[0, 2] == 1
    assert matrix[0, 1] < 1 / 2


def test_silent_bars_and_bars_shorter_than_the_grid_are_possible(timed: Read) -> None:
    matrix = self_similarity(timed(smf(notes((0, 1, 60), (12, 13, 60)))).score)
    assert matrix.tolist() == [[1, 0, 0, 1], [0] * 4, [0] * 4, [1, 0, 0, 1]]
    signature = b"\0\xff\x58\4\1\7\x18\x08"  # 1/128
    assert self_similarity(timed(smf(notes((0, 1, 60), start=signature))).score).shape == (32, 32)


def test_the_matrix_is_drawn_up_to_1000_bars(timed: Read) -> None:
    piece = timed(smf(notes(*bars(*A))))
    assert draw_self_similarity(piece).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="1,000 bars"):
        draw_self_similarity(replace(piece, bars=tuple(range(1001))))
