"""Musical features by hand, against slow computations, and against pretty_midi."""

import math
from itertools import pairwise

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm.evaluation import features
from midilstm.evaluation.features import BAR, STEPS, NoteArray
from midilstm.midi import DRUMS

PITCHES, RHYTHM = features.STATISTICS, features.RHYTHM_STATISTICS
MGEVAL = features.MGEVAL | features.RHYTHM_MGEVAL
EMPTY = NoteArray.from_notes([])
Notes = list[tuple[float, float, int, int]]


def some_notes(min_steps: int) -> st.SearchStrategy[Notes]:
    """Return notes off any beat, overlapping, doubled, with rests and drums."""
    return st.lists(
        st.tuples(
            st.integers(0, 3 * BAR).map(lambda steps: steps / STEPS),
            st.integers(min_steps, BAR).map(lambda steps: steps / STEPS),
            st.integers(58, 63),
            st.sampled_from([0, 33, DRUMS]),
        ),
        max_size=12,
    )


@pytest.mark.parametrize(
    ("pitches", "entropy", "consistency"),
    [
        ((60, 72, 48), 0, 1),
        ((60, 60, 60, 67), 0.811278, 1),
        (tuple(range(60, 72)), math.log2(12), 7 / 12),
        ((60, 62, 64, 65, 67, 69, 71), math.log2(7), 1),  # C major
        ((57, 59, 60, 62, 64, 65, 67), math.log2(7), 1),  # A minor, natural
        ((57, 59, 60, 62, 64, 65, 68), math.log2(7), 6 / 7),  # A minor, harmonic
    ],
)
def test_pitch_class_entropy_and_scale_consistency(
    pitches: tuple[int, ...], entropy: float, consistency: float
) -> None:
    piece = NoteArray.from_notes([(i / 2, 0.5, pitch, 0) for i, pitch in enumerate(pitches)])
    assert features.pitch_class_entropy(piece) == pytest.approx(entropy)
    assert features.scale_consistency(piece) == pytest.approx(consistency)


def test_every_statistic_of_a_band() -> None:
    played = NoteArray.from_notes(  # in any order, on the grid of 24 steps
        [(1 / 3, 1 / 8, 60, 5), (0, 4, 72, DRUMS), (1 / 3, 1 / 12, 48, 0)], [1, 1, 2, 3, 1, 1, 2, 3]
    )
    assert [part.tolist() for part in played[:4]] == [
        *([0, 8, 8], [96, 2, 3], [72, 48, 60], [DRUMS, 0, 5])
    ]
    values = {name: feature(played) for name, feature in (PITCHES | RHYTHM).items()}
    assert values == pytest.approx(
        {
            "pitch-class entropy (bits)": 0,
            "pitch range (semitones)": 12,
            "scale consistency": 1,
            "notes per quarter": 3 / 4,
            "repeated tokens": 2 / 7,
            "repeated 4-grams": 1 / 5,  # 1 1 2 3 is repeated
            "inter-onset (quarters)": 1 / 3,
            "note length (quarters)": 2.5 / 24,
            "groove consistency": math.nan,
            "polyphony": 5 / 3,
            "polyphony rate": 2 / 96,
            "instruments": 3,
            "drum share": 1 / 3,
        },
        nan_ok=True,
    )


def test_drums_have_no_pitch() -> None:
    melody = [(0.0, 1.0, 60, 0), (1.0, 1.0, 67, 33)]
    drummed = NoteArray.from_notes([*melody, (0.0, 1.0, 36, DRUMS), (1.5, 1.0, 81, DRUMS)])
    for feature in (
        features.pitch_class_entropy,
        features.pitch_range,
        features.scale_consistency,
        RHYTHM["note length (quarters)"],
        features.polyphony,
    ):
        assert feature(drummed) == feature(NoteArray.from_notes(melody))


def test_features_that_a_piece_lacks_are_nan() -> None:
    onsets = [(0.0, 36), (1.0, 36), (5.0, 38)]
    drums = NoteArray.from_notes([(start, 0.25, pitch, DRUMS) for start, pitch in onsets])
    matrix = features.feature_matrix(PITCHES | RHYTHM, [drums, EMPTY])
    values = {name: x.tolist() for name, x in matrix.items() if not np.isnan(x).all()}
    nan = pytest.approx(math.nan, nan_ok=True)
    assert values == {
        "notes per quarter": [3 / 5.25, nan],
        "inter-onset (quarters)": [2.5, nan],
        "groove consistency": [1 - 1 / 96, nan],  # onsets at 0 and 1, then at 1 only
        "polyphony rate": [0, nan],
        "instruments": [1, 0],
        "drum share": [1, nan],
    }
    matrix = features.feature_matrix(MGEVAL, [drums, EMPTY])
    lacking = {name: np.isnan(x).any(axis=tuple(range(1, x.ndim))) for name, x in matrix.items()}
    nothing = {"pitch-class histogram", "pitch range", "average pitch interval"}
    nothing |= {"note length histogram"}
    assert {name for name, (of_drums, _) in lacking.items() if of_drums} == nothing
    nothing |= {"average inter-onset interval"}
    assert {name for name, (_, of_empty) in lacking.items() if of_empty} == nothing
    assert [x[0].size for x in matrix.values()] == [1, 8, 1, 8, 12, 96, 144, 1, 1, 1, 12, 144]


@given(some_notes(0))
def test_polyphony_equals_that_of_a_piano_roll(played: Notes) -> None:
    steps = round(max((start + length for start, length, *_ in played), default=0) * STEPS)
    roll = np.zeros((steps, 128), bool)
    for start, length, pitch, program in played:
        if program != DRUMS:
            roll[round(start * STEPS) : round((start + length) * STEPS), pitch] = True
    sounding = roll.sum(1)
    on, two = np.count_nonzero(sounding), np.count_nonzero(sounding >= 2)
    expected = [sounding.sum() / on if on else math.nan, two / steps if steps else math.nan]
    actual = [
        RHYTHM[name](NoteArray.from_notes(played)) for name in ("polyphony", "polyphony rate")
    ]
    assert actual == pytest.approx(expected, nan_ok=True)


@given(some_notes(0))
def test_groove_equals_that_of_explicit_bars(played: Notes) -> None:
    piece = NoteArray.from_notes(played)
    bars = math.ceil(piece.end / BAR)
    grid = np.zeros((bars + 1, BAR), bool)  # a note of no length may begin at the end
    for start in piece.start.tolist():
        grid[divmod(start, BAR)] = True
    grid = grid[:bars]
    expected = math.nan
    if bars > 1:
        expected = 1 - np.mean([np.mean(a != b) for a, b in pairwise(grid)])
    assert features.groove_consistency(piece) == pytest.approx(expected, nan_ok=True)


def test_mgeval_counts_notes_pitches_and_lengths() -> None:
    # An eighth and a chord, held over the bar line; a bass; a drum; an empty bar; a last note.
    band = NoteArray.from_notes(
        [
            *((0.0, 0.5, 60, 0), (3.0, 2.0, 64, 0), (3.0, 1.0, 67, 0), (0.0, 4.0, 36, 33)),
            *((1.0, 0.25, 38, DRUMS), (12.0, 1.5, 60, 0)),
        ]
    )
    empty_bars = [0] * (features.BARS - 4)
    assert MGEVAL["note count"](band) == 6
    assert MGEVAL["pitch count"](band) == 4  # C, E, G and the bass's C
    assert np.ravel(MGEVAL["note count per bar"](band)).tolist() == [5, 0, 0, 1, *empty_bars]
    assert np.ravel(MGEVAL["pitch count per bar"](band)).tolist() == [4, 0, 0, 1, *empty_bars]
    quarters = [4, 2, 1, 0.5, 0.25, 3, 1.5, 0.75, 0.375, 4 / 3, 2 / 3, 1 / 3]
    assert features.LENGTHS.tolist() == [quarter * STEPS for quarter in quarters]
    result = features.length_shares(band)
    assert result.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0, 0, 0.2, *[0] * 5])
    odd = features.length_shares(NoteArray.from_notes([(0.0, 99.0, 60, 0), (0.0, 7 / 24, 62, 0)]))
    assert np.flatnonzero(odd).tolist() == [0, 4]  # 7 steps are between 6 and 8: the first listed


def test_a_note_so_short_that_its_end_is_near_its_beginning_does_not_follow_itself() -> None:
    assert not features.pitch_class_transitions(NoteArray.from_notes([(0, 1 / 24, 60, 0)])).any()


@given(some_notes(3))
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
    assert features.pitch_class_transitions(piece).reshape(12, 12).tolist() == transitions.tolist()
    if len(notes) > 1:
        expected = np.mean(np.diff(midi.get_onsets())) * 2
        assert MGEVAL["average inter-onset interval"](piece) == pytest.approx(expected)


@given(some_notes(3))
def test_pitch_classes_per_bar_are_counted_step_by_step(notes: Notes) -> None:
    result = np.zeros((features.BARS, 12))
    for start, length, pitch, program in notes:
        for step in range(round(start * STEPS), round((start + length) * STEPS)):
            result[step // BAR, pitch % 12] += program != DRUMS
    expected = np.array([row / row.sum() if row.any() else row for row in result])
    piece = NoteArray.from_notes(notes)
    assert features.pitch_classes_per_bar(piece) == pytest.approx(expected.ravel())
    if (result := result.sum(0)).any():  # all notes end within these bars
        assert features.pitch_classes(piece) == pytest.approx(result / result.sum())


@given(some_notes(3))
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
    assert features.length_transitions(piece).tolist() == expected.ravel().tolist()
    mean = np.mean(jumps) if jumps else math.nan
    assert features.pitch_interval(piece) == pytest.approx(mean, nan_ok=True)
