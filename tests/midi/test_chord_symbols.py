"""Chord symbols and bars: the notes of each symbol, also where music21 reads another name of it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from music21.harmony import ChordSymbol

from midilstm.fileio import InputError
from midilstm.midi.chord_symbols import parse_bars, parse_symbol, pitch_class

# A symbol, its notes, and a name of the same chord that music21 reads right, where it has one.
TABLE = """
C               C E G                   C
CM              C E G                   C
Cmaj            C E G                   C
Cm              C Eb G                  Cm
C-              C Eb G                  Cm
Cmi             C Eb G                  Cm
Cdim            C Eb Gb                 Cdim
C°              C Eb Gb                 Cdim
C+              C E G#                  C+
Caug            C E G#                  Caug
C5              C G                     Cpower
Csus2           C D G                   Csus2
Csus            C F G                   Csus4
C6              C E G A                 C6
C-6             C Eb G A                Cm6
C69             C E G A D
C6/9            C E G A D
Cm6/9           C Eb G A D
C7              C E G Bb                C7
C-7             C Eb G Bb               Cm7
Cmi7            C Eb G Bb               Cm7
CMIN7           C Eb G Bb               Cm7
CΔ              C E G B                 Cmaj7
CΔ7             C E G B                 Cmaj7
C^7             C E G B                 Cmaj7
Cma7            C E G B                 Cmaj7
CMaj7           C E G B                 Cmaj7
CM7             C E G B                 CM7
CmMaj7          C Eb G B                CmM7
Cm(maj7)        C Eb G B                CmM7
C-Δ7            C Eb G B                CmM7
Cø              C Eb Gb Bb              Cø7
CØ7             C Eb Gb Bb              Cø7
C-7b5           C Eb Gb Bb              Cm7b5
C°7             C Eb Gb Bbb             Cdim7
Co7             C Eb Gb Bbb             Co7
C°Δ7            C Eb Gb B
C+7             C E G# Bb               C+7
C7+             C E G# Bb               C7+
CΔ7#5           C E G# B                C+M7
C7b5            C E Gb Bb               C7b5
C7sus           C F G Bb                C7sus
C9              C E G Bb D              C9
C-9             C Eb G Bb D             Cm9
Cmaj9           C E G B D               CM9
C9sus4          C F G Bb D
C11             C E G Bb D F            C11
C-11            C Eb G Bb D F           Cm11
C13             C E G Bb D F A          C13
Cmaj13          C E G B D F A           CM13
C13sus4         C F G Bb D A
C7b9            C E G Bb Db             C7b9
C7-9            C E G Bb Db             C7b9
C7(b9)          C E G Bb Db             C7b9
C7#9            C E G Bb D#             C7#9
C7(b9,#11)      C E G Bb Db F#          C7b9#11
C7(#9 b13)      C E G Bb D# Ab          C7#9b13
C13b9           C E G Bb Db F A
C13#11          C E G Bb D F# A
C9#11           C E G Bb D F#           C9#11
CΔ#11           C E G B F#              Cmaj7#11
C7alt           C E Gb G# Bb Db D#
C7susb9         C F G Bb Db             C7sus4b9
Cadd9           C E G D                 Cadd9
C(9)            C E G D                 Cadd9
C(b9)           C E G Db                Caddb9
Cmadd9          C Eb G D                Cmadd9
CMadd9          C E G D                 Cadd9
C7(13)          C E G Bb A              C7add13
C7no5           C E Bb                  C7omit5
Bb              Bb D F                  B-
bb7             Bb D F Ab               B-7
B-7             B D F# A                Bm7
B♭-7            Bb Db F Ab              B-m7
A♭∆7            Ab C Eb G               A-maj7
G7b9#11         G B D F Ab C#           G7b9#11
F#m7b5          F# A C E                F#m7b5
C/E             E C G                   C/E
F#m7b5/E        E F# A C                F#m7b5/E
D/C             C D F# A                D/C
"""
ROWS = [line.replace("  ", "\t").split("\t") for line in TABLE.strip().splitlines()]
READINGS = [tuple(cell.strip() for cell in row if cell.strip()) for row in ROWS]


def pitch_classes(symbol: str) -> set[int]:
    return {*map(pitch_class, parse_symbol(symbol).notes)}


@pytest.mark.parametrize("reading", READINGS, ids=[reading[0] for reading in READINGS])
def test_a_symbol_has_the_notes_that_musicians_and_music21_expect(reading: tuple[str, ...]) -> None:
    symbol, notes, *other_names = reading
    bass = [pitch_class(notes.split()[0])] if "/" in symbol else []
    assert sorted(parse_symbol(symbol).notes) == sorted(notes.split())
    assert [pitch_class(note) for note in parse_symbol(symbol).notes][: len(bass)] == bass
    for name in other_names:
        assert pitch_classes(symbol) == {pitch.pitchClass for pitch in ChordSymbol(name).pitches}


@pytest.mark.parametrize("root", ["Cb", "C#", "Db", "D", "E#", "F#", "Gb", "g", "a#", "Bb", "B#"])
def test_a_symbol_has_the_same_intervals_above_each_root(root: str) -> None:
    for symbol, *_ in READINGS:
        if symbol[0] == "C" and not symbol.endswith("/E"):
            shifted = {(x + pitch_class(root)) % 12 for x in pitch_classes(symbol)}
            assert pitch_classes(root + symbol[1:]) == shifted


@pytest.mark.parametrize(
    "symbol",
    [
        *(
            "H7",
            "C2",
            "C4",
            "Cx",
            "C8",
            "C77",
            "Cmm7",
            "CΔ6",
            "Cdim6",
            "C+5",
            "C-5",
            "Cm5",
            "Cmalt",
        ),
        *("C/H", "C/9", "C7(b9", "C7b9)", "C()", "C7b11", "C7#13", "b9", "#9", "-", ":"),
        *("Dm7,G7", "Dm7-G7", "C%", "m7", "I7", "Cmaj7b7", "C7🎵"),
    ],
)
def test_a_symbol_that_is_not_understood_is_refused_by_name(symbol: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_bars(f"Dm7 {symbol}")
    assert str(refusal.value).startswith(f"{symbol} in --chords is not a known chord symbol")


@pytest.mark.parametrize(
    ("text", "bars"),
    [
        ("Dm7 G7\nC", ["Dm7", "G7", "C"]),
        ("C % n.c. %", ["C", "C", "-", "-"]),
        ("Dm7 G7 | C % |", ["Dm7 G7", "C C"]),
        ("|Dm7 G7|%|%||C||", ["Dm7 G7", "Dm7 G7", "Dm7 G7", "C"]),
        ("C G7 | % Am | N.C. F", ["C G7", "G7 Am", "- F"]),
        ("Dm7 / G7 / | C / /", ["Dm7 Dm7 G7 G7", "C C C"]),
        ("C7(b9 #11) | F", ["C7(b9 #11)", "F"]),
        ("C | ", ["C"]),
    ],
)
def test_bars_hold_the_chords_between_their_lines(text: str, bars: list[str]) -> None:
    assert [" ".join(x.text if x else "-" for x in bar) for bar in parse_bars(text)] == bars


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((x, "1 to 256 chord symbols") for x in (" ", "|", "C " * 257, "C | " * 257)),
        *(
            (x, "a bar in --chords has no chord")
            for x in ("C | | F", "% C", "| % | C", "% C |", "/ C | F", "/")
        ),
    ],
)
def test_bars_without_a_chord_and_too_many_chords_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_bars(text)


@given(st.text(max_size=60) | st.text("ABCb#m-maj°øΔ+sudimø679135()|%/, ", max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with suppress(InputError):
        for bar in parse_bars(text):
            assert bar
            assert all(symbol is None or 2 <= len(symbol.notes) <= 12 for symbol in bar)
