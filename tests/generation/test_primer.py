"""How a primer is expressed in the tokens that a model knows."""

import pytest
from midi_bytes import notes, smf

from midilstm import midi, tokenizers
from midilstm.generation.primer import encode_primer
from midilstm.tokenizers.vocabulary import END, Vocabulary


def encoded_programs(tokens: list[str], vocabulary: Vocabulary) -> list[int]:
    """Return the program of each note that a primer keeps."""
    replaced = [vocabulary.tokens[token_id] for token_id in encode_primer(tokens, vocabulary)]
    return [note.program for note in vocabulary.encoding.timed_notes(replaced)]


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_unknown_instruments_are_replaced_and_changed_notes_counted(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    encoding = tokenizers.get(name)
    melody = [(i, i + 1, 60 + i % 5) for i in range(16)]
    parts = [
        notes(*melody, start=bytes([0, 0xC0, 40])),
        notes(*melody, channel=1, start=bytes([0, 0xC1, 32])),
        notes(*((i, i + 0.5, 38) for i in range(16)), channel=9),
    ]
    band, piano = (encoding.encode(midi.read(smf(*x))) for x in (parts, [notes(*melody)]))
    vocabulary = Vocabulary((END, *sorted({*band})), name)
    assert encoded_programs(piano, vocabulary) == [32] * 16
    assert capsys.readouterr().out == (
        "The model does not know Program_0 (replaced by Program_32): "
        "of the primer's 16 notes 0 are lost and 16 are changed\n"
    )
    # Without drums in the vocabulary only the drums are lost.
    pitched = tuple(x for x in vocabulary.tokens if "Drum" not in x and "-1" not in x)
    assert encoded_programs(band, Vocabulary(pitched, name)).count(32) == 16
    assert "of the primer's 48 notes 16 are lost and 0 are changed" in capsys.readouterr().out


def test_a_note_whose_replacement_has_another_place_in_the_bar_is_kept() -> None:
    encoding = tokenizers.get("remi")
    flute, viola = ([(i, i + 1, 60 + i % 5 + up) for i in range(8)] for up in (0, 12))
    band = encoding.encode(
        midi.read(
            smf(
                *(
                    notes(*part, channel=channel, start=bytes([0, 0xC0 + channel, program]))
                    for channel, (part, program) in enumerate(((flute, 73), (viola, 41)))
                )
            )
        )
    )
    known = Vocabulary((END, *sorted({*band, "Program_33"} - {"Program_73", "Pitch_62"})), "remi")
    programs = encoded_programs(band, known)
    # Without the flute both play the viola; without its pitch a D sounds an octave higher.
    assert (len(programs), set(programs)) == (16 - 2, {41})
    assert encoded_programs(band, Vocabulary((*known.tokens, "Pitch_62"), "remi")) == [41] * 16


BAR = ("Bar_None", "TimeSig_4/4")
NOTE = ("Pitch_60", "Velocity_63", "Duration_1.0.12")
HIGHER = ("Pitch_61", *NOTE[1:])


@pytest.mark.parametrize(
    ("primer", "allowed"),
    [
        # The last instrument plays on, a later one enters, or the next bar begins.
        (
            ["Program_5", "Position_12", *NOTE],
            {"Pitch_61", "Position_24", "Program_40", "Bar_None"},
        ),
        (["Program_5", "Position_12", *HIGHER], {"Position_24", "Program_40", "Bar_None"}),
        (["Program_40", "Position_24", *HIGHER], {"Bar_None"}),
        (["Program_32", "Position_24", *HIGHER], {"Program_5", "Program_40", "Bar_None"}),
        ([], {"Position_12", "Position_24", "Program_32", "Program_5", "Program_40", "Bar_None"}),
    ],
)
def test_what_may_follow_a_primer_that_ends_inside_a_bar(
    primer: list[str], allowed: set[str]
) -> None:
    tokens = (*NOTE, "Pitch_61", "Program_32", "Program_5", "Program_40", "Position_12")
    vocabulary = Vocabulary((END, *BAR, *tokens, "Position_24", "Tempo_90.0"), "remi")
    grammar = vocabulary.grammar()
    assert grammar is not None
    state = grammar.state_after(vocabulary.ids_of([*BAR, *primer]).tolist())
    mask = grammar.mask([state], may_end=False)[0]
    assert {t for t, x in zip(vocabulary.tokens[1:], mask[1:], strict=True) if x == 0} == allowed
