"""The encodings tsd and remi: what a band plays, there and back, held against other readers."""

import io
import time
from collections import Counter
from fractions import Fraction
from itertools import pairwise
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
from test_encoding_malformed import HEAVY, KNOWN, READABLE, REASONS

from midilstm import files
from midilstm.tokens import band, encoding, rules
from midilstm.tokens.vocabulary import KEYS, Vocabulary

BOTH = pytest.mark.parametrize("name", band.NAMES)
# Swing, a triplet, sixteenths, a tie over the bar line, a held chord: (start, end, pitch).
SWING = [(i + shift, i + shift + Fraction(1, 3), 60 + i) for i in range(8) for shift in (0, 2 / 3)]
SAX = [*SWING, (8, 8 + 1 / 3, 72), (8 + 1 / 3, 8 + 2 / 3, 74), (8 + 2 / 3, 9, 76), (9, 9.25, 77)]
BASS = [(i, i + 1, 36 + i) for i in range(7)] + [(7, 9.5, 40), (10, 20, 28), (10, 20, 40)]
PIANO = [(i + 0.25, i + 0.75, pitch) for i in range(0, 12, 2) for pitch in (60, 64, 67)]
DRUMS = [(i / 2, i / 2 + 0.25, 42) for i in range(20)] + [(i, i + 0.25, 36) for i in range(10)]
PARTS: dict[int, list[Any]] = {65: SAX, 32: BASS, 0: PIANO, encoding.DRUMS: DRUMS}


def conductor(*events: tuple[float, bytes]) -> bytes:
    return timed((round(quarter * 480), data) for quarter, data in events) + END


def signature(beats: int, unit: int) -> bytes:
    return bytes([0xFF, 0x58, 4, beats, unit.bit_length() - 1, 24, 8])


def tempo(bpm: float) -> bytes:
    return b"\xff\x51\x03" + round(60_000_000 / bpm).to_bytes(3)


def band_file(*events: tuple[float, bytes]) -> bytes:
    """Return a file of four parts, each on its own track and channel."""
    channels = {65: 0, 32: 1, 0: 2, encoding.DRUMS: 9}
    tracks = [
        notes(
            *[(float(a), float(b), pitch) for a, b, pitch in part],
            channel=channels[program],
            start=b""
            if program == encoding.DRUMS
            else bytes([0, 0xC0 | channels[program], program]),
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
            encoding.DRUMS if part.is_drum else part.program,
            note.pitch,
            quarters(note.start),
            quarters(note.end),
        )
        for part in file.instruments
        for note in part.notes
    }


def bundled() -> list[Path]:
    """Return the MIDI files that come inside the music21 package."""
    return sorted(Path(music21.__file__).parent.rglob("*.mid"))


@BOTH
def test_a_band_comes_back_with_every_note_instrument_and_length(name: str, tmp_path: Path) -> None:
    tokens = list(encoding.read_piece(band_file(), name).tokens)
    assert encoding.write(tokens, tmp_path / "again.mid", name) == 0
    expected = {
        (program, pitch, round(float(start), 6), round(float(end), 6))
        for program, part in PARTS.items()
        for start, end, pitch in part
    }
    assert heard_by_pretty_midi(tmp_path / "again.mid") == expected
    assert {
        (note.program, note.pitch, round(note.start, 6), round(note.start + note.length, 6))
        for note in encoding.played(tokens, name)
    } == expected


@BOTH
def test_a_piece_says_what_it_holds(name: str) -> None:
    piece = encoding.read_piece(band_file(), name)
    assert piece.notes == sum(map(len, PARTS.values()))
    assert piece.quarters == 20
    assert piece.instruments == (
        "Acoustic Bass",
        "Acoustic Grand Piano",
        "Alto Sax",
        "Percussion",
    )


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_a_piece_has_one_fingerprint_in_all_encodings(path: Path) -> None:
    assert len({encoding.read_piece(path, name).fingerprint for name in encoding.ENCODINGS}) == 1


@BOTH
def test_drums_that_are_endless_or_never_end_are_refused(name: str) -> None:
    stroke = b"\x00\x99\x26\x40"
    assert outcome(smf(stroke + END), name) == "hanging notes"
    assert outcome(smf(stroke + b"\xff\xff\xff\x7f\x89\x26\x00" + END), name) == "absurdly long"


@BOTH
def test_drums_alone_are_a_piece(name: str, tmp_path: Path) -> None:
    tokens = list(encoding.read_piece(smf(notes(*DRUMS, channel=9)), name).tokens)
    encoding.write(tokens, tmp_path / "drums.mid", name)
    assert {note[0] for note in heard_by_pretty_midi(tmp_path / "drums.mid")} == {encoding.DRUMS}


@BOTH
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_notes_are_those_of_miditok_and_its_own_reader(name: str, path: Path) -> None:
    # The order of instruments at one time is another: theirs is that of the file's tracks.
    theirs = encoding.played(band.tokenizer(name).encode(symusic.Score(path)).tokens, name)
    ours = encoding.played(encoding.read(path, name), name)
    differences = Counter(ours) - Counter(theirs) + (Counter(theirs) - Counter(ours))
    # Where notes of one pitch overlap, symusic ends the first first, and music21 and we both.
    assert differences.total() <= 0.01 * len(ours)
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
    encoding.write(encoding.read_piece(data, "remi").tokens, tmp_path / "a.mid", "remi")
    file = symusic.Score(tmp_path / "a.mid")
    quarter = file.ticks_per_quarter
    assert [(t.time / quarter, t.numerator, t.denominator) for t in file.time_signatures] == [
        (0, 3, 4),
        (6, 6, 8),
    ]
    assert [(t.time / quarter, round(t.qpm)) for t in file.tempos] == [(0, 90), (6, 187), (9, 60)]


def test_a_tempo_and_an_instrument_asked_for_override_the_tokens(tmp_path: Path) -> None:
    tokens = encoding.read_piece(band_file((0, tempo(90))), "remi").tokens
    encoding.write(tokens, tmp_path / "a.mid", "remi", bpm=200, instrument=11)
    file = symusic.Score(tmp_path / "a.mid")
    assert [round(t.qpm) for t in file.tempos] == [200]
    assert {(track.program, track.is_drum) for track in file.tracks} == {(11, False), (0, True)}
    encoding.write(encoding.read_piece(band_file(), "tsd").tokens, tmp_path / "b.mid", "tsd")
    assert [t.qpm for t in symusic.Score(tmp_path / "b.mid").tempos] == [120]


def test_velocities_are_kept_within_half_a_step(tmp_path: Path) -> None:
    loud = timed(
        event
        for i in range(1, 128)
        for event in ((i * 480, bytes([0x90, 60, i])), (i * 480 + 240, b"\x80\x3c\0"))
    )
    encoding.write(encoding.read_piece(smf(loud + END), "tsd").tokens, tmp_path / "a.mid", "tsd")
    found = [note.velocity for note in symusic.Score(tmp_path / "a.mid").tracks[0].notes]
    assert max(abs(a - b) for a, b in zip(range(1, 128), found, strict=True)) <= 7  # none is silent
    assert np.mean(np.abs(np.arange(8, 128) - found[7:])) < 2.5


def test_a_note_struck_again_ends_there(tmp_path: Path) -> None:
    tokens = ["Program_0", "Pitch_60", "Velocity_79", "Duration_4.0.12", "TimeShift_1.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_1.0.12"]
    encoding.write(tokens, tmp_path / "a.mid", "tsd")
    assert heard_by_pretty_midi(tmp_path / "a.mid") == {(0, 60, 0, 1), (0, 60, 1, 2)}


# The grammar.


@BOTH
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_the_grammar_allows_all_real_music(name: str, path: Path) -> None:
    tokens = encoding.read(path, name)
    state: encoding.State | None = encoding.START
    for token in [*tokens, ""]:
        assert state is not None
        state = encoding.follow(state, token, name)
    assert state is not None
    assert encoding.music(tokens, name) == tokens


def some_tokens(name: str) -> list[str]:
    """Return a small vocabulary of every kind of token."""
    every = set(encoding.read_piece(band_file((0, signature(4, 4)), (4, tempo(99))), name).tokens)
    return sorted({*every, *(["TimeSig_3/4", "TimeSig_6/8"] if name == "remi" else [])})


WALKS = st.tuples(st.sampled_from(band.NAMES), st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None)
@given(WALKS)
def test_whatever_the_grammar_allows_is_music_to_miditok(walk: tuple[str, int]) -> None:
    name, seed = walk
    rng, tokens, state = np.random.default_rng(seed), list[str](), encoding.START
    vocabulary = some_tokens(name)
    while len(tokens) < 200 or encoding.follow(state, "", name) is None:
        allowed = [
            (token, after)
            for token in vocabulary
            if (after := encoding.follow(state, token, name)) is not None
        ]
        assert allowed  # there is always a way on
        token, state = allowed[rng.integers(len(allowed))]
        tokens.append(token)
    assert encoding.music(tokens, name) == tokens
    wrong = band.tokenizer(name).tokens_errors(miditok.TokSequence(tokens=tokens))
    # MidiTok also counts what only sounds odd: an empty bar without a time signature, a note of
    # one pitch struck while it sounds. Neither is of a kind that may not follow.
    graph = band.tokenizer(name).tokens_types_graph
    strict = [pair for pair in pairwise(map(kind, tokens)) if pair[1] not in graph[pair[0]]]
    assert not strict or {*strict} <= {("Bar", "Bar"), ("Bar", "Position"), ("TimeSig", "Bar")}
    assert 0 <= wrong < 1


def kind(token: str) -> str:
    return rules.parts(token)[0]


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_a_row_of_the_grammar_says_what_it_says_of_each_token(name: str, seed: int) -> None:
    rng, single = np.random.default_rng(seed), some_tokens(name)
    # Real runs, and runs that may not stand anywhere.
    real = encoding.read_piece(band_file((0, signature(4, 4)), (4, tempo(99))), name).tokens
    starts = rng.integers(len(real) - 6, size=150)
    runs = [real[i : i + rng.integers(2, 7)] for i in starts]
    runs += [rng.choice(single, rng.integers(2, 4)).tolist() for _ in range(150)]
    tokens = ["", *single, *{" ".join(run) for run in runs}]
    allowed = encoding.allowed(tokens, name)
    assert allowed is not None
    state, found = encoding.START, set[bool]()
    for _ in range(300):
        after = [encoding.follow(state, token, name) for token in tokens]
        assert allowed(state).tolist() == [to is not None for to in after]
        ways = [to for to in after[1:] if to is not None]
        found |= {to is not None for to in after}
        state = ways[rng.integers(len(ways))]
    assert found == {True, False}


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_random_tokens_are_repaired_into_music_and_the_rest_is_counted(
    name: str, seed: int, tmp_path: Path
) -> None:
    rng, strays = np.random.default_rng(seed), some_tokens(name)
    tokens: list[str] = []
    for token in encoding.read_piece(band_file((0, signature(4, 4)), (4, tempo(99))), name).tokens:
        fate = rng.random()
        tokens += [token] if fate < 0.9 else []  # the others are lost
        tokens += [str(rng.choice(strays))] if fate > 0.85 else []
    kept = encoding.music(tokens, name)
    assert encoding.music(kept, name) == kept
    assert encoding.write(tokens, tmp_path / "a.mid", name) == len(tokens) - len(kept) > 0
    sounding = sum(kind(token) == "Duration" for token in kept)
    assert len(encoding.played(tokens, name)) == sounding > 0
    file = mido.MidiFile(tmp_path / "a.mid")
    begun = [m for track in file.tracks for m in track if m.type == "note_on" and m.velocity]
    assert len(begun) == sounding


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
    ],
)
def test_each_repair(tokens: list[str], kept: list[str]) -> None:
    assert encoding.music(tokens, "tsd") == kept


def test_positions_may_not_run_back_or_out_of_their_bar() -> None:
    begin = ["Bar_None", "TimeSig_3/4", "Position_30", "Program_0", *NOTE]
    assert encoding.music([*begin, "Position_12", *NOTE], "remi") == [*begin, *NOTE]
    assert encoding.music([*begin, "Position_36", *NOTE], "remi") == [*begin, *NOTE]
    later = [*begin, "Position_35", *NOTE, "Bar_None", "Position_0", *NOTE]
    assert encoding.music(later, "remi") == later


@pytest.mark.parametrize("token", ["C4", "Pitch_200", "Duration_9.5.12", "<end>"])
@BOTH
def test_an_unknown_token_is_refused(name: str, token: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"is no token of {name}"):
        encoding.write([token], tmp_path / "a.mid", name)
    assert not list(tmp_path.iterdir())


# Transposing, likeness, time.


@BOTH
@pytest.mark.parametrize("semitones", [-6, -1, 5])
def test_transposed_tokens_are_those_of_transposed_music_and_drums_stay(
    name: str, semitones: int
) -> None:
    moved = band_file()
    there = encoding.read_piece(moved, name).tokens
    found = [encoding.transpose(token, semitones, name) for token in there]
    expected = {
        note._replace(pitch=note.pitch + (semitones if note.program != encoding.DRUMS else 0))
        for note in encoding.played(there, name)
    }
    assert set(encoding.played(found, name)) == expected


def test_every_key_is_in_the_closed_vocabulary() -> None:
    tokens = encoding.read_piece(band_file(), "tsd").tokens
    closed = Vocabulary(("<end>", *sorted(set(tokens))), "tsd").closed()
    heard = [closed.ids[token] for token in tokens]
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
        ("PitchDrum_35", None),
        ("TimeSig_3/4", None),
    ],
)
def test_an_unknown_token_is_heard_as_the_nearest(token: str, expected: str | None) -> None:
    known = ["Pitch_64", "Pitch_73", "Duration_0.6.12", "Duration_4.0.12", "Velocity_31"]
    known += ["Velocity_95", "Program_4", "Program_30", "TimeSig_4/4"]
    assert encoding.nearest(token, known, "remi") == expected


@BOTH
def test_the_clock_says_when_each_note_is_heard(name: str, tmp_path: Path) -> None:
    data = band_file((0, signature(3, 4)), (0, tempo(90)), (6, signature(6, 8)), (6, tempo(150)))
    tokens = encoding.read_piece(data, name).tokens
    encoding.write(tokens, tmp_path / "a.mid", name)
    clock, told = encoding.Clock(name), []
    for token in tokens:
        bars, seconds = clock.tell(token)
        if kind(token) == "Duration":
            told.append((round(seconds, 3), round(bars, 3)))
    file = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    heard = sorted(round(note.start, 3) for part in file.instruments for note in part.notes)
    assert [seconds for seconds, _ in told] == pytest.approx(heard, abs=0.002)
    last = 20 / 4 if name == "tsd" else 20 / 3  # two bars of 3/4 and 6/8 are three quarters each
    assert told[-1][1] == pytest.approx(10.25 / 20 * last, abs=0.001)


def test_a_tempo_asked_for_sets_the_clock() -> None:
    tokens = encoding.read_piece(band_file((0, tempo(90))), "remi").tokens
    clock = encoding.Clock("remi", bpm=60)
    assert [clock.tell(token) for token in tokens][-1][1] == 10.25  # the last note begins


# Broken files.


def outcome(data: bytes, name: str) -> encoding.Piece | str:
    try:
        return encoding.read_piece(data, name)
    except encoding.MidiError as error:
        return error.reason


@BOTH
def test_broken_files_have_the_reasons_that_notes_has(name: str) -> None:
    for what, (data, reason) in REASONS.items():
        if reason != "only percussion":
            assert outcome(data, name) == reason, what
    for what, data in READABLE.items():
        assert isinstance(outcome(data, name), encoding.Piece), what


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(band.NAMES),
    st.integers(0, 0xFFFF),
    st.lists(st.binary(max_size=80), max_size=4),
)
def test_random_events_give_a_piece_or_a_reason(
    name: str, division: int, tracks: list[bytes]
) -> None:
    found = outcome(smf(*tracks, division=division), name)
    assert isinstance(found, encoding.Piece) or found in KNOWN


@BOTH
@pytest.mark.parametrize("what", ["one cluster", "repetitions of an unended note"])
def test_heavy_files_take_seconds(name: str, what: str) -> None:
    begun = time.process_time()
    outcome(HEAVY[what], name)
    assert time.process_time() - begun < 15


def test_the_cache_knows_miditoks_version() -> None:
    assert "miditok-" in encoding.version("tsd")
    assert encoding.version("notes") == str(encoding.VERSION)


def test_what_is_written_is_a_file_for_mido(tmp_path: Path) -> None:
    encoding.write(encoding.read_piece(band_file(), "remi").tokens, tmp_path / "a.mid", "remi")
    data = io.BytesIO((tmp_path / "a.mid").read_bytes())
    channels = {
        message.channel
        for track in mido.MidiFile(file=data).tracks
        for message in track
        if message.type == "note_on"
    }
    assert len(channels) == 4
    assert 9 in channels


@BOTH
def test_a_tempo_long_after_the_last_note_adds_no_bars(name: str) -> None:
    late = b"\x00\x90\x3c\x40\x18\x80\x3c\x00\xff\xff\xff\x7f" + tempo(99) + END
    for division in (1, 24, 480):
        piece = encoding.read_piece(smf(late, division=division), name)
        assert len(piece.tokens) < 20


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
    encoding.write(tokens, tmp_path / "a.mid", "tsd")
    expected = [(p * 5, 40 + p) for p in range(15) for _ in range(2)]
    found = heard_by_a_player(tmp_path / "a.mid")
    assert found[:30] == expected
    assert {program for program, _ in found} == {p * 5 for p in range(min(count, 15))}
    assert [pitch for _, pitch in found[30:]] == list(range(55, 40 + count))


def test_notes_struck_together_end_where_the_pitch_is_struck_again(tmp_path: Path) -> None:
    tokens = ["Program_0", "Pitch_60", "Velocity_79", "Duration_4.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_6.0.12", "TimeShift_2.0.12"]
    tokens += ["Pitch_60", "Velocity_79", "Duration_6.0.12"]
    encoding.write(tokens, tmp_path / "a.mid", "tsd")
    found = sorted(note[:2] for note in encoding.played(tokens, "tsd"))
    assert found == [(0, 2), (0, 2), (2, 6)]
    assert heard_by_pretty_midi(tmp_path / "a.mid") == {(0, 60, 0, 2), (0, 60, 2, 8)}


@pytest.mark.parametrize("tokens", [["Bar_None"], ["Bar_None", "TimeSig_3/4", "Position_1"]])
def test_tokens_without_a_note_are_no_file(tokens: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no note in these"):
        encoding.write(tokens, tmp_path / "a.mid", "remi")
    assert not list(tmp_path.iterdir())


PRIMER = ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_60.0", "Program_5", *NOTE]
PRIMER += ["Bar_None", "TimeSig_3/4", "Position_24", *NOTE]


def test_what_goes_on_from_a_primer_has_its_place_tempo_and_instrument(tmp_path: Path) -> None:
    new = [*NOTE, "Bar_None", "TimeSig_3/4", "Position_12", *NOTE]
    assert encoding.write(encoding.continued(new, PRIMER, "remi"), tmp_path / "a.mid", "remi") == 0
    file = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    assert [(part.program, len(part.notes)) for part in file.instruments] == [(5, 2)]
    assert [round(note.start, 3) for note in file.instruments[0].notes] == [2, 4]
    tsd = encoding.continued(NOTE, ["Program_-1", "PitchDrum_36", *NOTE[1:]], "tsd")
    assert tsd == ["Program_-1", *NOTE]  # the model went from drums to a pitch without a word
    assert encoding.continued(["Program_7", *NOTE], PRIMER, "tsd") == ["Program_7", *NOTE]


def test_a_vocabulary_of_strange_tokens_is_refused(tmp_path: Path) -> None:
    for token in ("Position_abc", "foo", "Pitch_60 Velocity_x", "Duration_1.2", "Program_"):
        Vocabulary(("<end>", token), "remi").save(tmp_path / "v.json")
        with pytest.raises(files.InputError):
            Vocabulary.load(tmp_path / "v.json")
    every = Vocabulary(("<end>", *sorted(band.tokenizer("remi").vocab)[1:]), "remi")
    known = tuple(token for token in every.tokens if not token.startswith("PAD"))
    Vocabulary(known, "remi").save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").tokens == known
