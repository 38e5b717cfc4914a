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
