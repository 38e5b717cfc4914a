"""Repeats that were written into the music, and music without repeats."""

from collections.abc import Callable, Sequence

import pytest
from midi_bytes import notes, smf

from midilstm.rendering.repeats import repeated_spans
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
A, B = (60, 62, 64, 65, 67, 69, 71, 72), (72, 67, 69, 65, 64, 71, 60, 74)


def melody(*phrases: Sequence[int], at: float = 0) -> list[tuple[float, float, int]]:
    """Return (start, end, pitch) of phrases one after another, in quarter notes."""
    pitches = [pitch for phrase in phrases for pitch in phrase]
    return [(at + beat, at + beat + 1, pitch) for beat, pitch in enumerate(pitches)]


def test_each_phrase_has_one_colour_at_all_its_occurrences(timed: Read) -> None:
    spans = repeated_spans(timed(smf(notes(*melody(A, (50,), B, (51,), A, B, (52,), A)))))
    starts = (0, 4.5, 9, 13, 17.5)
    assert [span[:2] for span in spans] == [pytest.approx((at, at + 4)) for at in starts]
    colours = [span.colour for span in spans]
    assert colours == [colours[0], colours[1]] * 2 + [colours[0]]
    assert colours[0] != colours[1]


@pytest.mark.parametrize("second", [A[:7], tuple(pitch + 1 for pitch in A)])
def test_short_or_transposed_repeats_do_not_count(second: Sequence[int], timed: Read) -> None:
    assert repeated_spans(timed(smf(notes(*melody(A, (50,), second))))) == []


def test_a_repeat_in_another_rhythm_does_not_count_and_off_the_beat_it_does(timed: Read) -> None:
    slow = [(10 + 2 * beat, 12 + 2 * beat, pitch) for beat, pitch in enumerate(A)]
    assert repeated_spans(timed(smf(notes(*melody(A), *slow)))) == []
    spans = repeated_spans(timed(smf(notes(*melody(A), *melody(A, at=9.75)))))
    assert [span.start for span in spans] == pytest.approx([0, 4.875])


def test_drums_count_only_in_a_piece_of_drums(timed: Read) -> None:
    drums = notes(*((beat, beat + 0.1, 36) for beat in range(40)), channel=9)
    assert repeated_spans(timed(smf(notes(*melody(A, B)), drums))) == []
    assert len({span.colour for span in repeated_spans(timed(smf(drums)))}) == 1
