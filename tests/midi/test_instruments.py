"""What the names of instruments mean for --instrument and --instruments."""

import pytest

from midilstm import midi
from midilstm.fileio import InputError

NAMES = {
    **{"0": 0, "127": 127, "violin": 40, " Church  Org": 19, "flu": 73, "steel": 114, "cello": 42},
    **{"piano": 0, "Piano": 0, "electric piano": 4, "organ": 16, "vibes": 11, "vibra": 11},
    **{"guitar": 24, "acoustic guitar": 24, "electric guitar": 27, "distortion": 30},
    **{"bass": 33, "upright bass": 32, "double bass": 32, "slap bass 2": 37, "bassoon": 70},
    **{"sax": 65, "saxophone": 65, "Tenor Saxophone": 66, "alto": 65, "clarinet": 71, "oboe": 68},
    **{"trumpet": 56, "horn": 60, "brass": 61, "strings": 48, "choir": 52, "harp": 46},
    **{"flute": 73, "steel drums": 114, "guitar fret noise": 120, "nylon": 24},
}


@pytest.mark.parametrize(("text", "program"), NAMES.items())
def test_an_everyday_name_a_beginning_and_a_number_mean_one_program(
    text: str, program: int
) -> None:
    assert midi.program_of(text) == program


@pytest.mark.parametrize("program", range(128))
def test_each_program_is_known_by_its_name(program: int) -> None:
    name = midi.instrument_name(program)
    assert midi.program_of(name) == program
    assert program in midi.parse_instruments(name, set(range(128)))[name.lower()].programs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("128", "not a General MIDI program"),
        *((text, "try piano, guitar") for text in ("-1", "", "kazoo", "drums", "noise")),
        ("electric", "it could be Electric Grand Piano, Electric Piano 1"),
        ("reed", "it could be Soprano Sax, Alto Sax"),
        ("slap", "it could be Slap Bass 1, Slap Bass 2"),
    ],
)
def test_an_unknown_or_ambiguous_program_is_an_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        midi.program_of(text)


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("bass", {32, 33}),
        ("guitar", {24}),
        ("sax", {66}),
        ("drums", {midi.DRUMS}),
        ("percussion", {midi.DRUMS}),
        ("reed", {66, 70}),
        ("33", {33}),
        ("strings", {40, 43, 48}),
    ],
)
def test_a_name_of_several_means_those_that_the_model_knows(text: str, programs: set[int]) -> None:
    known = {midi.DRUMS, 24, 32, 33, 40, 43, 48, 66, 70, 114, 120}
    choices = midi.parse_instruments(f"{text}, bassoon", known)
    assert {*choices[text].programs} == programs
    assert choices["bassoon"] == (1, (70,))


def test_a_name_that_the_model_does_not_know_lists_those_that_it_knows() -> None:
    with pytest.raises(InputError, match="no instrument 'tuba': it knows Percussion, Violin"):
        midi.parse_instruments("violin, tuba", {midi.DRUMS, 40})


def test_a_name_stands_for_one_program_of_the_piece_or_for_as_many_as_are_asked_for() -> None:
    known = {midi.DRUMS, 0, 1, 32, 33, 35, 65, 66}

    def choose(text: str, *preferred: int) -> dict[int, str]:
        return midi.choose_programs(midi.parse_instruments(text, known), preferred)

    assert choose("sax, bass, drums") == {65: "sax", 33: "bass", midi.DRUMS: "drums"}
    assert choose("sax, bass", 66, 35, 0) == {66: "sax", 35: "bass"}
    assert choose("2 sax, piano", 66) == {66: "2 sax", 65: "2 sax", 0: "piano"}
    assert choose("bass, electric bass", 33) == {33: "bass", 35: "electric bass"}
    assert choose("piano, 33") == {0: "piano", 33: "33"}
