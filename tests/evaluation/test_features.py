"""Musical features against values worked out by hand and slow computations of the same."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm.evaluation import features
from midilstm.evaluation.features import BAR, STEPS, NoteArray
from midilstm.midi import DRUMS

PITCHES, RHYTHM = features.STATISTICS, features.RHYTHM_STATISTICS
DRUM = (0.0, 0.25, 38, DRUMS)
EMPTY = NoteArray.from_notes([])

# Off any beat, overlapping, doubled, with rests, silent notes and drums.
NOTES = st.lists(
    st.tuples(
        st.integers(0, 3 * BAR).map(lambda steps: steps / STEPS),
        st.integers(0, BAR).map(lambda steps: steps / STEPS),
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
    drums = NoteArray.from_notes([DRUM, (1.0, 0.25, 36, DRUMS), (5.0, 0.25, 38, DRUMS)])
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


@given(NOTES)
def test_polyphony_equals_that_of_a_piano_roll(played: list[tuple[float, float, int, int]]) -> None:
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


@given(NOTES)
def test_groove_equals_that_of_explicit_bars(played: list[tuple[float, float, int, int]]) -> None:
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
