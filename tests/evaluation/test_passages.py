"""A passage's place in bars, and its notes as they sound in the training piece."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from midi_bytes import notes, smf, timed
from midilstm.evaluation.passages import Copy, heard, long_copies, where, write_copies

from midilstm import midi
from midilstm import tokenizers as encodings
from midilstm.data.dataset import Dataset, ReadReport
from midilstm.fileio import InputError
from midilstm.tokenizers.vocabulary import END, Vocabulary

WALTZ = b"\0\xff\x58\x04\3\2\x18\x08" + b"\0\xff\x51\x03" + (500_000).to_bytes(3)
BARS = [(beat, beat + 1, 60 + beat % 12) for beat in range(12)]


def known(tokens: list[str], name: str) -> tuple[Vocabulary, np.ndarray]:
    vocabulary = Vocabulary((END, *dict.fromkeys(tokens)), name)
    return vocabulary, vocabulary.ids_of(tokens)


def corpus_of(training: Any, held_out: Any, vocabulary: Vocabulary) -> Dataset:
    ended, heard = ({k: np.append(ids, 0) for k, ids in of.items()} for of in (training, held_out))
    return Dataset(vocabulary, ended, heard, ReadReport(0, {}), {})


def test_a_long_copy_is_longer_than_what_people_share() -> None:
    rng = np.random.default_rng(0)
    names = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "G#", "A", "B-", "B")
    vocabulary = Vocabulary((END, *(f"{name}4" for name in names)), "notes")
    random = [rng.integers(1, 12, 60) for _ in range(5)]
    made = {"same": np.r_[random[2][:20], random[0][5:25]], "new": random[3]}
    made["moved"] = np.r_[random[2][:9], random[1][10:50] + 1]  # a semitone higher
    training = {"a": random[0], "b": random[1]}
    found = long_copies(made, corpus_of(training, {}, vocabulary), vocabulary)
    assert found == {"same": Copy(20, 0, 20, "a", 5), "moved": Copy(40, -1, 9, "b", 10)}
    for shared, kept in ((19, {"same"}), (20, set())):
        people = {"c": np.r_[random[4], random[0][5 : 5 + shared]][-40:]}
        corpus = corpus_of(training, people, vocabulary)
        assert set(long_copies({"same": made["same"]}, corpus, vocabulary)) == kept


def test_a_passage_of_notes_is_eight_tokens_a_bar() -> None:
    vocabulary, ids = known(["C4", "D4", "0.4.7", "E4"] * 4, "notes")
    assert where(vocabulary, ids, 4, 8) == [0.5, 1.5]
    played = heard(vocabulary, ids, 2, 2)
    assert [(start, end, pitch) for start, end, pitch, *_ in played] == [
        *((0, 0.25, 60), (0, 0.25, 64), (0, 0.25, 67), (0.25, 0.5, 64)),
    ]


@pytest.mark.parametrize(("name", "bars"), [("remi", [1, 3]), ("tsd", [0.75, 2.25])])
def test_of_a_band_it_states_what_held_before(name: str, bars: list[float]) -> None:
    song = midi.read(smf(WALTZ + timed([]) + b"\0\xff\x2f\0", notes(*BARS, start=b"\0\xc0\x20")))
    tokens = encodings.get(name).encode(song)
    vocabulary, ids = known(tokens, name)
    mark = "Bar" if name == "remi" else "TimeShift"
    marks = [i for i, token in enumerate(tokens) if token.startswith(mark)]
    first, last = (marks[1], marks[3]) if name == "remi" else (marks[2] + 1, marks[8] + 1)
    assert where(vocabulary, ids, first, last - first) == pytest.approx(bars)
    played = heard(vocabulary, ids, first, last - first)
    assert [pitch for _, _, pitch, *_ in played] == [63, 64, 65, 66, 67, 68]
    assert [start for start, *_ in played] == [i * 0.5 for i in range(6)]
    assert {program for *_, program in played} == {32}


def test_a_file_of_that_name_that_is_somebody_elses_stays(tmp_path: Path) -> None:
    vocabulary, ids = known(["C4", "D4", "0.4.7", "E4"] * 4, "notes")
    tokens = [vocabulary.tokens[number] for number in ids]
    encodings.write(tokens, tmp_path / "a.mid")
    pieces = {"a.mid": ids}
    corpus = corpus_of({"b.mid": ids}, {}, vocabulary)
    for _ in range(2):  # its own it replaces
        write_copies(tmp_path, pieces, corpus, vocabulary)
    found = json.loads((tmp_path / "copies.json").read_text())["copies"]["a.mid"]
    assert (found["piece"], found["tokens"], found["bars"]) == ("b.mid", 16, [0, 3])
    (tmp_path / "copies.json").write_text("mine")
    with pytest.raises(InputError, match="stays"):
        write_copies(tmp_path, pieces, corpus, vocabulary)
    assert (tmp_path / "copies.json").read_text() == "mine"
