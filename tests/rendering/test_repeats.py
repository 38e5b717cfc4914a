"""Repeats that were written into the music, music without repeats, and the similarity of bars."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from midi_bytes import notes, smf

from midilstm.rendering.repeats import repeated_spans, self_similarity
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
A, B = (60, 62, 64, 65, 67, 69, 71, 72), (72, 67, 69, 65, 64, 71, 60, 74)
BAR, OTHER = (60, 62, 64, 65), (61, 63, 66, 68)


def melody(*phrases: Sequence[int], at: float = 0) -> list[tuple[float, float, int]]:
    """Return (start, end, pitch) of phrases one after another, in quarter notes."""
    pitches = [pitch for phrase in phrases for pitch in phrase]
    return [(at + beat, at + beat + 1, pitch) for beat, pitch in enumerate(pitches)]


def test_each_phrase_has_one_colour_at_all_its_occurrences(timed: Read) -> None:
    spans = repeated_spans(timed(smf(notes(*melody(A, (50,), B, (51,), A, B, (52,), A)))))
    starts = (0, 4.5, 9, 13, 17.5)
    assert [span[:2] for span in spans] == [pytest.approx((at, at + 4)) for at in starts]
    first, second, *others = (colour for _, _, colour in spans)
    assert others == [first, second, first]
    assert first != second


@pytest.mark.parametrize("second", [A[:7], tuple(pitch + 1 for pitch in A)])
def test_short_or_transposed_repeats_do_not_count(second: Sequence[int], timed: Read) -> None:
    assert repeated_spans(timed(smf(notes(*melody(A, (50,), second))))) == []


def test_a_repeat_in_another_rhythm_does_not_count_and_off_the_beat_it_does(timed: Read) -> None:
    slow = [(10 + 2 * beat, 12 + 2 * beat, pitch) for beat, pitch in enumerate(A)]
    assert repeated_spans(timed(smf(notes(*melody(A), *slow)))) == []
    spans = repeated_spans(timed(smf(notes(*melody(A), *melody(A, at=9.75)))))
    assert [start for start, _, _ in spans] == pytest.approx([0, 4.875])


def test_drums_count_only_in_a_piece_of_drums(timed: Read) -> None:
    drums = notes(*((beat, beat + 0.1, 36) for beat in range(40)), channel=9)
    assert repeated_spans(timed(smf(notes(*melody(A, B)), drums))) == []
    assert len({colour for _, _, colour in repeated_spans(timed(smf(drums)))}) == 1


def test_equal_bars_are_similar_and_different_bars_are_not(timed: Read) -> None:
    bars = melody(BAR, OTHER, BAR, BAR[:2], OTHER[:2], BAR)
    matrix = self_similarity(timed(smf(notes(*bars))).score)
    assert matrix.shape == (5, 5)
    assert np.diag(matrix) == pytest.approx(1)
    assert (matrix[0, 2], matrix[2, 0], matrix[2, 4], matrix[4, 2]) == (1, 1, 1, 1)
    assert matrix[0, 3] == pytest.approx(1 / 2)
    assert matrix[0, 1] < 1 / 2


def test_a_repeat_off_the_beat_counts_for_the_bar_where_it_begins(timed: Read) -> None:
    late = ((beat + 9.5, beat + 10, pitch) for beat, pitch in enumerate(BAR))
    matrix = self_similarity(timed(smf(notes(*melody(BAR, OTHER), *late))).score)
    assert matrix[0, 2] == 1
    assert matrix[0, 1] < 1 / 2


def test_silent_bars_and_bars_shorter_than_the_grid_are_possible(timed: Read) -> None:
    matrix = self_similarity(timed(smf(notes((0, 1, 60), (12, 13, 60)))).score)
    assert matrix.tolist() == [[1, 0, 0, 1], [0] * 4, [0] * 4, [1, 0, 0, 1]]
    signature = b"\0\xff\x58\4\1\7\x18\x08"  # 1/128
    assert self_similarity(timed(smf(notes((0, 1, 60), start=signature))).score).shape == (32, 32)
