"""Tokens as ids: tables, transposed ids, and the file that holds a vocabulary."""

import json
from pathlib import Path

import pytest

from midilstm.fileio import InputError
from midilstm.tokenizers.vocabulary import END, END_ID, Vocabulary

CHORDS = Vocabulary((END, "0.4.7", "2.6.9", "C4", "D4"))


def test_a_table_has_the_ids_of_tokens_and_says_which_are_missing() -> None:
    found = CHORDS.ids_of(["D4", "1.5", END, "D4"])
    assert (found.dtype, found.tolist()) == ("int32", [4, -1, END_ID, 4])
    assert CHORDS.ids_of(["1.5"], missing=5).tolist() == [5]
    assert CHORDS.ids_of([]).shape == (0,)


def test_ids_go_to_the_transposed_tokens_id_or_to_none() -> None:
    assert CHORDS.transposed(2).tolist() == [0, 2, 5, 4, 5]
    assert CHORDS.transposed(0).tolist() == [0, 1, 2, 3, 4]


def test_a_closed_vocabulary_has_every_token_in_every_key() -> None:
    closed = Vocabulary((END, "0.4.7", "C4")).transposition_closure()
    assert closed.tokens[0] == END
    assert {"F#3", "B-3", "C4", "F4", "6.10.1", "11.3.6", "5.9.0"} < set(closed.tokens)
    assert len(closed) == 1 + 12 + 12
    assert (
        closed.transposition_closure().token_ids.keys() > closed.token_ids.keys()
    )  # notes go on to other octaves


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    CHORDS.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == CHORDS


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
def test_what_is_no_vocabulary_is_refused_by_its_path(body: object, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(InputError, match=r"v\.json is not a readable vocabulary") as refusal:
        Vocabulary.load(path)
    assert len(str(refusal.value)) < 400 and str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["notes", "tsd", "remi"])
def test_a_token_that_would_speak_to_the_terminal_is_printed_as_text(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "v.json"
    path.write_text(json.dumps({"encoding": name, "tokens": [END, "\x1b[2J\u202eC4" * 99]}))
    with pytest.raises(InputError, match=rf"is not a token of {name}") as refusal:
        Vocabulary.load(path)
    assert "\\x1b[2J\\u202e" in str(refusal.value)
    assert len(str(refusal.value)) < 400 + len(str(path)) and str(refusal.value).isprintable()


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "v.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than 64 MiB"):
        Vocabulary.load(tmp_path / "v.json")


def test_a_network_of_another_size_is_refused_with_both_numbers(tmp_path: Path) -> None:
    CHORDS.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load_for(tmp_path / "vocabulary.json", 5) == CHORDS
    with pytest.raises(InputError, match="has 5 tokens and its settings say 7"):
        Vocabulary.load_for(tmp_path / "vocabulary.json", 7)
