"""Sheet music as music21 reads it back."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from midi_bytes import notes, smf
from music21 import converter, note

from midilstm import midi
from midilstm.fileio import InputError
from midilstm.rendering.musicxml import write_score
from midilstm.rendering.timeline import TimedPiece

PEDAL = b"\0\xb0\x40\x7f"
Read = Callable[..., TimedPiece]
Onsets = Counter[tuple[Any, Fraction]]  # MIDI pitch, or a drum's line; quarter notes
SLOTS = [beat + Fraction(*part) for beat in range(4) for part in ((0, 1), (1, 4), (1, 3), (1, 2))]


def read_back(piece: TimedPiece) -> Any:
    return converter.parseData(write_score(piece), format="musicxml")


def onsets(notation: Any) -> Onsets:
    """Return the notes that are not tied to an earlier one."""
    counts: Onsets = Counter()
    for part in notation.parts:
        for element in part.recurse().notes:
            offset = Fraction(element.getOffsetInHierarchy(part))
            for event in getattr(element, "notes", [element]):
                is_drum = isinstance(event, note.Unpitched)
                if event.tie is None or event.tie.type == "start":
                    counts[event.displayName if is_drum else event.pitch.midi, offset] += 1
    return counts


def score_of(events: Iterable[tuple[Fraction, Fraction, int, int]]) -> bytes:
    """Return a MIDI file of (start, length, pitch, program), times in quarter notes."""
    played = [midi.Note(int(480 * at), int(480 * x), p, 90, key) for at, x, p, key in events]
    return midi.to_bytes(midi.Score(480, tuple(sorted(played)), {0: 90.0}))


def test_the_score_has_the_notes_the_title_and_this_program_as_its_author(
    timed: Read, band: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    piece = timed(band, "my <tune>.mid")
    notation = read_back(piece)
    melody = notation.parts[0].flatten().notes
    assert [(x.pitch.midi, float(x.offset)) for x in melody] == [(60 + i, i) for i in range(8)]
    assert notation.metadata.bestTitle == "my <tune>"
    assert notation.metadata.composer == "midi-lstm"
    assert re.findall(b"<software>(.*)</", write_score(piece)) == [b"midi-lstm"]
    assert write_score(piece) == write_score(piece)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(4))
def test_notes_that_overlap_stand_where_they_were(seed: int, timed: Read) -> None:
    rng = random.Random(seed)
    events = {
        (program, pitch, rng.choice(SLOTS) + 4 * bar): Fraction(rng.randint(3, 90), 12)
        for bar in range(6)
        for program in (0, 40, 71)
        for pitch in rng.sample(range(40, 80), 9)
    }
    data = score_of((at, length, pitch, key) for (key, pitch, at), length in events.items())
    written = Counter((pitch, at) for _, pitch, at in events)
    notation = read_back(timed(data))
    assert onsets(notation) == written
    for measure in notation.recurse().getElementsByClass("Measure"):
        assert measure.highestTime == 4  # no voice is longer than its bar
        assert len(measure.voices) <= 4


def test_a_tied_note_has_its_length_and_the_pedal_adds_none(timed: Read) -> None:
    lengths = {60: Fraction(9, 4), 64: Fraction(13, 2), 67: Fraction(1, 3)}
    ends = ((3, float(3 + length), pitch) for pitch, length in lengths.items())
    read: Counter[int] = Counter()
    for element in read_back(timed(smf(notes(*ends, start=PEDAL)))).recurse().notes:
        read.update({pitch.midi: element.quarterLength for pitch in element.pitches})
    assert read == lengths


def test_each_drum_has_its_line_head_and_sound_on_channel_10(timed: Read) -> None:
    lines = {35: "F4", 38: "C5", 42: "G5", 45: "D5", 49: "A5", 44: "D4"}
    drums = notes(*((i / 2, i / 2 + 0.1, p) for i, p in enumerate(lines)), channel=9)
    piece = timed(smf(drums, notes((0, 1, 42), (1, 3, 90), channel=9), notes((0, 9, 60))))
    notation, text = read_back(piece), write_score(piece).decode()
    written: Onsets = Counter((line, Fraction(i, 2)) for i, line in enumerate(lines.values()))
    written.update({("G5", Fraction(0)): 1, ("B4", Fraction(1)): 1, (60, Fraction(0)): 1})
    assert onsets(notation) == written
    part = notation.parts[1]
    assert part.recurse().getElementsByClass("Clef").first().sign == "percussion"
    assert not part.recurse().getElementsByClass("KeySignature")
    hits = [x for element in part.recurse().notes for x in getattr(element, "notes", [element])]
    heads = {hit.displayName: hit.notehead for hit in hits}
    assert heads == {
        **dict.fromkeys(["F4", "C5", "D5", "B4"], "normal"),
        **dict.fromkeys(["D4", "G5", "A5"], "x"),
    }
    sounds = re.findall(r'<midi-instrument id="(P2-\d+)">\s*<midi-channel>10</', text)
    assert sounds == [f"P2-{pitch}" for pitch in sorted([*lines, 90])]
    used = Counter(re.findall(r'<instrument id="P2-(\d+)" />', text))
    assert used == Counter({**dict.fromkeys(map(str, lines), 1), "42": 2, "90": 1})


@pytest.mark.parametrize(
    ("tonic", "names", "sharps"),
    [
        (60, "C D E F G A B", 0),
        (63, "E- F G A- B- C D", -3),
        (64, "E F# G# A B C# D#", 4),
    ],
)
def test_the_key_is_estimated_and_names_the_notes(
    tonic: int, names: str, sharps: int, timed: Read
) -> None:
    melody = notes(*((i, i + 1, tonic + step) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11))))
    triad = notes(*((0, 8, tonic - step) for step in (12, 8, 5)), channel=1)
    part = read_back(timed(smf(melody, triad))).parts[0]
    assert part.recurse().getElementsByClass("KeySignature").first().sharps == sharps
    assert {x.pitch.name for x in part.recurse().notes} == {*names.split()}


def test_clefs_fit_the_range_and_a_piano_has_a_staff_for_each_hand(timed: Read) -> None:
    wide = [(Fraction(i), Fraction(1), 36 + 6 * i, 0) for i in range(9)]
    low = [(Fraction(i), Fraction(1), 30 + i, 33) for i in range(4)]
    parts = read_back(timed(score_of(wide + low))).parts
    clefs = [part.recurse().getElementsByClass("Clef").first().sign for part in parts]
    assert clefs == ["G", "F", "F"]
    assert [min(x.pitch.midi for x in part.recurse().notes) for part in parts] == [60, 36, 30]


@pytest.mark.parametrize(
    "signatures", [{0: (3, 4)}, {0: (3, 4), 15 * 480: (5, 8)}, {0: (6, 8)}, {0: (255, 128)}]
)
def test_all_parts_have_the_same_bars_and_time_signatures(
    timed: Read, signatures: dict[int, tuple[int, int]]
) -> None:
    beats = {40: range(33), 32: range(0, 12, 3), midi.DRUMS: range(5)}
    events = [midi.Note(480 * beat, 480, 60, 90, key) for key in beats for beat in beats[key]]
    data = midi.to_bytes(midi.Score(480, tuple(sorted(events)), {0: 90.0}, signatures))
    parts = read_back(timed(data)).parts
    bars = [[bar.offset for bar in part.getElementsByClass("Measure")] for part in parts]
    assert len(bars) == 3 and len(bars[0]) >= 5
    assert bars[0] == bars[1] == bars[2]
    for part in parts:
        meters = part.recurse().getElementsByClass("TimeSignature")
        written = {480 * m.getOffsetInHierarchy(part): (m.numerator, m.denominator) for m in meters}
        assert written == signatures


def test_the_last_tempo_of_each_bar_is_shown_where_it_changes(timed: Read) -> None:
    tempos = {0: 90.0, 2400: 60.2, 2880: 120.0, 3840: 120.1}
    played = tuple(midi.Note(480 * beat, 480, 60) for beat in range(12))
    part = read_back(timed(midi.to_bytes(midi.Score(480, played, tempos)))).parts[0]
    marks = part.recurse().getElementsByClass("MetronomeMark")
    assert [(x.getOffsetInHierarchy(part), x.number) for x in marks] == [(0, 90), (6, 120)]


@pytest.mark.parametrize(
    ("starts", "n_tracks", "meter"),
    [
        ([480 * i // 1000 for i in range(600)], 1, (4, 4)),  # too many at once
        (range(0, 120 * 20_001, 120), 1, (4, 4)),  # too many notes
        ([0, 480 * 19_990], 1, (1, 128)),  # too many measures
        ([0, 480 * 19_990], 5, (4, 4)),
    ],
)
def test_a_score_that_is_too_large_is_refused(
    starts: Iterable[int], n_tracks: int, meter: tuple[int, int], timed: Read
) -> None:
    events = [
        midi.Note(at, 60, i % 128, 90, x) for i, at in enumerate(starts) for x in range(n_tracks)
    ]
    data = midi.to_bytes(midi.Score(480, tuple(events), {0: 999.0}, {0: meter}))
    with pytest.raises(InputError, match=r"x\.mid is too large .* 20,000 notes.* 20,000 measures"):
        write_score(timed(data))


@pytest.mark.parametrize(
    ("body", "marks"),
    [
        (
            {"chords": "Dm7 C/E", "include_primer": False},
            [(0, "D", "D", "m7"), (4, "C", "E", ""), (8, "D", "D", "m7")],
        ),
        (
            {"chords": "Bb7 F#ø | N.C.", "include_primer": False},
            [
                *((0, "B-", "B-", "7"), (2, "F#", "F#", "ø"), (4, None, None, "N.C.")),
                *((8, "B-", "B-", "7"), (10, "F#", "F#", "ø")),
            ],
        ),
        ({"chords": "H7", "include_primer": False}, []),
        ([], []),
    ],
)
def test_the_chords_that_a_piece_follows_are_written_above_its_bars(
    body: Any, marks: list[tuple[Any, ...]], timed: Read, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(body))
    piece = timed(smf(notes((0, 1, 60), (11, 12, 60))))
    part = read_back(piece).parts[0]
    read = []
    for symbol in part.recurse().getElementsByClass("Harmony"):
        names = [x and x.name for x in (symbol.root(), symbol.bass())]
        read.append((symbol.getOffsetInHierarchy(part), *names, symbol.chordKindStr))
    assert read == marks
