"""Empty bars before the first note are dropped, and nothing else changes."""

import pytest
import symusic
from hypothesis import given
from hypothesis import strategies as st
from midi_bytes import conductor, notes, signature, smf, tempo

from midilstm import midi, tokenizers
from midilstm.midi import drop_leading_bars

Meters = dict[float, tuple[int, int]]
# Starts and ends of the notes after the beginning that is expected.
TUNE = [(0, 1.25), (1.25, 2), (2, 2 + 1 / 3), (2 + 1 / 3, 4), (5, 9)]


def file_after(
    silence: float, meters: Meters, tempos: dict[float, float], pickup: float = 0
) -> bytes:
    """Return a file whose TUNE begins `pickup` quarters into the bar after `silence` quarters."""
    events = [(quarter, signature(*meter)) for quarter, meter in meters.items()]
    events += [(quarter, tempo(bpm)) for quarter, bpm in tempos.items()]
    tune = [(silence + pickup + start, silence + pickup + end, 60) for start, end in TUNE]
    return smf(conductor(*sorted(events)), notes(*tune, start=b"\0\xc0\x20"))


@pytest.mark.parametrize(
    ("silence", "bars", "pickup", "meters", "kept"),
    [
        (0, 0, 3, {}, {}),
        (4, 1, 0, {}, {}),
        (60, 15, 3.5, {0: (4, 4)}, {0: (4, 4)}),
        (6, 2, 2, {0: (3, 4)}, {0: (3, 4)}),
        (6, 2, 2.5, {0: (6, 8)}, {0: (6, 8)}),
        (4.5, 3, 1, {0: (3, 8), 10: (2, 2)}, {0: (3, 8), 5.5: (2, 2)}),
        (10, 3, 0, {0: (4, 4), 4: (3, 4)}, {0: (3, 4)}),
        (10, 3, 1, {4: (3, 4), 10: (6, 8)}, {0: (6, 8)}),
        (5, 2, 1, {0: (4, 4), 2: (3, 4)}, {0: (3, 4)}),  # it ends a bar
        (4, 1, 1, {6: (3, 4)}, {2: (3, 4)}),
        (4, 1, -1 / 48, {}, {}),  # played a little early
        (0, 0, 4 - 1 / 12, {}, {}),
    ],
)
def test_whole_empty_bars_before_the_first_note_are_dropped(
    silence: float, bars: int, pickup: float, meters: Meters, kept: Meters
) -> None:
    data = file_after(silence, meters, {0: 90, 1: 100, silence + 3: 80}, pickup)
    score = drop_leading_bars(midi.read(data))
    assert score.leading_bars == bars
    begin = round(480 * silence)
    others = symusic.Score.from_midi(data).tracks[-1].notes
    assert [(note.start, note.length) for note in score.notes] == [
        (max(0, note.time - begin), note.duration) for note in others
    ]
    assert {note.program for note in score.notes} == {32}
    assert score.time_signatures == {round(480 * quarter): s for quarter, s in kept.items()}
    tempos = {tick: round(bpm) for tick, bpm in score.tempos.items()}
    assert tempos == ({0: 100, 1440: 80} if silence else {0: 90, 480: 100, 1440: 80})
    assert drop_leading_bars(score) == score


@pytest.mark.parametrize("name", tokenizers.ENCODINGS)
@pytest.mark.parametrize(
    ("silence", "meter"), [(4, (4, 4)), (60, (4, 4)), (9, (3, 4)), (3, (6, 8)), (8, (2, 2))]
)
def test_the_tokens_are_those_of_the_music_without_the_silence(
    name: str, silence: float, meter: tuple[int, int]
) -> None:
    encoding = tokenizers.get(name)
    plain, late = (file_after(at, {0: meter}, {0: 90}, 1.5) for at in (0, silence))
    expected = encoding.encode(midi.read(plain))
    assert encoding.encode(drop_leading_bars(midi.read(late))) == expected


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from((2, 4, 8, 16)))),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1),
    st.sampled_from((1, 3, 24, 100)),
)
def test_the_first_note_stands_in_the_first_bar_and_bars_stay(
    meters: list[tuple[int, int, int]], played: list[tuple[int, int]], quarter: int
) -> None:
    sounding = (midi.Note(start * quarter, length, 60) for start, length in sorted(played))
    signatures = {tick * quarter: (beats, unit) for tick, beats, unit in sorted(meters)}
    score = midi.Score(quarter, tuple(sounding), {}, signatures)
    dropped = drop_leading_bars(score)
    begin = score.notes[0].start - dropped.notes[0].start
    assert [n.start + begin for n in dropped.notes] == [n.start for n in score.notes]
    end = score.notes[-1].start + 1
    bars = midi.bar_ticks(score, end)
    assert [tick + begin for tick in midi.bar_ticks(dropped, end - begin)] == [
        tick for tick in bars if tick >= begin
    ]
    later = [tick for tick in midi.bar_ticks(dropped, dropped.notes[0].start + 1) if tick]
    assert not any(tick.is_integer() for tick in later)


def test_a_pedal_that_goes_down_in_the_silence_holds_notes() -> None:
    pedal = b"\0\xb0\x40\x7f"
    data = smf(notes((4, 5, 60), (7, 8, 62), start=pedal))
    unpedalled = drop_leading_bars(midi.read(data, pedal=False))
    score = drop_leading_bars(midi.read(data))
    assert midi.apply_sustain(unpedalled).notes == score.notes
    assert [(note.start, note.length) for note in score.notes] == [(0, 1920), (1440, 480)]
