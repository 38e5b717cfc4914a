"""MGEval's features by hand, against slow computations, and against pretty_midi."""

import math

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm.evaluation import features as mgeval
from midilstm.evaluation.features import BAR, STEPS, NoteArray, feature_matrix
from midilstm.midi import DRUMS

# An eighth and a chord, held over the bar line; a bass; a drum; an empty bar; a last note.
BAND = NoteArray.from_notes(
    [
        (0.0, 0.5, 60, 0),
        (3.0, 2.0, 64, 0),
        (3.0, 1.0, 67, 0),
        (0.0, 4.0, 36, 33),
        (1.0, 0.25, 38, DRUMS),
        (12.0, 1.5, 60, 0),
    ]
)
DRUMS_ALONE = NoteArray.from_notes([(0.0, 0.25, 36, DRUMS), (1.0, 0.25, 38, DRUMS)])
EMPTY = NoteArray.from_notes([])
Notes = list[tuple[float, float, int, int]]
FEATURES = mgeval.MGEVAL | mgeval.RHYTHM_MGEVAL

NOTES = st.lists(
    st.tuples(
        st.integers(0, 3 * BAR).map(lambda steps: steps / STEPS),
        st.integers(3, BAR).map(lambda steps: steps / STEPS),
        st.integers(58, 63),
        st.sampled_from([0, 1, DRUMS]),
    ),
    max_size=12,
)


def padded(*bars: float) -> list[float]:
    return [*bars, *[0] * (mgeval.BARS - len(bars))]


def test_counts_of_notes_and_pitches() -> None:
    assert FEATURES["note count"](BAND) == 6
    assert mgeval.pitch_count(BAND) == 4  # C, E, G and the bass's C
    assert list(np.ravel(FEATURES["note count per bar"](BAND))) == padded(5, 0, 0, 1)
    assert list(np.ravel(FEATURES["pitch count per bar"](BAND))) == padded(4, 0, 0, 1)
    assert FEATURES["pitch range"](BAND) == 31


def test_lengths_are_the_nearest_of_twelve() -> None:
    quarters = [4, 2, 1, 0.5, 0.25, 3, 1.5, 0.75, 0.375, 4 / 3, 2 / 3, 1 / 3]
    assert mgeval.LENGTHS.tolist() == [quarter * STEPS for quarter in quarters]
    result = mgeval.length_shares(BAND)
    assert np.flatnonzero(result).tolist() == [0, 1, 2, 3, 6]
    assert result[[0, 1, 2, 3, 6]].tolist() == pytest.approx([0.2] * 5)
    odd = mgeval.length_shares(NoteArray.from_notes([(0.0, 99.0, 60, 0), (0.0, 7 / 24, 62, 0)]))
    assert np.flatnonzero(odd).tolist() == [0, 4]  # 7 steps are between 6 and 8: the first listed


def test_a_note_so_short_that_its_end_is_near_its_beginning_does_not_follow_itself() -> None:
    assert not mgeval.pitch_class_transitions(NoteArray.from_notes([(0, 1 / 24, 60, 0)])).any()


def test_features_that_a_piece_lacks_are_nan() -> None:
    result = feature_matrix(FEATURES, [DRUMS_ALONE, EMPTY])
    lacking = {name for name, values in result.items() if np.isnan(values[0]).any()}
    nothing = {"pitch-class histogram", "pitch range", "average pitch interval"}
    assert lacking == nothing | {"note length histogram"}
    lacking = {name for name, values in result.items() if np.isnan(values[1]).any()}
    assert lacking == nothing | {"note length histogram", "average inter-onset interval"}
    assert [x[0].size for x in result.values()] == [1, 8, 1, 8, 12, 96, 144, 1, 1, 1, 12, 144]


@given(NOTES)
def test_transitions_and_inter_onsets_equal_those_of_pretty_midi(notes: Notes) -> None:
    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    for program in sorted({note[3] for note in notes}):
        part = pretty_midi.Instrument(max(program, 0), is_drum=program == DRUMS)
        part.notes = [
            pretty_midi.Note(90, pitch, start / 2, (start + length) / 2)  # seconds
            for start, length, pitch, instrument in notes
            if instrument == program
        ]
        midi.instruments.append(part)
    piece = NoteArray.from_notes(notes)
    transitions = np.zeros((12, 12)) + midi.get_pitch_class_transition_matrix()
    assert mgeval.pitch_class_transitions(piece).reshape(12, 12).tolist() == transitions.tolist()
    if len(notes) > 1:
        expected = np.mean(np.diff(midi.get_onsets())) * 2
        assert FEATURES["average inter-onset interval"](piece) == pytest.approx(expected)


@given(NOTES)
def test_pitch_classes_per_bar_are_counted_step_by_step(notes: Notes) -> None:
    result = np.zeros((mgeval.BARS, 12))
    for start, length, pitch, program in notes:
        for step in range(round(start * STEPS), round((start + length) * STEPS)):
            result[step // BAR, pitch % 12] += program != DRUMS
    expected = np.array([row / row.sum() if row.any() else row for row in result])
    piece = NoteArray.from_notes(notes)
    assert mgeval.pitch_classes_per_bar(piece) == pytest.approx(expected.ravel())
    if (result := result.sum(0)).any():  # all notes end within these bars
        assert mgeval.pitch_classes(piece) == pytest.approx(result / result.sum())


@given(NOTES)
def test_transitions_and_intervals_equal_those_counted_note_by_note(notes: Notes) -> None:
    steps = [4, 2, 1, 0.5, 0.25, 3, 1.5, 0.75, 0.375, 4 / 3, 2 / 3, 1 / 3]
    expected, jumps = np.zeros((12, 12)), []
    piece = NoteArray.from_notes(notes)
    order = zip(*(part.tolist() for part in piece[:4]), strict=True)
    last: dict[int, tuple[int, int]] = {}
    for _, length, pitch, program in order:
        if program == DRUMS:
            continue
        kind = min(range(12), key=lambda kind: abs(round(steps[kind] * STEPS) - length))
        if program in last:
            expected[last[program][0], kind] += 1
            jumps.append(abs(pitch - last[program][1]))
        last[program] = kind, pitch
    assert mgeval.length_transitions(piece).tolist() == expected.ravel().tolist()
    mean = np.mean(jumps) if jumps else math.nan
    assert mgeval.pitch_interval(piece) == pytest.approx(mean, nan_ok=True)
