"""Shared passages of constructed pieces, against a naive search, and the report of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from midi_bytes import notes, smf, timed

from midilstm import midi, tokenizers
from midilstm.copies import CopyReport
from midilstm.data.dataset import Dataset
from midilstm.data.files import ReadReport
from midilstm.evaluation import copying
from midilstm.evaluation.copying import Match, SetCopies
from midilstm.tokenizers.vocabulary import END, Vocabulary

TRANSPOSED = [
    [tokenizers.get("notes").transpose(token, shift) for shift in range(count)]
    for token, count in (("C3", 36), ("0.4.7", 12))
]
VOCABULARY = Vocabulary((END, *TRANSPOSED[0], *TRANSPOSED[1]))
WALTZ = b"\0\xff\x58\x04\3\2\x18\x08" + b"\0\xff\x51\x03" + (500_000).to_bytes(3)


def melody(length: int, seed: int) -> np.ndarray:
    """Return ids of random notes and chords from the middle of the range."""
    middle = [*range(13, 25), *range(37, 49)]
    return np.random.default_rng(seed).choice(middle, length).astype(np.int32)


TRAINING = {"a.mid": melody(60, 1), "b.mid": melody(80, 2)}


def dataset_of(training: Any, held_out: Any = None, vocabulary: Vocabulary = VOCABULARY) -> Dataset:
    training, held_out = (
        {name: np.append(ids, 0) for name, ids in part.items()}
        for part in (training, held_out or {})
    )
    return Dataset(vocabulary, training, held_out, ReadReport(), {})


def measure(ids: np.ndarray, training: dict[str, np.ndarray] = TRAINING) -> SetCopies:
    index = copying.TrainingIndex(dataset_of(training).training, VOCABULARY)
    return copying.measure_copies(index, {"x": ids})


def shares(copies: SetCopies, length: int) -> tuple[float | None, float | None]:
    stats = copies.grams[str(length)]
    return stats["exact"].value, stats["transposed"].value


@pytest.mark.parametrize("semitones", [-7, -1, 0, 3, 12])
def test_a_copy_is_found_with_its_piece_position_and_key(semitones: int) -> None:
    copied = VOCABULARY.transposed(semitones)[TRAINING["b.mid"][30:55]]
    copies = measure(np.concatenate([melody(20, 3), copied, melody(20, 4)]))
    match = Match(25, 20, "b.mid", 30, -semitones, "x")
    assert copies.longest_transposed == match
    assert (copies.longest == match) is (semitones == 0)
    assert shares(copies, 16) == ((10 / 50) * (semitones == 0), 10 / 50)


def test_no_run_is_found_across_two_training_pieces() -> None:
    seam = np.concatenate([TRAINING["a.mid"][-6:], TRAINING["b.mid"][:6]])
    assert measure(seam).longest.length == 6


def test_a_piece_shorter_than_a_run_has_no_share_and_without_common_notes_no_run() -> None:
    copies = measure(TRAINING["a.mid"][:5])
    assert (shares(copies, 4), shares(copies, 8)) == ((1, 1), (None, None))
    assert copies.longest.length == 5
    nothing = measure(np.array([40, 41]), {"a.mid": np.array([1, 2, 3])}).longest
    assert (nothing.length, nothing.piece) == (0, None)


@pytest.mark.parametrize("seed", range(5))
def test_shares_and_the_longest_run_equal_those_of_a_naive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = {str(i): rng.integers(1, 4, rng.integers(0, 40)) for i in range(4)}
    ids = rng.integers(1, 4, 30)
    known = [" ".join(map(str, piece)) for piece in pieces.values()]

    def is_known(length: int) -> list[bool]:
        runs = [" ".join(map(str, ids[i : i + length])) for i in range(len(ids) - length + 1)]
        return [any(run in piece for piece in known) for run in runs]

    copies = measure(ids, pieces)  # of one piece; the share of several is that of all their runs
    for length in copying.LENGTHS:
        assert shares(copies, length)[0] == pytest.approx(np.mean(is_known(length)))
    match = copies.longest
    assert match.length == max(length for length in range(31) if any(is_known(length)))
    original = pieces[match.piece or ""][match.piece_start :][: match.length]
    np.testing.assert_array_equal(original, ids[match.start :][: match.length])


@pytest.mark.parametrize(("shared", "is_long"), [(19, True), (20, False)])
def test_a_long_copy_is_longer_than_what_held_out_pieces_share(shared: int, is_long: bool) -> None:
    new, a, b = melody(60, 5), TRAINING["a.mid"], TRAINING["b.mid"]
    same, moved = np.r_[new[:20], a[5:25]], np.r_[new[:9], VOCABULARY.transposed(1)[b[10:50]]]
    pieces = [same, melody(60, 7), moved]
    assert copying.find_long_copies(pieces, dataset_of(TRAINING), VOCABULARY) == [
        Match(20, 20, "a.mid", 5),
        Match(0),
        Match(40, 9, "b.mid", 10, -1),
    ]
    held_out = {"c": np.r_[melody(60, 8), a[5 : 5 + shared]][-40:]}
    copies = copying.find_long_copies([same], dataset_of(TRAINING, held_out), VOCABULARY)
    assert (copies != [Match(0)]) is is_long


def ids_of(tokens: list[str], name: str) -> tuple[Vocabulary, np.ndarray]:
    vocabulary = Vocabulary((END, *dict.fromkeys(tokens)), name)
    return vocabulary, vocabulary.ids_of(tokens)


@pytest.mark.parametrize(("name", "bars"), [("remi", [1, 3]), ("tsd", [0.75, 2.25])])
def test_a_passage_keeps_the_tempo_meter_and_instrument_before_it(
    name: str, bars: list[float]
) -> None:
    melody_notes = notes(*((n, n + 1, 60 + n) for n in range(12)), start=b"\0\xc0\x20")
    score = midi.read(smf(WALTZ + timed([]) + b"\0\xff\x2f\0", melody_notes))
    tokens = tokenizers.get(name).encode(score)
    vocabulary, ids = ids_of(tokens, name)
    mark = "Bar" if name == "remi" else "TimeShift"
    marks = [i for i, token in enumerate(tokens) if token.startswith(mark)]
    first, last = (marks[1], marks[3]) if name == "remi" else (marks[2] + 1, marks[8] + 1)
    assert copying.passage_bars(vocabulary, ids, first, last - first) == pytest.approx(bars)
    passage = copying.passage_notes(vocabulary, ids, first, last - first)
    assert [note.pitch for note in passage] == [63, 64, 65, 66, 67, 68]
    assert [note.start for note in passage] == [i * 0.5 for i in range(6)]
    assert {note.program for note in passage} == {32}


def test_the_bars_of_a_passage_are_those_of_its_instrument() -> None:
    note = ("Velocity_63", "Duration_0.6.12")
    drums = [x for n in (0, 12, 24, 36) for x in (f"Position_{n}", "PitchDrum_42", *note)]
    bass = ["Program_32", "Position_0", "Pitch_40", *note]
    vocabulary, ids = ids_of(["Bar_None", "TimeSig_4/4", "Program_-1", *drums, *bass] * 3, "remi")
    one_bar = len(ids) // 3
    # The drums of the second bar, from their second note to their third, and to their last.
    assert copying.passage_bars(vocabulary, ids, one_bar + 7, 8) == (1.25, 1.75)
    assert copying.passage_bars(vocabulary, ids, one_bar + 7, 12) == (1.25, 2)


def test_the_report_holds_the_copies_of_a_folder_that_sound(tmp_path: Path) -> None:
    vocabulary, ids = ids_of(["C4", "D4", "0.4.7", "E4"] * 4, "notes")
    tokenizers.write([vocabulary.tokens[token_id] for token_id in ids], tmp_path / "a.mid")
    score = midi.read(tmp_path / "a.mid")
    late = [note._replace(start=note.start + 8 * score.ticks_per_quarter) for note in score.notes]
    (tmp_path / "late.mid").write_bytes(midi.to_bytes(replace(score, notes=tuple(late))))
    dataset = dataset_of({"b.mid": ids}, vocabulary=vocabulary)
    copying.write_copies(tmp_path, {"a.mid": ids, "late.mid": ids}, dataset, vocabulary)
    copies = CopyReport.load(tmp_path).copies
    copy = copies["a.mid"]
    assert (copy.piece, copy.tokens, copy.bars, len(copy.notes)) == ("b.mid", 16, (0, 3), 24)
    assert copies["late.mid"].bars == (2, 5)  # with the empty bars of the file
    silent, rests = ids_of(["Bar_None"] * 20, "remi")
    dataset = dataset_of({"b.mid": rests}, vocabulary=silent)
    copying.write_copies(tmp_path, {"a.mid": rests}, dataset, silent)
    assert CopyReport.load(tmp_path).copies == {}
