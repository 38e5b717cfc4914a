"""The encodings `tsd` and `remi`: notes and instruments, written and read by other readers."""

from collections import Counter
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
import symusic
from band_files import (
    BOTH,
    NOTE,
    PARTS,
    REMI,
    TSD,
    band_file,
    bundled,
    encode,
    pretty_notes,
    written_notes,
)
from midi_bytes import END, notes, smf, tempo, timed

from midilstm import midi, tokenizers
from midilstm.tokenizers import miditok
from midilstm.tokenizers.vocabulary import END as END_TOKEN
from midilstm.tokenizers.vocabulary import KEYS, Vocabulary


@BOTH
@pytest.mark.parametrize(
    "data",
    [band_file(), smf(notes(*PARTS[midi.DRUMS], channel=9))],
    ids=["four parts", "drums alone"],
)
def test_each_note_comes_back_with_its_instrument_and_length(
    name: str, data: bytes, tmp_path: Path
) -> None:
    tokens, expected = encode(data, name), pretty_notes(data)
    assert written_notes(tokens, name, tmp_path / "a.mid") == expected
    assert {
        (note.program, note.pitch, round(note.start, 6), round(note.start + note.length, 6))
        for note in tokenizers.get(name).timed_notes(tokens)
    } == expected


@BOTH
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_a_real_piece_has_the_notes_that_miditok_reads_and_is_grammatical(
    name: str, path: Path
) -> None:
    # Lengths may differ where notes of one pitch overlap, or a pedal holds them.
    encoding = tokenizers.get(name)
    assert isinstance(encoding, miditok.MidiTokEncoding)
    expected = encoding.decode(encoding.tokenizer.encode(symusic.Score(path)).tokens)
    tokens, state = tokenizers.read(path, name), encoding.start_state
    decoded = encoding.timed_notes(tokens)
    score = midi.read(path)
    begin = score.quarters - midi.drop_leading_bars(score).quarters
    starts = Counter(
        (round(note.start / expected.ticks_per_quarter - begin, 6), note.pitch, note.program)
        for note in expected.notes
    )
    if name == "remi":  # which keeps the longest of notes struck twice
        starts = Counter(dict.fromkeys(starts, 1))
    assert Counter((round(x.start, 6), x.pitch, x.program) for x in decoded) == starts
    for token in [*tokens, ""]:
        state = encoding.next_state(state, token)
        assert state is not None
    assert encoding.drop_invalid(tokens) == tokens


def test_a_given_tempo_and_instrument_replace_those_of_the_tokens(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    tokenizers.write(
        encode(band_file((0, tempo(90))), "remi"), path, "remi", bpm=200, instrument=11
    )
    file = symusic.Score(path)
    assert [round(t.qpm) for t in file.tempos] == [200]
    assert {(track.program, track.is_drum) for track in file.tracks} == {(11, False), (0, True)}
    tokenizers.write(encode(band_file(), "tsd"), path, "tsd")
    assert [t.qpm for t in symusic.Score(path).tempos] == [120]


def test_velocities_are_kept_within_half_a_step(tmp_path: Path) -> None:
    events = [
        event
        for i in range(1, 128)
        for event in ((i * 480, bytes([0x90, 60, i])), (i * 480 + 240, b"\x80\x3c\0"))
    ]
    tokenizers.write(encode(smf(timed(events) + END), "tsd"), tmp_path / "a.mid", "tsd")
    velocities = [note.velocity for note in symusic.Score(tmp_path / "a.mid").tracks[0].notes]
    errors = np.abs(np.arange(1, 128) - velocities)
    assert errors.max() <= 7  # no note is silent
    assert errors[7:].mean() < 2.5


@pytest.mark.parametrize(
    ("onsets", "expected"),
    [
        ([(0, 4), (1, 1)], {(0, 1), (1, 2)}),
        ([(0, 4), (0, 6), (2, 6)], {(0, 2), (2, 8)}),  # two at once
    ],
)
def test_a_note_ends_at_the_next_of_its_pitch(
    onsets: list[tuple[int, int]], expected: set[tuple[int, int]], tmp_path: Path
) -> None:
    tokens, last = ["Program_0"], 0
    for start, length in onsets:
        tokens += [f"TimeShift_{start - last}.0.12"] * (start > last)
        tokens += ["Pitch_60", "Velocity_79", f"Duration_{length}.0.12"]
        last = start
    assert {n[2:] for n in written_notes(tokens, "tsd", tmp_path / "a.mid")} == expected
    starts_and_ends = [(n.start, n.start + n.length) for n in TSD.timed_notes(tokens)]
    assert len(starts_and_ends) == len(onsets) and {*starts_and_ends} == expected


@pytest.mark.parametrize("count", [15, 20])
def test_each_instrument_keeps_its_notes_if_there_are_more_than_channels(
    count: int, tmp_path: Path
) -> None:
    tokens = []
    for program in range(count):
        repeats = 1 + (program < 15)  # the first fifteen play two notes each
        note = [f"Pitch_{40 + program}", "Velocity_79", "Duration_1.0.12", "TimeShift_1.0.12"]
        tokens += [f"Program_{program * 5}", *note * repeats]
    tokenizers.write(tokens, tmp_path / "a.mid", "tsd")
    programs, played = [0] * 16, []  # a player's channels are shared by all tracks
    for message in mido.merge_tracks(mido.MidiFile(tmp_path / "a.mid").tracks):
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            played.append((programs[message.channel], message.note))
    assert played[:30] == [(p * 5, 40 + p) for p in range(15) for _ in range(2)]
    assert {program for program, _ in played} == {p * 5 for p in range(15)}
    assert [pitch for _, pitch in played[30:]] == list(range(55, 40 + count))


@pytest.mark.parametrize(
    ("name", "tokens", "message"),
    [
        *(
            (name, [token], f"is not a token of {name}")
            for token in ("C4", "Pitch_200", "Duration_9.5.12", "<end>")
            for name in ("tsd", "remi")
        ),
        ("remi", ["Bar_None"], "no note in these"),
        ("remi", ["Bar_None", "TimeSig_3/4", "Position_1"], "no note in these"),
    ],
)
def test_unknown_tokens_or_none_of_a_note_are_no_file(
    name: str, tokens: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizers.write(tokens, tmp_path / "a.mid", name)
    assert not list(tmp_path.iterdir())


BAR_60 = ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_60.0"]
AT_0 = ["Program_5", "Position_0", *NOTE]
PRIMER = [*BAR_60, *AT_0]
PRIMER += ["Bar_None", "TimeSig_3/4", "Program_5", "Position_24", *NOTE]


def test_music_without_its_primer_has_the_position_tempo_and_instrument(tmp_path: Path) -> None:
    new = ["Pitch_62", *NOTE[1:], "Bar_None", "TimeSig_3/4", "Program_5", "Position_12", *NOTE]
    assert tokenizers.write(REMI.with_header(new, PRIMER), tmp_path / "a.mid", "remi") == 0
    (part,) = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments
    assert (part.program, [round(note.start, 3) for note in part.notes]) == (5, [2, 4])
    # A pitch after drums, without a program between them, is played by the program of drums.
    tsd = TSD.with_header(NOTE, ["Program_-1", "PitchDrum_36", *NOTE[1:]])
    assert tsd == ["Program_-1", *NOTE]
    assert TSD.with_header(["Program_7", *NOTE], PRIMER) == ["Program_7", *NOTE]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        # A tempo of the primer holds from the bar's beginning, one of the bar from its position.
        (
            ["Bar_None", "TimeSig_4/4", "Position_12", "Tempo_90.0", *AT_0],
            [*BAR_60[:1], "TimeSig_4/4", *BAR_60[2:], "Position_12", "Tempo_90.0", *AT_0],
        ),
        (
            ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0", *AT_0],
            ["Bar_None", "TimeSig_3/4", "Position_0", "Tempo_90.0", *AT_0],
        ),
        # In the primer's last bar: its program plays on, or another one enters.
        (["Position_30", *NOTE], [*BAR_60, "Program_5", "Position_30", *NOTE]),
        (["Program_7", "Position_0", *NOTE], [*BAR_60, "Program_7", "Position_0", *NOTE]),
    ],
)
def test_music_without_its_primer_begins_with_its_own_bar(
    new: list[str], expected: list[str]
) -> None:
    assert REMI.with_header(new, PRIMER) == expected
    assert REMI.drop_invalid(expected) == expected


@BOTH
@pytest.mark.parametrize("semitones", [-6, -1, 5])
def test_transposed_tokens_are_those_of_transposed_music_and_drums_stay(
    name: str, semitones: int
) -> None:
    encoding, tokens = tokenizers.get(name), encode(band_file(), name)
    transposed = [encoding.transpose(token, semitones) for token in tokens]
    expected = {
        note._replace(pitch=note.pitch + (semitones if note.program != midi.DRUMS else 0))
        for note in encoding.timed_notes(tokens)
    }
    assert set(encoding.timed_notes(transposed)) == expected


def test_a_closed_vocabulary_has_every_key() -> None:
    tokens = encode(band_file(), "tsd")
    closed = Vocabulary((END_TOKEN, *sorted(set(tokens))), "tsd").transposition_closure()
    ids = closed.ids_of(tokens)
    assert all((closed.transposed(k)[ids] < len(closed)).all() for k in KEYS)
    others = [i for i, token in enumerate(closed.tokens) if not token.startswith("Pitch_")]
    assert all((closed.transposed(k)[others] == others).all() for k in KEYS)


KNOWN = ["Pitch_64", "Pitch_73", "Duration_0.6.12", "Duration_4.0.12", "Velocity_31"]
KNOWN += ["Velocity_95", "Program_4", "Program_30", "TimeSig_4/4"]


@pytest.mark.parametrize(
    ("token", "known", "expected"),
    [
        ("Pitch_61", KNOWN, "Pitch_73"),
        ("Pitch_65", KNOWN, "Pitch_64"),
        ("Duration_0.5.12", KNOWN, "Duration_0.6.12"),
        ("Velocity_127", KNOWN, "Velocity_95"),
        ("Program_1", KNOWN, "Program_4"),
        ("Program_9", KNOWN, "Program_4"),
        ("Program_-1", KNOWN, None),
        ("Program_29", KNOWN, "Program_30"),  # of its family, though 28 of another were as near
        ("PitchDrum_35", KNOWN, None),
        ("TimeSig_3/4", KNOWN, None),
        ("Program_0", ["Program_-1", "Program_32", "Program_40"], "Program_32"),
        ("Program_3", ["Program_-1", "Program_8", "Program_0"], "Program_0"),
        ("Program_7", ["Program_8", "Program_1"], "Program_1"),
        ("Program_0", ["Program_-1"], None),
    ],
)
def test_the_nearest_known_token_is_of_its_kind_and_family(
    token: str, known: list[str], expected: str | None
) -> None:
    assert REMI.nearest(token, known) == expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Pitch_61", ({1}, (), True, True)),
        ("Program_33", (set(), (33,), False, False)),
        ("PitchDrum_36 Velocity_63 Duration_0.6.12 Program_33", (set(), (33,), True, True)),
        ("Program_-1 PitchDrum_36", (set(), (-1,), False, False)),
        ("Duration_0.6.12 Position_6", (set(), (), False, True)),
        ("Duration_0.6.12 Bar_None Program_5 Position_6", (set(), (5,), False, False)),
        ("TimeShift_1.0.12", (set(), (), False, False)),
    ],
)
def test_the_content_of_a_token_is_pitch_classes_and_programs(
    token: str, expected: tuple[set[int], tuple[int, ...], bool, bool]
) -> None:
    assert TSD.content(token)[:4] == expected


def test_the_version_has_that_of_miditok() -> None:
    assert "miditok-" in TSD.version
