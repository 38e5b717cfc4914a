"""Bars, meters and the clock of `tsd` and `remi`, compared with pretty_midi and symusic."""

import io
from itertools import takewhile
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import symusic
from band_files import BOTH, NOTE, REMI, TSD, band_file, encode, pretty_notes, written_notes
from midi_bytes import END, conductor, notes, signature, smf, tempo

from midilstm import midi, tokenizers
from midilstm.tokenizers.base import Clock, TimedNote

Meter = tuple[int, int]
# Straight and dotted sixteenths, and triplets, in two bars of each meter: (start, end).
GRID = [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.5), (1.5, 1.75), (2, 2 + 1 / 3)]
GRID += [(2 + 1 / 3, 2 + 2 / 3), (2 + 2 / 3, 3), (6.75, 7), (7.25, 8)]


@pytest.mark.parametrize("meter", [(2, 2), (3, 2), (4, 2), (6, 8), (12, 8), (4, 4), (3, 16)])
def test_sixteenths_and_triplets_are_exact_in_every_meter(meter: Meter, tmp_path: Path) -> None:
    data = smf(conductor((0, signature(*meter))), notes(*((a, b, 60) for a, b in GRID)))
    tokens = encode(data, "remi")
    times = {note[2:] for note in written_notes(tokens, "remi", tmp_path / "a.mid")}
    assert times == {(round(start, 6), round(end, 6)) for start, end in GRID}
    (kept,) = symusic.Score(tmp_path / "a.mid").time_signatures
    assert (kept.time, kept.numerator, kept.denominator) == (0, *meter)
    assert tokenizers.read(tmp_path / "a.mid", "remi") == tokens
    clock = REMI.clock()
    for token in tokens:
        clock.advance(token)
    assert clock.position()[0] == pytest.approx(7.25 / meter[0] * meter[1] / 4)
    assert clock.quarters_to(seconds=7.25 / 2) == pytest.approx(0)


def test_changes_of_meter_and_tempo_are_kept(tmp_path: Path) -> None:
    meters = {0: (2, 2), 8: (4, 4), 16: (2, 2), 24: (6, 4), 30: (3, 2)}
    tempos = {0: 90, 24: 187, 36: 60}
    events = [(quarter, signature(*meter)) for quarter, meter in meters.items()]
    events += [(quarter, tempo(bpm)) for quarter, bpm in tempos.items()]
    tune = notes(*((i / 4, i / 4 + 0.25, 60 + i % 2) for i in range(4 * 42)))
    data = smf(conductor(*sorted(events)), tune)
    tokenizers.write(encode(data, "remi"), tmp_path / "a.mid", "remi")
    file = symusic.Score(tmp_path / "a.mid")
    quarter = file.ticks_per_quarter
    kept = {s.time / quarter: (s.numerator, s.denominator) for s in file.time_signatures}
    assert kept == meters
    assert {t.time / quarter: round(t.qpm) for t in file.tempos} == tempos


@pytest.mark.parametrize(
    ("meters", "tokens", "inexact"),
    [
        ({0: (4, 4), 2: (3, 4)}, {0: (2, 4), 2: (3, 4)}, 1),
        ({0: (4, 4), 6: (3, 4), 9: (4, 4)}, {0: (4, 4), 4: (2, 4), 6: (3, 4), 9: (4, 4)}, 1),
        ({1: (3, 4)}, {0: (1, 4), 1: (3, 4)}, 1),  # a pickup
        ({0: (6, 8), 3: (6, 8), 5: (6, 8)}, {0: (6, 8), 3: (4, 8), 5: (6, 8)}, 1),  # stated again
        ({0: (2, 2), 2: (7, 16), 3.75: (2, 2)}, {0: (1, 2), 2: (7, 16), 3.75: (2, 2)}, 1),
        ({0: (2, 2), 2.75: (4, 4)}, {0: (11, 16), 2.75: (4, 4)}, 1),
        ({0: (4, 4), 8: (4, 4), 12: (3, 4)}, {0: (4, 4), 12: (3, 4)}, 0),
        ({0: (3, 4), 3 + 1 / 480: (4, 4)}, {0: (3, 4), 3: (4, 4)}, 1),  # a tick too late
        ({0: (3, 4), 3 - 1 / 480: (4, 4)}, {0: (3, 4), 3: (4, 4)}, 1),
    ],
)
def test_a_time_signature_inside_a_bar_ends_it_and_is_counted(
    meters: dict[float, Meter], tokens: dict[float, Meter], inexact: int, tmp_path: Path
) -> None:
    events = [(quarter, signature(*meter)) for quarter, meter in meters.items()]
    data = smf(conductor(*events), notes(*((i / 2, i / 2 + 0.5, 60 + i) for i in range(40))))
    assert REMI.count_inexact(midi.read(data)) == inexact
    encoded = encode(data, "remi")
    assert written_notes(encoded, "remi", tmp_path / "a.mid") == pretty_notes(data)
    file = symusic.Score(tmp_path / "a.mid")
    quarter = file.ticks_per_quarter
    kept = {s.time / quarter: (s.numerator, s.denominator) for s in file.time_signatures}
    assert kept == tokens
    downbeats = pretty_midi.PrettyMIDI(io.BytesIO(data)).get_downbeats()
    clock = REMI.clock()
    times = [(clock.advance(token)[1], token) for token in encoded]
    bars = [seconds for seconds, token in times if token == "Bar_None"]
    downbeats = np.unique(downbeats[downbeats <= 9.75].round(2))  # until the last note begins
    assert bars == pytest.approx(downbeats, abs=0.006)


@pytest.mark.parametrize(
    ("meter", "nearest"),
    [((17, 4), (16, 4)), ((6, 32), (3, 16)), ((9, 2), (8, 2)), ((3, 1), (6, 2)), ((3, 4), (3, 4))],
)
def test_a_time_signature_without_a_token_is_the_nearest_and_counted(
    meter: Meter, nearest: Meter, tmp_path: Path
) -> None:
    data = smf(conductor((0, signature(*meter))), notes((0, 1, 60), (9, 10, 60)))
    assert REMI.count_inexact(midi.read(data)) == (meter != nearest)
    times = {note[2:] for note in written_notes(encode(data, "remi"), "remi", tmp_path / "a.mid")}
    assert times == {(0, 1), (9, 10)}
    (kept,) = symusic.Score(tmp_path / "a.mid").time_signatures
    assert (kept.numerator, kept.denominator) == nearest


def test_tempos_out_of_range_are_the_nearest_and_counted(tmp_path: Path) -> None:
    data = band_file((0, tempo(400)), (2, tempo(120.4)), (4, tempo(10)), (99, tempo(999)))
    counts = [tokenizers.get(name).count_inexact(midi.read(data)) for name in tokenizers.ENCODINGS]
    assert counts == [0, 0, 2]
    tokenizers.write(encode(data, "remi"), tmp_path / "a.mid", "remi")
    assert [round(t.qpm) for t in symusic.Score(tmp_path / "a.mid").tempos] == [300, 120, 16]


@BOTH
def test_a_tempo_long_after_the_last_note_adds_no_bars(name: str) -> None:
    late = b"\x00\x90\x3c\x40\x18\x80\x3c\x00\xff\xff\xff\x7f" + tempo(99) + END
    for division in (1, 24, 480):
        assert len(encode(smf(late, division=division), name)) < 20


@BOTH
def test_the_clock_gives_the_time_of_each_note(name: str, tmp_path: Path) -> None:
    # The second tempo begins inside a bar, whose later instruments begin before it again.
    tempos = ((0, tempo(90)), (4.5, tempo(150)), (6, signature(6, 8)), (6, tempo(70)))
    tokens = encode(band_file((0, signature(3, 4)), *tempos), name)
    tokenizers.write(tokens, tmp_path / "a.mid", name)
    file = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    expected = {
        (-1 if part.is_drum else part.program, note.pitch, round(note.start * 50))
        for part in file.instruments
        for note in part.notes
    }
    clock, program, times, bars = tokenizers.get(name).clock(), 0, set(), 0.0
    for token in tokens:
        clock.advance(token)
        kind, _, value = token.partition("_")
        program = int(value) if kind == "Program" else program
        if kind.startswith("Pitch"):
            bars = max(bars, clock.position()[0])
            seconds = [x for *key, x in expected if key == [program, int(value)]]
            times |= {(program, int(value), x) for x in seconds if is_now(clock, x / 50)}
    assert times == expected
    # Bars of 3/4 and 6/8 have three quarters each; `tsd` counts bars of four.
    assert bars == pytest.approx(10.25 / (4 if name == "tsd" else 3), abs=0.001)


def is_now(clock: Clock, seconds: float) -> bool:
    """Tell whether so many seconds from the beginning are the time of the next note."""
    return abs(clock.quarters_to(seconds=seconds)) < 0.05


def test_a_fixed_tempo_overrides_that_of_the_tokens() -> None:
    tokens = encode(band_file((0, tempo(90))), "remi")
    clock = REMI.clock(60)
    assert [clock.advance(token) for token in tokens][-1] == (2, 8)  # its last bar
    assert clock.quarter == 9  # the saxophone's last note
    assert clock.quarters_to(seconds=8.5) == -0.5


@BOTH
@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8), (2, 2)])
def test_the_position_of_a_clock_is_that_of_the_next_note(name: str, meter: Meter) -> None:
    tune = [(i * 0.75, i * 0.75 + 0.5, 60 + i) for i in range(20)]
    tokens = encode(smf(conductor((0, signature(*meter))), notes(*tune)), name)
    clock, bar = tokenizers.get(name).clock(), 4 * meter[0] / meter[1] if name == "remi" else 4.0
    beat = 4 / meter[1] if name == "remi" and meter[1] != 2 else 1.0  # halves count as quarters
    positions = []
    for token in tokens:
        if token.startswith("Pitch"):
            positions.append(clock.position())
        clock.advance(token)
    quarters = np.array([start for start, _, _ in tune])
    expected = np.stack([quarters / bar, quarters % bar / beat], axis=1)
    assert np.array(positions) == pytest.approx(expected)


@BOTH
@pytest.mark.parametrize("meter", [(3, 4), (5, 8), (4, 4)])
@pytest.mark.parametrize("last", [1, 0.5, 2])  # beats of the last note: to the bar line or over it
@pytest.mark.parametrize("extra", [0, 1])  # beats of the primer in a third bar
def test_new_music_is_measured_from_its_first_note(
    name: str, meter: Meter, last: float, extra: int
) -> None:
    beats, beat = meter[0], 4 / meter[1]
    count = 2 * beats + extra
    old = [(i * beat, (i + (last if i == count - 1 else 1)) * beat, 60 + i) for i in range(count)]
    new = [(i * beat, (i + 1) * beat, 40 + i) for i in range(count, count + 5 * beats)]
    head = conductor((0, signature(*meter)), (0, tempo(120)))
    encoding, primer = tokenizers.get(name), encode(smf(head, notes(*old)), name)
    tokens = encode(smf(head, notes(*old, *new)), name)
    assert tokens[: len(primer)] == primer

    def first(amount: float, unit: str) -> tuple[list[str], float]:
        """Return new tokens that hold the first bars or seconds, and the rest after the last."""
        clock, index = encoding.clock(None, primer), ("bars", "seconds").index(unit)
        fresh = tokens[len(primer) :]
        kept = list(takewhile(lambda token: clock.advance(token)[index] < amount, fresh))
        clock = encoding.clock(None, primer)
        for token in kept:
            clock.advance(token)
        return kept, clock.quarters_to(**{unit: amount})

    def cut(tokens: list[str], rest: float) -> list[TimedNote]:
        """Return the notes before the rest after the last token is over."""
        clock = encoding.clock()
        for token in tokens:
            clock.advance(token)
        notes = encoding.timed_notes(tokens)
        return [note for note in notes if note.start < clock.quarter + rest - 1e-6]

    # Two bars, whose first may lack the beats of the primer; without bars, 4/4.
    expected = round(8 / beat) if name == "tsd" else 2 * beats - extra
    seconds = round(6 / beat)
    for (kept, rest), count_ in ((first(2, "bars"), expected), (first(3, "seconds"), seconds)):
        alone = cut(encoding.with_header(kept, primer), rest)
        assert alone[0].start == pytest.approx(extra * beat if name == "remi" else 0)
        assert [note.pitch for note in alone] == [pitch for _, _, pitch in new[:count_]]
        after = cut([*primer, *kept], rest)[count:]
        assert [(n.start, n.pitch) for n in after] == [(a, pitch) for a, _, pitch in new[:count_]]


@pytest.mark.parametrize(
    ("meters", "known", "expected"),
    [
        ([(7, 8)], ["TimeSig_3/4", "TimeSig_4/4"], "TimeSig_3/4"),  # the smaller of equally near
        ([(5, 4)], ["TimeSig_4/4", "TimeSig_3/4"], "TimeSig_4/4"),
        ([(6, 8)], ["TimeSig_3/4", "TimeSig_4/4"], "TimeSig_3/4"),
        ([(4, 4), (7, 8)], ["TimeSig_4/4"], "TimeSig_4/4"),
        ([(7, 8)], ["TimeSig_3/4 Position_0", "TimeSig_4/4 Position_0"], "TimeSig_3/4"),  # merged
    ],
)
def test_notes_in_an_unknown_meter_keep_their_time_in_a_known_one(
    meters: list[Meter], known: list[str], expected: str
) -> None:
    tune = [(i * 0.5, i * 0.5 + 0.5, 60 + i % 12) for i in range(42)]
    head = conductor(*((8.0 * i, signature(*meter)) for i, meter in enumerate(meters)))
    tokens = encode(smf(head, notes(*tune)), "remi")
    changed = REMI.change_meter(tokens, known)
    assert {token for token in changed if token.startswith("TimeSig")} == {expected}
    assert REMI.timed_notes(changed) == REMI.timed_notes(tokens)
    assert changed.count("Bar_None") == np.ceil(21 / (4 if expected == "TimeSig_4/4" else 3))
    assert REMI.change_meter(changed, known) == changed
    assert REMI.change_meter(tokens, ["Bar_None"]) == tokens  # no meter is known
    assert TSD.change_meter(NOTE, known) == [*NOTE]
