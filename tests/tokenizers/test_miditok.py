"""The encodings tsd and remi: what a band plays, there and back, held against other readers."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import miditok
import mido
import music21
import numpy as np
import pretty_midi
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_bytes import END, notes, smf, timed

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.tokenizers import miditok as band
from midilstm.tokenizers.meter import parts
from midilstm.tokenizers.vocabulary import KEYS, Vocabulary

NAMES = ("tsd", "remi")
BOTH = pytest.mark.parametrize("name", NAMES)
TSD, REMI = map(encodings.get, NAMES)
# Swing, a triplet, sixteenths, a tie over the bar line, a held chord: (start, end, pitch).
SWING = [(i + shift, i + shift + Fraction(1, 3), 60 + i) for i in range(8) for shift in (0, 2 / 3)]
SAX = [*SWING, (8, 8 + 1 / 3, 72), (8 + 1 / 3, 8 + 2 / 3, 74), (8 + 2 / 3, 9, 76), (9, 9.25, 77)]
BASS = [(i, i + 1, 36 + i) for i in range(7)] + [(7, 9.5, 40), (10, 20, 28), (10, 20, 40)]
PIANO = [(i + 0.25, i + 0.75, pitch) for i in range(0, 12, 2) for pitch in (60, 64, 67)]
DRUMS = [(i / 2, i / 2 + 0.25, 42) for i in range(20)] + [(i, i + 0.25, 36) for i in range(10)]
PARTS: dict[int, list[Any]] = {65: SAX, 32: BASS, 0: PIANO, midi.DRUMS: DRUMS}


def conductor(*events: tuple[float, bytes]) -> bytes:
    return timed((round(quarter * 480), data) for quarter, data in events) + END


def signature(beats: int, unit: int) -> bytes:
    return bytes([0xFF, 0x58, 4, beats, unit.bit_length() - 1, 24, 8])


def tempo(bpm: float) -> bytes:
    return b"\xff\x51\x03" + round(60_000_000 / bpm).to_bytes(3)


def band_file(*events: tuple[float, bytes]) -> bytes:
    """Return a file of four parts, each on its own track and channel."""
    channels = {65: 0, 32: 1, 0: 2, midi.DRUMS: 9}
    tracks = [
        notes(
            *[(float(a), float(b), pitch) for a, b, pitch in part],
            channel=channels[program],
            start=b"" if program == midi.DRUMS else bytes([0, 0xC0 | channels[program], program]),
        )
        for program, part in PARTS.items()
    ]
    return smf(conductor(*events), *tracks)


def heard_by_pretty_midi(path: Path) -> set[tuple[int, int, float, float]]:
    """Return (program, pitch, start, end) of every note, in quarters of a constant tempo."""
    file = pretty_midi.PrettyMIDI(str(path))

    def quarters(seconds: float) -> float:
        return round(file.time_to_tick(seconds) / file.resolution, 6)

    return {
        (
            midi.DRUMS if part.is_drum else part.program,
            note.pitch,
            quarters(note.start),
            quarters(note.end),
        )
        for part in file.instruments
        for note in part.notes
    }


def encode(data: bytes, name: str) -> list[str]:
    return encodings.get(name).encode(midi.read(data))


def tokenizer(name: str) -> miditok.MusicTokenizer:
    encoding = encodings.get(name)
    assert isinstance(encoding, band.MidiTokEncoding)
    return encoding.tokenizer


def bundled() -> list[Path]:
    """Return the MIDI files that come inside the music21 package."""
    return sorted(Path(music21.__file__).parent.rglob("*.mid"))


@BOTH
def test_a_band_comes_back_with_every_note_instrument_and_length(name: str, tmp_path: Path) -> None:
    tokens = encode(band_file(), name)
    assert encodings.write(tokens, tmp_path / "again.mid", name) == 0
    expected = {
        (program, pitch, round(float(start), 6), round(float(end), 6))
        for program, part in PARTS.items()
        for start, end, pitch in part
    }
    assert heard_by_pretty_midi(tmp_path / "again.mid") == expected
    assert {
        (note.program, note.pitch, round(note.start, 6), round(note.start + note.length, 6))
        for note in encodings.get(name).timed_notes(tokens)
    } == expected


@BOTH
def test_drums_alone_are_a_piece(name: str, tmp_path: Path) -> None:
    tokens = encode(smf(notes(*DRUMS, channel=9)), name)
    encodings.write(tokens, tmp_path / "drums.mid", name)
    assert {note[0] for note in heard_by_pretty_midi(tmp_path / "drums.mid")} == {midi.DRUMS}


@BOTH
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_notes_are_those_that_miditok_reads(name: str, path: Path) -> None:
    # Lengths may differ where notes of one pitch overlap, or a pedal holds them (midi.py).
    encoding = encodings.get(name)
    theirs = encoding.timed_notes(tokenizer(name).encode(symusic.Score(path)).tokens)
    ours = encoding.timed_notes(encodings.read(path, name))
    assert Counter(note[::2] for note in ours) == Counter(note[::2] for note in theirs)


def test_remi_keeps_tempos_and_time_signatures(tmp_path: Path) -> None:
    events = (
        (0, signature(3, 4)),
        (0, tempo(90)),
        (6, signature(6, 8)),
        (6, tempo(187)),
        (9, tempo(60)),
    )
    data = band_file(*events)
    encodings.write(encode(data, "remi"), tmp_path / "a.mid", "remi")
    file = symusic.Score(tmp_path / "a.mid")
    quarter = file.ticks_per_quarter
    assert [(t.time / quarter, t.numerator, t.denominator) for t in file.time_signatures] == [
        (0, 3, 4),
        (6, 6, 8),
    ]
    assert [(t.time / quarter, round(t.qpm)) for t in file.tempos] == [(0, 90), (6, 187), (9, 60)]


# Straight and dotted sixteenths, and triplets, in two bars of each meter: (start, end).
GRID = [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.5), (1.5, 1.75), (2, 2 + 1 / 3)]
GRID += [(2 + 1 / 3, 2 + 2 / 3), (2 + 2 / 3, 3), (6.75, 7), (7.25, 8)]


@pytest.mark.parametrize("meter", [(2, 2), (3, 2), (4, 2), (6, 8), (12, 8), (4, 4), (3, 16)])
def test_sixteenths_and_triplets_are_exact_in_every_meter(
    meter: tuple[int, int], tmp_path: Path
) -> None:
    data = smf(conductor((0, signature(*meter))), notes(*((a, b, 60) for a, b in GRID)))
    tokens = encode(data, "remi")
    encodings.write(tokens, tmp_path / "a.mid", "remi")
    found = {note[2:] for note in heard_by_pretty_midi(tmp_path / "a.mid")}
    assert found == {(round(start, 6), round(end, 6)) for start, end in GRID}
    (kept,) = symusic.Score(tmp_path / "a.mid").time_signatures
    assert (kept.time, kept.numerator, kept.denominator) == (0, *meter)
    assert encodings.read(tmp_path / "a.mid", "remi") == tokens
    clock = REMI.clock()
    told = [clock.advance(token) for token in tokens]
    assert told[-1] == pytest.approx((7.25 / meter[0] * meter[1] / 4, 7.25 / 2))


def test_halves_and_quarters_that_count_alike_keep_their_names(tmp_path: Path) -> None:
    meters = {0: (2, 2), 8: (4, 4), 16: (2, 2), 24: (6, 4), 30: (3, 2)}
    events = [(quarter, signature(*meter)) for quarter, meter in meters.items()]
    played = notes(*((i / 4, i / 4 + 0.25, 60 + i % 2) for i in range(4 * 42)))
    encodings.write(encode(smf(conductor(*events), played), "remi"), tmp_path / "a.mid", "remi")
    file = symusic.Score(tmp_path / "a.mid")
    found = {s.time // file.ticks_per_quarter: s for s in file.time_signatures}
    assert {place: (s.numerator, s.denominator) for place, s in found.items()} == meters


@pytest.mark.parametrize(
    ("meter", "nearest"),
    [((17, 4), (16, 4)), ((6, 32), (3, 16)), ((9, 2), (8, 2)), ((3, 1), (6, 2)), ((3, 4), (3, 4))],
)
def test_a_time_signature_without_a_token_is_the_nearest_and_counted(
    meter: tuple[int, int], nearest: tuple[int, int], tmp_path: Path
) -> None:
    data = smf(conductor((0, signature(*meter))), notes((0, 1, 60), (9, 10, 60)))
    assert REMI.count_inexact(midi.read(data)) == (meter != nearest)
    encodings.write(encode(data, "remi"), tmp_path / "a.mid", "remi")
    (kept,) = symusic.Score(tmp_path / "a.mid").time_signatures
    assert (kept.numerator, kept.denominator) == nearest
    assert {note[2:] for note in heard_by_pretty_midi(tmp_path / "a.mid")} == {(0, 1), (9, 10)}


def test_tempos_out_of_reach_are_the_nearest_and_counted(tmp_path: Path) -> None:
    data = band_file((0, tempo(400)), (2, tempo(120.4)), (4, tempo(10)), (99, tempo(999)))
    song = midi.read(data)
    assert [encodings.get(name).count_inexact(song) for name in encodings.ENCODINGS] == [0, 0, 2]
    encodings.write(encode(data, "remi"), tmp_path / "a.mid", "remi")
    tempos = symusic.Score(tmp_path / "a.mid").tempos
    assert [round(found.qpm) for found in tempos] == [300, 120, 16]


def test_a_tempo_and_an_instrument_asked_for_override_the_tokens(tmp_path: Path) -> None:
    tokens = encode(band_file((0, tempo(90))), "remi")
    encodings.write(tokens, tmp_path / "a.mid", "remi", bpm=200, instrument=11)
    file = symusic.Score(tmp_path / "a.mid")
    assert [round(t.qpm) for t in file.tempos] == [200]
    assert {(track.program, track.is_drum) for track in file.tracks} == {(11, False), (0, True)}
    encodings.write(encode(band_file(), "tsd"), tmp_path / "b.mid", "tsd")
    assert [t.qpm for t in symusic.Score(tmp_path / "b.mid").tempos] == [120]


def test_velocities_are_kept_within_half_a_step(tmp_path: Path) -> None:
    loud = timed(
        event
        for i in range(1, 128)
        for event in ((i * 480, bytes([0x90, 60, i])), (i * 480 + 240, b"\x80\x3c\0"))
    )
    encodings.write(encode(smf(loud + END), "tsd"), tmp_path / "a.mid", "tsd")
    found = [note.velocity for note in symusic.Score(tmp_path / "a.mid").tracks[0].notes]
    assert max(abs(a - b) for a, b in zip(range(1, 128), found, strict=True)) <= 7  # none is silent
    assert np.mean(np.abs(np.arange(8, 128) - found[7:])) < 2.5


def test_a_note_struck_again_ends_there(tmp_path: Path) -> None:
    tokens = ["Program_0", "Pitch_60", "Velocity_79", "Duration_4.0.12", "TimeShift_1.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_1.0.12"]
    encodings.write(tokens, tmp_path / "a.mid", "tsd")
    assert heard_by_pretty_midi(tmp_path / "a.mid") == {(0, 60, 0, 1), (0, 60, 1, 2)}


# The grammar.


@BOTH
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_the_grammar_allows_all_real_music(name: str, path: Path) -> None:
    tokens = encodings.read(path, name)
    encoding = encodings.get(name)
    state = encoding.start_state
    for token in [*tokens, ""]:
        state = encoding.next_state(state, token)
        assert state is not None
    assert encoding.drop_invalid(tokens) == tokens


def some_tokens(name: str) -> list[str]:
    """Return a small vocabulary of every kind of token."""
    every = set(encode(band_file((0, signature(4, 4)), (4, tempo(99))), name))
    return sorted({*every, *(["TimeSig_3/4", "TimeSig_6/8"] if name == "remi" else [])})


WALKS = st.tuples(st.sampled_from(NAMES), st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None)
@given(WALKS)
def test_whatever_the_grammar_allows_is_music_to_miditok(walk: tuple[str, int]) -> None:
    name, seed = walk
    encoding, vocabulary = encodings.get(name), some_tokens(name)
    rng, tokens, state = np.random.default_rng(seed), list[str](), encoding.start_state
    while len(tokens) < 200 or encoding.next_state(state, "") is None:
        ways = [(token, encoding.next_state(state, token)) for token in vocabulary]
        ways = [(token, after) for token, after in ways if after is not None]
        assert ways  # there is always a way on
        token, state = ways[rng.integers(len(ways))]
        tokens.append(token)
    assert encoding.drop_invalid(tokens) == tokens
    # MidiTok's graph lacks what sounds odd alone: an empty bar without a time signature.
    graph = tokenizer(name).tokens_types_graph
    strict = {pair for pair in pairwise(map(kind, tokens)) if pair[1] not in graph[pair[0]]}
    assert strict <= {("Bar", "Bar"), ("Bar", "Position"), ("TimeSig", "Bar")}


def kind(token: str) -> str:
    return parts(token)[0]


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_random_tokens_are_repaired_into_music_and_the_rest_is_counted(
    name: str, seed: int, tmp_path: Path
) -> None:
    rng, strays = np.random.default_rng(seed), some_tokens(name)
    tokens: list[str] = []
    for token in encode(band_file((0, signature(4, 4)), (4, tempo(99))), name):
        fate = rng.random()
        tokens += [token] if fate < 0.9 else []  # the others are lost
        tokens += [str(rng.choice(strays))] if fate > 0.85 else []
    kept = encodings.get(name).drop_invalid(tokens)
    assert encodings.get(name).drop_invalid(kept) == kept
    assert encodings.write(tokens, tmp_path / "a.mid", name) == len(tokens) - len(kept) > 0
    sounding = sum(kind(token) == "Duration" for token in kept)
    assert len(encodings.get(name).timed_notes(tokens)) == sounding > 0
    file = mido.MidiFile(tmp_path / "a.mid")
    body_state = [m for track in file.tracks for m in track if m.type == "note_on" and m.velocity]
    assert len(body_state) == sounding


NOTE = ["Pitch_60", "Velocity_79", "Duration_1.0.12"]


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (["Program_0", *NOTE, "Duration_1.0.12"], ["Program_0", *NOTE]),  # a stray length
        (["Program_0", "Pitch_50", *NOTE], ["Program_0", *NOTE]),  # a pitch without a length
        (["Program_0", *NOTE, "Pitch_62", "Velocity_79"], ["Program_0", *NOTE]),  # cut short
        (["Program_0", *NOTE, "Program_7"], ["Program_0", *NOTE]),  # an instrument says nothing
        (["Program_7", "Program_0", *NOTE], ["Program_0", *NOTE]),
        (NOTE, NOTE),  # for piano, where no instrument is named
        (["Program_-1", *NOTE], NOTE),  # a pitch is no drum
        (["Velocity_79", "Duration_1.0.12"], []),
        (["Program_0", *NOTE[1:], *NOTE], ["Program_0", *NOTE]),  # a note without its pitch
    ],
)
def test_each_repair(tokens: list[str], kept: list[str]) -> None:
    assert TSD.drop_invalid(tokens) == kept


@pytest.mark.parametrize("token", ["C4", "Pitch_200", "Duration_9.5.12", "<end>"])
@BOTH
def test_an_unknown_token_is_refused(name: str, token: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"is not a token of {name}"):
        encodings.write([token], tmp_path / "a.mid", name)
    assert not list(tmp_path.iterdir())


# Transposing, likeness, time.


@BOTH
@pytest.mark.parametrize("semitones", [-6, -1, 5])
def test_transposed_tokens_are_those_of_transposed_music_and_drums_stay(
    name: str, semitones: int
) -> None:
    moved = band_file()
    there = encode(moved, name)
    found = [encodings.get(name).transpose(token, semitones) for token in there]
    expected = {
        note._replace(pitch=note.pitch + (semitones if note.program != midi.DRUMS else 0))
        for note in encodings.get(name).timed_notes(there)
    }
    assert set(encodings.get(name).timed_notes(found)) == expected


def test_every_key_is_in_the_closed_vocabulary() -> None:
    tokens = encode(band_file(), "tsd")
    closed = Vocabulary(("<end>", *sorted(set(tokens))), "tsd").transposition_closure()
    heard = [closed.token_ids[token] for token in tokens]
    assert all((closed.transposed(k)[heard] < len(closed)).all() for k in KEYS)
    drums = [i for i, token in enumerate(closed.tokens) if not token.startswith("Pitch_")]
    assert all((closed.transposed(k)[drums] == drums).all() for k in KEYS)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Pitch_61", "Pitch_73"),
        ("Pitch_65", "Pitch_64"),
        ("Duration_0.5.12", "Duration_0.6.12"),
        ("Velocity_127", "Velocity_95"),
        ("Program_1", "Program_4"),
        ("Program_9", "Program_4"),
        ("Program_-1", None),
        ("Program_29", "Program_30"),  # of its family, though 28 of another were as near
        ("PitchDrum_35", None),
        ("TimeSig_3/4", None),
    ],
)
def test_an_unknown_token_is_heard_as_the_nearest(token: str, expected: str | None) -> None:
    known = ["Pitch_64", "Pitch_73", "Duration_0.6.12", "Duration_4.0.12", "Velocity_31"]
    known += ["Velocity_95", "Program_4", "Program_30", "TimeSig_4/4"]
    assert REMI.nearest(token, known) == expected


@pytest.mark.parametrize(
    ("program", "known", "expected"),
    [
        (0, (-1, 32, 40), 32),
        (0, (-1, 40), 40),
        (3, (-1, 8, 0), 0),
        (7, (8, 1), 1),
        (0, (-1,), None),
    ],
)
def test_a_pitched_instrument_is_heard_as_a_pitched_one_of_its_family_first(
    program: int, known: tuple[int, ...], expected: int | None
) -> None:
    found = TSD.nearest(f"Program_{program}", [f"Program_{number}" for number in known])
    assert found == (None if expected is None else f"Program_{expected}")


@BOTH
def test_the_clock_says_when_each_note_is_heard(name: str, tmp_path: Path) -> None:
    data = band_file((0, signature(3, 4)), (0, tempo(90)), (6, signature(6, 8)), (6, tempo(150)))
    tokens = encode(data, name)
    encodings.write(tokens, tmp_path / "a.mid", name)
    clock, told = encodings.get(name).clock(), []
    for token in tokens:
        bars, seconds = clock.advance(token)
        if kind(token) == "Duration":
            told.append((round(seconds, 3), round(bars, 3)))
    file = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    heard = sorted(round(note.start, 3) for part in file.instruments for note in part.notes)
    assert [seconds for seconds, _ in told] == pytest.approx(heard, abs=0.002)
    last = 20 / 4 if name == "tsd" else 20 / 3  # two bars of 3/4 and 6/8 are three quarters each
    assert told[-1][1] == pytest.approx(10.25 / 20 * last, abs=0.001)


def test_a_tempo_asked_for_sets_the_clock() -> None:
    tokens = encode(band_file((0, tempo(90))), "remi")
    clock = REMI.clock(60)
    assert [clock.advance(token) for token in tokens][-1][1] == 10.25  # the last note begins


def test_the_cache_knows_miditoks_version() -> None:
    assert "miditok-" in TSD.version


def test_what_is_written_is_a_file_for_mido(tmp_path: Path) -> None:
    encodings.write(encode(band_file(), "remi"), tmp_path / "a.mid", "remi")
    channels = {
        message.channel
        for track in mido.MidiFile(tmp_path / "a.mid").tracks
        for message in track
        if message.type == "note_on"
    }
    assert len(channels) == 4
    assert 9 in channels


@BOTH
def test_a_tempo_long_after_the_last_note_adds_no_bars(name: str) -> None:
    late = b"\x00\x90\x3c\x40\x18\x80\x3c\x00\xff\xff\xff\x7f" + tempo(99) + END
    for division in (1, 24, 480):
        assert len(encode(smf(late, division=division), name)) < 20


def heard_by_a_player(path: Path) -> list[tuple[int, int]]:
    """Return (program, pitch) of each note in order of time: channels are shared by all tracks."""
    programs, found = [0] * 16, []
    for message in mido.merge_tracks(mido.MidiFile(path).tracks):
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            found.append((programs[message.channel], message.note))
    return found


@pytest.mark.parametrize("count", [15, 20])
def test_more_instruments_than_channels_do_not_take_each_others(count: int, tmp_path: Path) -> None:
    tokens = []
    for program in range(count):
        often = 1 + (program < 15)  # the first fifteen play two notes each
        note = [f"Pitch_{40 + program}", "Velocity_79", "Duration_1.0.12", "TimeShift_1.0.12"]
        tokens += [f"Program_{program * 5}", *note * often]
    encodings.write(tokens, tmp_path / "a.mid", "tsd")
    expected = [(p * 5, 40 + p) for p in range(15) for _ in range(2)]
    found = heard_by_a_player(tmp_path / "a.mid")
    assert found[:30] == expected
    assert {program for program, _ in found} == {p * 5 for p in range(min(count, 15))}
    assert [pitch for _, pitch in found[30:]] == list(range(55, 40 + count))


def test_notes_struck_together_end_where_the_pitch_is_struck_again(tmp_path: Path) -> None:
    tokens = ["Program_0", "Pitch_60", "Velocity_79", "Duration_4.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_6.0.12", "TimeShift_2.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_6.0.12"]
    encodings.write(tokens, tmp_path / "a.mid", "tsd")
    found = sorted(note[:2] for note in TSD.timed_notes(tokens))
    assert found == [(0, 2), (0, 2), (2, 6)]
    assert heard_by_pretty_midi(tmp_path / "a.mid") == {(0, 60, 0, 2), (0, 60, 2, 8)}


@pytest.mark.parametrize("tokens", [["Bar_None"], ["Bar_None", "TimeSig_3/4", "Position_1"]])
def test_tokens_without_a_note_are_no_file(tokens: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no note in these"):
        encodings.write(tokens, tmp_path / "a.mid", "remi")
    assert not list(tmp_path.iterdir())


PRIMER = ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_60.0", "Program_5", *NOTE]
PRIMER += ["Bar_None", "TimeSig_3/4", "Position_24", *NOTE]


@BOTH
@pytest.mark.parametrize("meter", [(3, 4), (5, 8), (4, 4)])
@pytest.mark.parametrize("held", [1, 0.5, 2])  # to the bar line, before it, over it
@pytest.mark.parametrize("extra", [0, 1])  # beats of the primer in a third bar
def test_new_music_begins_with_its_first_note(
    name: str, meter: tuple[int, int], held: float, extra: int
) -> None:
    beats, beat = meter[0], 4 / meter[1]
    count = 2 * beats + extra
    old = [(i * beat, (i + (held if i == count - 1 else 1)) * beat, 60 + i) for i in range(count)]
    new = [(i * beat, (i + 1) * beat, 40 + i) for i in range(count, count + 5 * beats)]
    head = conductor((0, signature(*meter)), (0, tempo(120)))
    encoding, primer = encodings.get(name), encode(smf(head, notes(*old)), name)
    every = encode(smf(head, notes(*old, *new)), name)
    assert every[: len(primer)] == primer
    fresh = every[len(primer) :]

    def kept(amount: float, unit: int) -> list[str]:
        clock = encoding.clock(None, primer)
        return list(takewhile(lambda token: clock.advance(token)[unit] < amount, fresh))

    # Two bars, of which the first may lack what the primer has of it; without bars, 4/4.
    expected = round(8 / beat) if name == "tsd" else 2 * beats - extra
    for tokens, count_ in ((kept(2, 0), expected), (kept(3, 1), round(6 / beat))):
        alone = encoding.timed_notes(encoding.with_header(tokens, primer))
        assert alone[0].start == pytest.approx(extra * beat if name == "remi" else 0)
        assert [note.pitch for note in alone] == [pitch for _, _, pitch in new[:count_]]
        after = encoding.timed_notes([*primer, *tokens])[count:]
        assert [(n.start, n.pitch) for n in after] == [(a, pitch) for a, _, pitch in new[:count_]]


def test_what_goes_on_from_a_primer_has_its_place_tempo_and_instrument(tmp_path: Path) -> None:
    new = [*NOTE, "Bar_None", "TimeSig_3/4", "Position_12", *NOTE]
    assert encodings.write(REMI.with_header(new, PRIMER), tmp_path / "a.mid", "remi") == 0
    file = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    assert [(part.program, len(part.notes)) for part in file.instruments] == [(5, 2)]
    assert [round(note.start, 3) for note in file.instruments[0].notes] == [2, 4]
    tsd = TSD.with_header(NOTE, ["Program_-1", "PitchDrum_36", *NOTE[1:]])
    assert tsd == ["Program_-1", *NOTE]  # the model went from drums to a pitch without a word
    assert TSD.with_header(["Program_7", *NOTE], PRIMER) == ["Program_7", *NOTE]


def test_a_token_sounds_pitch_classes_and_instruments_and_says_who_plays_unnamed() -> None:
    assert REMI.content("Pitch_61") == ({1}, (), True)
    assert REMI.content("Program_33") == ((set()), (33,), False)
    merged = "PitchDrum_36 Velocity_63 Duration_0.6.12 Program_33"
    assert TSD.content(merged) == (set(), (33,), True)
    assert TSD.content("Program_-1 PitchDrum_36") == (set(), (-1,), False)
    assert TSD.content("TimeShift_1.0.12") == (set(), (), False)


@BOTH
@pytest.mark.parametrize(("beats", "unit"), [(4, 4), (3, 4), (6, 8), (2, 2)])
def test_a_clocks_place_is_where_the_next_note_is_played(name: str, beats: int, unit: int) -> None:
    encoding = encodings.get(name)
    tune = [(i * 0.75, i * 0.75 + 0.5, 60 + i) for i in range(20)]
    file = smf(conductor((0, signature(beats, unit))), notes(*tune))
    tokens = encoding.encode(midi.read(file))
    clock, bar = encoding.clock(), 4 * beats / unit if name == "remi" else 4.0
    beat = 4 / unit if name == "remi" and unit != 2 else 1.0  # halves are counted in quarters
    places = []
    for token in tokens:
        if token.startswith("Pitch"):
            places.append(clock.position())
        clock.advance(token)
    quarters = [start for start, _, _ in tune]
    assert [bars for bars, _ in places] == pytest.approx([start / bar for start in quarters])
    assert [at for _, at in places] == pytest.approx([start % bar / beat for start in quarters])


@pytest.mark.parametrize(
    ("meters", "known", "heard"),
    [
        ([(7, 8)], ["TimeSig_3/4", "TimeSig_4/4"], "TimeSig_3/4"),  # of two as near the smaller
        ([(5, 4)], ["TimeSig_4/4", "TimeSig_3/4"], "TimeSig_4/4"),
        ([(6, 8)], ["TimeSig_3/4", "TimeSig_4/4"], "TimeSig_3/4"),
        ([(4, 4), (7, 8)], ["TimeSig_4/4"], "TimeSig_4/4"),
    ],
)
def test_notes_in_a_strange_meter_keep_their_time_in_one_that_is_known(
    meters: list[tuple[int, int]], known: list[str], heard: str
) -> None:
    tune = [(i * 0.5, i * 0.5 + 0.5, 60 + i % 12) for i in range(42)]
    said = ((8.0 * number, signature(*meter)) for number, meter in enumerate(meters))
    tokens = REMI.encode(midi.read(smf(conductor(*said), notes(*tune))))
    found = REMI.change_meter(tokens, known)
    assert {token for token in found if token.startswith("TimeSig")} == {heard}
    assert REMI.timed_notes(found) == REMI.timed_notes(tokens)
    bars = found.count("Bar_None")
    assert bars == np.ceil(21 / (4 if heard == "TimeSig_4/4" else 3))
    assert REMI.change_meter(found, known) == found
    assert REMI.change_meter(tokens, ["Bar_None"]) == tokens  # nothing to hear in its place
    assert TSD.change_meter(NOTE, known) == [*NOTE]
