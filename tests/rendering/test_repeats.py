"""Returns that were written into the music, and those that were not."""

from collections.abc import Callable, Sequence

import pytest
from midi_bytes import notes, smf

from midilstm.rendering.repeats import repeated_spans
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
TUNE, OTHER = (60, 62, 64, 65, 67, 69, 71, 72), (72, 67, 69, 65, 64, 71, 60, 74)


def played(*melodies: Sequence[int], at: float = 0) -> list[tuple[float, float, int]]:
    """Return (start, end, pitch) of melodies one after another, in quarter notes."""
    pitches = [pitch for melody in melodies for pitch in melody]
    return [(at + beat, at + beat + 1, pitch) for beat, pitch in enumerate(pitches)]


def test_each_tune_has_a_colour_of_its_own_wherever_it_returns(timed: Read) -> None:
    piece = timed(smf(notes(*played(TUNE, (50,), OTHER, (51,), TUNE, OTHER, (52,), TUNE))))
    spans = repeated_spans(piece)
    starts = (0, 4.5, 9, 13, 17.5)
    assert [span[:2] for span in spans] == [pytest.approx((at, at + 4)) for at in starts]
    tune, other = spans[0][2], spans[1][2]
    assert tune != other
    assert [span[2] for span in spans] == [tune, other, tune, other, tune]


@pytest.mark.parametrize("again", [TUNE[:7], tuple(pitch + 1 for pitch in TUNE)])
def test_a_short_or_transposed_return_is_none(again: Sequence[int], timed: Read) -> None:
    assert repeated_spans(timed(smf(notes(*played(TUNE, (50,), again))))) == []


def test_a_tune_in_another_rhythm_does_not_return_and_off_the_beat_it_does(timed: Read) -> None:
    slow = [(10 + 2 * beat, 12 + 2 * beat, pitch) for beat, pitch in enumerate(TUNE)]
    assert repeated_spans(timed(smf(notes(*played(TUNE), *slow)))) == []
    spans = repeated_spans(timed(smf(notes(*played(TUNE), *played(TUNE, at=9.75)))))
    assert [start for start, *_ in spans] == pytest.approx([0, 4.875])


def test_one_note_for_long_and_drums_beside_a_tune(timed: Read) -> None:
    drums = notes(*((beat, beat + 0.1, 36) for beat in range(40)), channel=9)
    assert repeated_spans(timed(smf(notes(*played(TUNE, OTHER)), drums))) == []
    assert len({colour for *_, colour in repeated_spans(timed(smf(drums)))}) == 1
