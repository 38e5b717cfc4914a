"""What a model hears of a primer."""

import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.generation.length import encode_primer
from midilstm.tokenizers.vocabulary import END, Vocabulary


@pytest.mark.parametrize("name", ["tsd", "remi"])
def test_a_piano_is_heard_by_a_band_without_one_and_its_notes_are_counted(
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
    heard = [vocabulary.tokens[number] for number in encode_primer(piano, vocabulary)]
    assert [note.program for note in encoding.timed_notes(heard)] == [32] * 16
    assert capsys.readouterr().out == (
        "The model has never seen Program_0 (heard as Program_32): "
        "of the primer's 16 notes it does not hear 0, and 16 otherwise\n"
    )
    # Drums that no part of the model plays are lost alone, and said to be.
    pitched = Vocabulary(
        (END, *(t for t in vocabulary.tokens[1:] if "Drum" not in t and "-1" not in t)), name
    )
    heard = [pitched.tokens[number] for number in encode_primer(known, pitched)]
    assert [note.program for note in encoding.timed_notes(heard)].count(32) == 16
    assert (
        "of the primer's 48 notes it does not hear 16, and 0 otherwise" in capsys.readouterr().out
    )
