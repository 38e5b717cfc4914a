"""Vocabularies: ids of tokens, transposed ids, and their files."""

import json
from pathlib import Path

import pytest

from midilstm.fileio import InputError
from midilstm.tokenizers.vocabulary import END, END_ID, Vocabulary

CHORDS = Vocabulary((END, "0.4.7", "2.6.9", "C4", "D4"))


def test_ids_of_tokens_and_of_missing_ones() -> None:
    ids = CHORDS.ids_of(["D4", "1.5", END, "D4"])
    assert (ids.dtype, ids.tolist()) == ("int32", [4, -1, END_ID, 4])
    assert CHORDS.ids_of(["1.5"], missing=5).tolist() == [5]
    assert CHORDS.ids_of([]).shape == (0,)


def test_ids_of_transposed_tokens() -> None:
    assert CHORDS.transposed(2).tolist() == [0, 2, 5, 4, 5]
    assert CHORDS.transposed(0).tolist() == [0, 1, 2, 3, 4]


def test_a_closed_vocabulary_has_each_token_in_each_key() -> None:
    closed = Vocabulary((END, "0.4.7", "C4")).transposition_closure()
    assert closed.tokens[0] == END
    assert {"F#3", "B-3", "C4", "F4", "6.10.1", "11.3.6", "5.9.0"} < set(closed.tokens)
    assert len(closed) == 1 + 12 + 12


def test_a_saved_vocabulary_is_loaded_for_a_network_of_its_size_only(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    CHORDS.save(path)
    assert Vocabulary.load(path) == Vocabulary.load_for(path, 5) == CHORDS
    with pytest.raises(InputError, match="has 5 tokens and its settings say 7"):
        Vocabulary.load_for(path, 7)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{",
        {"encoding": "notes"},
        {"encoding": "morse", "tokens": [END, "C4"]},
        {"encoding": "notes", "tokens": ["C4", END]},
        {"encoding": "notes", "tokens": [END, "C4", "C4"]},
        {"encoding": "notes", "tokens": [END, 4]},
        {"encoding": "remi", "tokens": [END, "Position_abc"]},
        {"encoding": "remi", "tokens": [END, "Pitch_60 Velocity_x"]},
        {"encoding": "tsd", "tokens": [END, "Bar_None"]},
        {"encoding": "remi", "tokens": [END, "Bar_None"]},  # instruments alternated inside a bar
        {"encoding": "remi", "order": [2], "tokens": [END, "Bar_None"]},
        {"encoding": "notes", "tokens": [END, "H4"]},
        {"encoding": "notes", "tokens": [END, "C4", "1.13"]},
        {"encoding": "notes", "tokens": [END, ""]},
        {"encoding": ["notes"], "tokens": [END, "C4"]},
        {"encoding": "notes", "tokens": {END: 1}},
        {"encoding": "notes", "tokens": 7},
        {"encoding": "notes", "tokens": [END, *map(str, range(1_000_000))]},
        "[" * 10_000,
        '{"encoding": "notes", "tokens": ' + "[" * 10_000,
        "\x00",
    ],
    ids=lambda body: str(body)[:60],
)
def test_an_invalid_file_is_refused_with_its_path(body: object, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(InputError, match=r"v\.json is not a readable vocabulary") as refusal:
        Vocabulary.load(path)
    assert len(str(refusal.value)) < 400 and str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["notes", "tsd", "remi"])
def test_control_characters_of_an_invalid_token_are_escaped(name: str, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(json.dumps({"encoding": name, "tokens": [END, "\x1b[2J\u202eC4" * 99]}))
    with pytest.raises(
        InputError, match=rf"\\x1b\[2J\\u202e.* is not a token of {name}"
    ) as refusal:
        Vocabulary.load(path)
    assert len(str(refusal.value)) < 400 + len(str(path)) and str(refusal.value).isprintable()


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "v.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than 64 MiB"):
        Vocabulary.load(tmp_path / "v.json")
