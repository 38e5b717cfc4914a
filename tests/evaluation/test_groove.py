"""Groove statistics against values worked out by hand, and against the same of features.py."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm.evaluation import features, groove
from midilstm.evaluation.groove import GROOVE, to_bars
from midilstm.midi import DRUMS, Note, Score

QUARTER = 480
BAR = 4 * QUARTER
PIANO, BASS = 0, 33

NOTES = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda twelfths: twelfths * QUARTER // 12),
        st.integers(1, 96).map(lambda steps: steps * QUARTER // 24),
        st.integers(58, 63),
        st.sampled_from([PIANO, BASS, DRUMS]),
    ),
    min_size=1,
    max_size=12,
)


def score_of(notes: Sequence[tuple[float, float, int, int]], **fields: object) -> Score:
    """Return a score of notes (start, length, pitch, program), times in quarters."""
    played = sorted(
        Note(round(start * QUARTER), round(length * QUARTER), pitch, 90, program)
        for start, length, pitch, program in notes
    )
    return Score(QUARTER, tuple(played), **fields)  # type: ignore[arg-type]


def measure(name: str, notes: Sequence[tuple[float, float, int, int]]) -> float:
    return GROOVE[name](to_bars(score_of(notes)))


def test_a_note_struck_twice_is_a_duplicate() -> None:
    notes = [(0, 1, 60, PIANO), (0, 2, 60, PIANO), (0, 1, 60, BASS), (1, 1, 60, PIANO)]
    assert measure("duplicate notes", notes) == 1 / 4


def test_drums_agree_by_position_and_pitch() -> None:
    first = [(0, 0.1, 36, DRUMS), (2, 0.1, 38, DRUMS)]
    second = [(4, 0.1, 36, DRUMS), (6, 0.1, 40, DRUMS)]  # one of three (position, pitch) in common
    assert measure("drum agreement", [*first, *second]) == pytest.approx(1 / 3)
    silent = [(8, 4, 60, PIANO)]  # no drums in the third bar: nothing in common
    assert measure("drum agreement", [*first, *second, *silent]) == pytest.approx(1 / 6)


def test_the_bass_agrees_by_position_alone() -> None:
    notes = [(0, 1, 40, BASS), (2, 1, 41, BASS), (4, 1, 45, BASS), (5, 1, 41, BASS)]
    assert measure("bass agreement", notes) == pytest.approx(1 / 3)
    assert measure("bass notes per bar", [*notes, (8, 4, 60, PIANO)]) == pytest.approx(4 / 3)


def test_minor_seconds_are_onsets_of_pitches_a_semitone_apart() -> None:
    clash = [(0, 1, 60, PIANO), (0, 1, 61, BASS)]
    others = [(1, 1, 60, PIANO), (1.5, 1, 61, PIANO), (3, 1, 60, DRUMS), (3, 1, 61, PIANO)]
    assert measure("minor seconds", [*clash, *others]) == 1 / 4


def test_a_drum_breaks_the_silence_for_an_eighth() -> None:
    notes = [(0, 2, 60, PIANO), (2, 0.05, 38, DRUMS), (3.5, 0.5, 60, PIANO)]
    assert measure("silence", notes) == pytest.approx(1 / 4)


def test_instruments_of_few_notes() -> None:
    notes = [(i / 4, 0.25, 60, PIANO) for i in range(groove.FEW_NOTES + 1)]
    notes += [(0, 1, 60, BASS), (0, 1, 60, DRUMS)]
    assert measure("instruments", notes) == 3
    assert measure("instruments of few notes", notes) == 2
    assert measure("notes per bar", notes) == pytest.approx(len(notes))


def test_bars_of_each_instrument_repeat_by_themselves() -> None:
    bass = [(4.0 * bar, 1, 40, BASS) for bar in range(3)]
    piano = [(4.0 * bar, 1, 60 + bar, PIANO) for bar in range(3)]
    assert measure("repeated bars per instrument", [*bass, *piano]) == pytest.approx(2 / 6)


def test_pitch_classes_change_from_bar_to_bar() -> None:
    notes = [(0, 1, 60, PIANO), (1, 1, 64, PIANO), (4, 1, 72, PIANO), (5, 1, 67, PIANO)]
    assert measure("pitch-class change", notes) == pytest.approx(1 / 2)
    assert measure("pitch-class change", [*notes, (16, 1, 62, PIANO)]) == pytest.approx(3 / 4)


def test_loops_and_returns() -> None:
    pitches = [60, 62, 62, 62, 60, 62, 65, 65]
    notes = [(4.0 * bar, 4, pitch, PIANO) for bar, pitch in enumerate(pitches)]
    assert measure("longest loop (bars)", notes) == 3
    assert measure("returns after 4 bars", notes) == 2 / 4
    assert math.isnan(measure("returns after 8 bars", notes))


@given(NOTES)
def test_groove_consistency_is_that_of_the_features(
    notes: list[tuple[int, int, int, int]],
) -> None:
    quarters = [(start / QUARTER, n / QUARTER, *rest) for start, n, *rest in notes]
    bars = to_bars(score_of([(0, 1, 60, PIANO), *quarters]))  # type: ignore[list-item]
    array = features.NoteArray.from_notes(
        [(0, 1, 60, PIANO), *quarters]  # type: ignore[list-item]
    )
    expected = features.groove_consistency(array)
    assert GROOVE["groove consistency"](bars) == pytest.approx(expected, nan_ok=True)


def test_bars_follow_the_time_signatures_from_the_first_note_on() -> None:
    notes = [(4, 1, 60, PIANO), (7, 1, 62, PIANO), (10.02, 1, 64, PIANO)]
    bars = to_bars(score_of(notes, time_signatures={0: (4, 4), 4 * QUARTER: (3, 4)}))
    assert [(note.bar, note.position) for note in bars.notes] == [(0, 0), (1, 0), (2, 0)]
    assert len(bars) == 3


def test_a_piece_has_only_the_bars_that_are_described() -> None:
    score = score_of([(0, 1, 60, PIANO), (8, 1, 60, PIANO)])
    assert len(to_bars(score)) == 3
    assert len(to_bars(score, 2).notes) == 1
    padded = to_bars(score, 6, pad=True)
    assert len(padded) == 6
    assert GROOVE["silence"](padded) == pytest.approx(1 - 2 / 24)


def test_a_piece_without_notes_is_one_silent_bar() -> None:
    empty = to_bars(score_of([]))
    values = {name: statistic(empty) for name, statistic in GROOVE.items()}
    assert {name: value for name, value in values.items() if not math.isnan(value)} == {
        "silence": 1,
        "instruments": 0,
        "instruments of few notes": 0,
        "notes per bar": 0,
    }
