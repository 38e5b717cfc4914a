"""Musical statistics by hand, and against slow ways to the same number."""

import math
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midilstm.evaluation import statistics
from midilstm.evaluation.statistics import BAR, DRUMS, STEPS, Played
from midilstm.tokens import encoding

IDS = np.array([1])
DRUM = (0.0, 0.25, 38, DRUMS)
EMPTY = Played.of([])

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


def notes(*pitches: int) -> Played:
    return Played.of([(i / 2, 0.5, pitch, 0) for i, pitch in enumerate(pitches)])


def test_pitch_class_entropy() -> None:
    assert statistics.pitch_class_entropy(notes(60, 72, 48), IDS) == 0
    assert statistics.pitch_class_entropy(notes(60, 61, 62, 63), IDS) == pytest.approx(2)
    chromatic = statistics.pitch_class_entropy(notes(*range(60, 72)), IDS)
    assert chromatic == pytest.approx(math.log2(12))
    assert statistics.pitch_class_entropy(notes(60, 60, 60, 67), IDS) == pytest.approx(0.811278)


def test_pitch_range() -> None:
    assert statistics.pitch_range(notes(60, 48, 71), IDS) == 23


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
    assert statistics.scale_consistency(notes(*pitches), IDS) == pytest.approx(expected)


def test_density_counts_what_is_written() -> None:
    # Three notes, then one, half a quarter each.
    assert statistics.note_density(Played.of(encoding.played(["0.4.7", "C4"])), IDS) == 4


def test_repetition() -> None:
    ids = np.array([1, 1, 2, 3, 1, 1, 2, 3])
    assert statistics.repeated_tokens(EMPTY, ids) == pytest.approx(2 / 7)
    assert statistics.repeated_phrases(EMPTY, ids) == pytest.approx(1 / 5)  # 1 1 2 3 comes again
    assert statistics.repeated_tokens(EMPTY, ids[:1]) == 0
    assert statistics.repeated_phrases(EMPTY, ids[:3]) == 0


def test_notes_of_any_order_lie_on_the_grid() -> None:
    played = Played.of([(1 / 3, 1 / 8, 60, 5), (0, 4, 72, DRUMS), (1 / 3, 1 / 12, 48, 0)])
    assert played.start.tolist() == [0, 8, 8]
    assert played.length.tolist() == [96, 2, 3]
    assert played.pitch.tolist() == [72, 48, 60]
    assert played.program.tolist() == [DRUMS, 0, 5]
    assert played.end == 96
    assert DRUMS == encoding.DRUMS


def test_percussion_has_no_pitch() -> None:
    melody = [(0.0, 1.0, 60, 0), (1.0, 1.0, 67, 33)]
    drummed = Played.of([*melody, (0.0, 1.0, 36, DRUMS), (1.5, 1.0, 81, DRUMS)])
    for measure in (
        statistics.pitch_class_entropy,
        statistics.pitch_range,
        statistics.scale_consistency,
        statistics.note_length,
        statistics.polyphony,
    ):
        assert measure(drummed, IDS) == measure(Played.of(melody), IDS)
    assert statistics.pitch_range(drummed, IDS) == 7
    assert statistics.note_density(drummed, IDS) == 4 / 2.5


def test_intervals_are_from_onset_to_onset() -> None:
    played = Played.of([(0, 1, 60, 0), (0, 2, 64, 0), (0.5, 1, 36, DRUMS), (3, 1, 60, 0)])
    assert statistics.inter_onsets(played).tolist() == [STEPS // 2, 5 * STEPS // 2]
    assert statistics.inter_onset_interval(played, IDS) == 1.5
    assert statistics.note_length(played, IDS) == pytest.approx(4 / 3)


def test_groove_counts_onsets_that_neighbouring_bars_do_not_share() -> None:
    bar = [(0.0, 0.5, 60, 0), (1.5, 0.5, 62, 0), (3.0, 0.5, 36, DRUMS)]
    same = Played.of(
        [(4 * i + start, length, 60, 0) for i in range(3) for start, length, *_ in bar]
    )
    assert statistics.groove_consistency(same, IDS) == 1
    # Onsets at 0, 1.5, 3; 0, 2, 3; 0: the first two differ in two of 96 places, as the last two do.
    other = [*bar, (4.0, 1, 60, 0), (6.0, 1, 60, 0), (7.0, 1, 60, 0), (8.0, 1, 60, 0)]
    found = statistics.groove_consistency(Played.of(other), IDS)
    assert found == pytest.approx(1 - (2 + 2) / (2 * 96))
    coarse = Played.of([(0.0, 1, 60, 0), (5.0, 1, 60, 0)])
    assert statistics.groove_consistency(coarse, IDS, bar=BAR // 2) == pytest.approx(1 - 2 / 2 / 48)
    assert math.isnan(statistics.groove_consistency(Played.of(bar), IDS))
    # A silent note where the last bar ends is in no bar.
    silent = Played.of([(0.0, 1, 60, 0), (4.0, 4, 60, 0), (8.0, 0, 60, 0)])
    assert statistics.groove_consistency(silent, IDS) == 1


def test_polyphony_counts_pitches_that_sound_at_once() -> None:
    # Two quarters of two pitches, one of one, one of silence, then one of three.
    played = Played.of(
        [
            (0, 3, 60, 0),
            (0, 2, 64, 0),
            (1, 1, 64, 33),
            *((4, 1, pitch, 0) for pitch in (50, 51, 52)),
        ]
    )
    assert statistics.polyphony(played, IDS) == (2 * 2 + 1 + 3) / 4
    assert statistics.polyphony_rate(played, IDS) == 3 / 5
    # What overlaps on one pitch is one sound.
    held = Played.of([(0, 2, 60, 0), (1, 2, 60, 0), (1, 0, 72, 0)])
    assert statistics.polyphony(held, IDS) == 1
    assert statistics.polyphony_rate(held, IDS) == 0


def test_instruments_and_drums_are_counted() -> None:
    played = Played.of([DRUM, (0, 1, 60, 0), (1, 1, 36, DRUMS), (2, 1, 62, 33), (3, 1, 62, 33)])
    assert statistics.instruments(played, IDS) == 3
    assert statistics.drum_share(played, IDS) == 0.4


def test_every_measure_of_drums_alone_and_of_nothing_is_defined() -> None:
    drums = Played.of([DRUM, (1.0, 0.25, 36, DRUMS), (5.0, 0.25, 38, DRUMS)])
    found = statistics.measured([(drums, IDS), (EMPTY, np.empty(0, int))])
    values = {name: values.tolist() for name, values in found.items()}
    nan = pytest.approx(math.nan, nan_ok=True)
    assert values == {
        "pitch-class entropy (bits)": [nan, nan],
        "pitch range (semitones)": [nan, nan],
        "scale consistency": [nan, nan],
        "notes a quarter": [3 / 5.25, nan],
        "repeated tokens": [0, 0],
        "repeated 4-grams": [0, 0],
        "inter-onset (quarters)": [2.5, nan],
        "note length (quarters)": [nan, nan],
        "groove consistency": [1 - 1 / 96, nan],  # onsets at 0 and 1, then at 1 only
        "polyphony": [nan, nan],
        "polyphony rate": [0, nan],
        "instruments": [1, 0],
        "drum share": [1, nan],
    }


def test_what_needs_rhythm_can_be_left_out() -> None:
    found = statistics.measured([(notes(60, 62), IDS)], rhythm=False)
    assert set(found) == set(statistics.MEASURES)


@given(NOTES)
def test_polyphony_is_that_of_a_piano_roll(played: list[statistics.Note]) -> None:
    steps = round(max((start + length for start, length, *_ in played), default=0) * STEPS)
    roll = np.zeros((steps, 128), bool)
    for start, length, pitch, program in played:
        if program != DRUMS:
            roll[round(start * STEPS) : round((start + length) * STEPS), pitch] = True
    sounding = roll.sum(1)
    on, two = np.count_nonzero(sounding), np.count_nonzero(sounding >= 2)
    expected = [sounding.sum() / on if on else math.nan, two / steps if steps else math.nan]
    piece = Played.of(played)
    found = [statistics.polyphony(piece, IDS), statistics.polyphony_rate(piece, IDS)]
    assert found == pytest.approx(expected, nan_ok=True)


@given(NOTES)
def test_groove_is_that_of_bars_written_out(played: list[statistics.Note]) -> None:
    piece = Played.of(played)
    bars = math.ceil(piece.end / BAR)
    grid = np.zeros((bars + 1, BAR), bool)  # a silent note may begin where the piece ends
    for start in piece.start.tolist():
        grid[divmod(start, BAR)] = True
    grid = grid[:bars]
    expected = math.nan
    if bars > 1:
        expected = 1 - np.mean([np.mean(a != b) for a, b in pairwise(grid)])
    found = statistics.groove_consistency(piece, IDS)
    assert found == pytest.approx(expected, nan_ok=True)


def test_what_is_played_is_what_is_written(tmp_path: Path) -> None:
    tokens = ["0.4.7", "C#4", "B-3", "11"]
    encoding.write(tokens, tmp_path / "a.mid")
    found, now = [], 0.0
    midi = mido.MidiFile(tmp_path / "a.mid")
    for message in midi.tracks[0]:
        now += message.time / midi.ticks_per_beat
        if message.type == "note_on" and message.velocity:
            found.append((now, 0.5, message.note, 0))
    assert encoding.played(tokens) == found


def test_an_interval_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(2).normal(5, 2, 400)
    found = statistics.estimate(values, rng=np.random.default_rng(3))
    low, high = found["interval"]
    assert low < found["value"] < high
    assert found["value"] == pytest.approx(values.mean())
    standard_error = values.std() / 400**0.5
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


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
