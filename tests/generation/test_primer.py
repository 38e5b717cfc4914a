"""How a primer is expressed in the tokens that a model knows."""

import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.generation.primer import encode_primer
from midilstm.tokenizers.vocabulary import END, Vocabulary


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_an_unknown_instrument_is_replaced_and_the_changed_notes_are_counted(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    encoding = encodings.get(name)
    played = [(i, i + 1, 60 + i % 5) for i in range(16)]
    parts = [
        notes(*played, start=bytes([0, 0xC0, 40])),
        notes(*played, channel=1, start=bytes([0, 0xC1, 32])),
        notes(*((i, i + 0.5, 38) for i in range(16)), channel=9),
    ]
    known = encoding.encode(midi.read(smf(*parts)))
    vocabulary = Vocabulary((END, *sorted({*known})), name)
    piano = encoding.encode(midi.read(smf(notes(*played))))
    known_tokens = [vocabulary.tokens[number] for number in encode_primer(piano, vocabulary)]
    assert [note.program for note in encoding.timed_notes(known_tokens)] == [32] * 16
    assert capsys.readouterr().out == (
        "The model does not know Program_0 (replaced by Program_32): "
        "of the primer's 16 notes 0 are lost and 16 are changed\n"
    )
    # Drums that no part of the model plays are lost alone, and said to be.
    pitched = Vocabulary(
        (END, *(t for t in vocabulary.tokens[1:] if "Drum" not in t and "-1" not in t)), name
    )
    known_tokens = [pitched.tokens[number] for number in encode_primer(known, pitched)]
    assert [note.program for note in encoding.timed_notes(known_tokens)].count(32) == 16
    assert "of the primer's 48 notes 16 are lost and 0 are changed" in capsys.readouterr().out
