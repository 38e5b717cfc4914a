"""Musical statistics by hand, and against slow ways to the same number."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm import tokenizers as tokens
from midilstm.evaluation import features as statistics
from midilstm.evaluation.features import BAR, STEPS, NoteArray
from midilstm.midi import DRUMS

PITCHES, RHYTHM = statistics.OF_PITCHES, statistics.OF_RHYTHM
DRUM = (0.0, 0.25, 38, DRUMS)
EMPTY = NoteArray.of([])

# Off any beat, overlapping, doubled, with rests, silent notes and percussion.
NOTES = st.lists(
    st.tuples(
        st.integers(0, 3 * BAR).map(lambda steps: steps / STEPS),
        st.integers(0, BAR).map(lambda steps: steps / STEPS),
        st.integers(58, 63),
        st.sampled_from([0, 33, DRUMS]),
    ),
    max_size=12,
)


def notes(*pitches: int) -> NoteArray:
    return NoteArray.of([(i / 2, 0.5, pitch, 0) for i, pitch in enumerate(pitches)])


def test_pitch_class_entropy() -> None:
    assert statistics.pitch_class_entropy(notes(60, 72, 48)) == 0
    assert statistics.pitch_class_entropy(notes(60, 61, 62, 63)) == pytest.approx(2)
    chromatic = statistics.pitch_class_entropy(notes(*range(60, 72)))
    assert chromatic == pytest.approx(math.log2(12))
    assert statistics.pitch_class_entropy(notes(60, 60, 60, 67)) == pytest.approx(0.811278)


@pytest.mark.parametrize(
    ("pitches", "expected"),
    [
        ((60, 62, 64, 65, 67, 69, 71), 1),  # C major
        ((57, 59, 60, 62, 64, 65, 67), 1),  # A minor, natural
        ((62, 64, 66, 67, 69, 71, 73), 1),  # D major
        ((57, 59, 60, 62, 64, 65, 68), 6 / 7),  # A minor, harmonic
        (tuple(range(60, 72)), 7 / 12),
    ],
)
def test_scale_consistency(pitches: tuple[int, ...], expected: float) -> None:
    assert statistics.scale_consistency(notes(*pitches)) == pytest.approx(expected)


def test_density_counts_what_is_written() -> None:
    # Three notes, then one, half a quarter each.
    heard = NoteArray.of(tokens.get("notes").timed_notes(["0.4.7", "C4"]))
    assert PITCHES["notes a quarter"](heard) == 4


def test_repetition() -> None:
    heard = NoteArray.of([], np.array([1, 1, 2, 3, 1, 1, 2, 3]))
    assert PITCHES["repeated tokens"](heard) == pytest.approx(2 / 7)
    assert PITCHES["repeated 4-grams"](heard) == pytest.approx(1 / 5)  # 1 1 2 3 comes again
    assert math.isnan(PITCHES["repeated tokens"](NoteArray.of([], heard.ids[:1])))
    assert math.isnan(PITCHES["repeated 4-grams"](NoteArray.of([], heard.ids[:3])))


def test_notes_of_any_order_lie_on_the_grid() -> None:
    played = NoteArray.of([(1 / 3, 1 / 8, 60, 5), (0, 4, 72, DRUMS), (1 / 3, 1 / 12, 48, 0)])
    assert played.start.tolist() == [0, 8, 8]
    assert played.length.tolist() == [96, 2, 3]
    assert played.pitch.tolist() == [72, 48, 60]
    assert played.program.tolist() == [DRUMS, 0, 5]
    assert played.end == 96


def test_percussion_has_no_pitch() -> None:
    melody = [(0.0, 1.0, 60, 0), (1.0, 1.0, 67, 33)]
    drummed = NoteArray.of([*melody, (0.0, 1.0, 36, DRUMS), (1.5, 1.0, 81, DRUMS)])
    for measure in (
        statistics.pitch_class_entropy,
        statistics.pitch_range,
        statistics.scale_consistency,
        RHYTHM["note length (quarters)"],
        statistics.polyphony,
    ):
        assert measure(drummed) == measure(NoteArray.of(melody))
    assert statistics.pitch_range(drummed) == 7
    assert PITCHES["notes a quarter"](drummed) == 4 / 2.5


def test_intervals_are_from_onset_to_onset() -> None:
    played = NoteArray.of([(0, 1, 60, 0), (0, 2, 64, 0), (0.5, 1, 36, DRUMS), (3, 1, 60, 0)])
    assert statistics.inter_onsets(played).tolist() == [STEPS // 2, 5 * STEPS // 2]
    assert RHYTHM["inter-onset (quarters)"](played) == 1.5
    assert RHYTHM["note length (quarters)"](played) == pytest.approx(4 / 3)


def test_instruments_and_drums_are_counted() -> None:
    played = NoteArray.of([DRUM, (0, 1, 60, 0), (1, 1, 36, DRUMS), (2, 1, 62, 33), (3, 1, 62, 33)])
    assert RHYTHM["instruments"](played) == 3
    assert RHYTHM["drum share"](played) == 0.4


def test_every_measure_of_drums_alone_and_of_nothing_is_defined() -> None:
    drums = NoteArray.of([DRUM, (1.0, 0.25, 36, DRUMS), (5.0, 0.25, 38, DRUMS)])
    found = statistics.feature_matrix(PITCHES | RHYTHM, [drums, EMPTY])
    values = {name: values.tolist() for name, values in found.items()}
    nan = pytest.approx(math.nan, nan_ok=True)
    assert values == {
        "pitch-class entropy (bits)": [nan, nan],
        "pitch range (semitones)": [nan, nan],
        "scale consistency": [nan, nan],
        "notes a quarter": [3 / 5.25, nan],
        "repeated tokens": [nan, nan],
        "repeated 4-grams": [nan, nan],
        "inter-onset (quarters)": [2.5, nan],
        "note length (quarters)": [nan, nan],
        "groove consistency": [1 - 1 / 96, nan],  # onsets at 0 and 1, then at 1 only
        "polyphony": [nan, nan],
        "polyphony rate": [0, nan],
        "instruments": [1, 0],
        "drum share": [1, nan],
    }


@given(NOTES)
def test_polyphony_is_that_of_a_piano_roll(played: list[tuple[float, float, int, int]]) -> None:
    steps = round(max((start + length for start, length, *_ in played), default=0) * STEPS)
    roll = np.zeros((steps, 128), bool)
    for start, length, pitch, program in played:
        if program != DRUMS:
            roll[round(start * STEPS) : round((start + length) * STEPS), pitch] = True
    sounding = roll.sum(1)
    on, two = np.count_nonzero(sounding), np.count_nonzero(sounding >= 2)
    expected = [sounding.sum() / on if on else math.nan, two / steps if steps else math.nan]
    found = [RHYTHM[name](NoteArray.of(played)) for name in ("polyphony", "polyphony rate")]
    assert found == pytest.approx(expected, nan_ok=True)


@given(NOTES)
def test_groove_is_that_of_bars_written_out(played: list[tuple[float, float, int, int]]) -> None:
    piece = NoteArray.of(played)
    bars = math.ceil(piece.end / BAR)
    grid = np.zeros((bars + 1, BAR), bool)  # a silent note may begin where the piece ends
    for start in piece.start.tolist():
        grid[divmod(start, BAR)] = True
    grid = grid[:bars]
    expected = math.nan
    if bars > 1:
        expected = 1 - np.mean([np.mean(a != b) for a, b in pairwise(grid)])
    found = statistics.groove_consistency(piece)
    assert found == pytest.approx(expected, nan_ok=True)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        low, high = statistics.estimate(rng.normal(size=50), rng=rng)["interval"]
        covered += low <= 0 <= high
    assert 175 <= covered <= 199


def test_a_ratio_is_of_sums() -> None:
    rng = np.random.default_rng(0)
    found = statistics.estimate(np.array([1.0, 9.0]), np.array([1, 3]), rng=rng)
    assert found["value"] == 2.5
    assert found["interval"] == [1, 3]
    assert statistics.estimate(np.array([1.0]), np.array([2]), rng=rng) == {
        "value": 0.5,
        "interval": None,
    }
    assert statistics.estimate(np.array([]), rng=rng) == {"value": None, "interval": None}
