"""What pieces share, on constructed copies and against a naive search."""

import numpy as np
import pytest

from midilstm.evaluation import copying
from midilstm.tokens import encoding
from midilstm.tokens.vocabulary import END, Vocabulary

NAMES = (*encoding.NAMES[48:84], *(encoding.transpose("0.4.7", shift) for shift in range(12)))
VOCABULARY = Vocabulary((END, *NAMES))
TABLES = {
    shift: np.append(VOCABULARY.transposed(shift), len(VOCABULARY)) for shift in copying.SHIFTS
}


def melody(length: int, seed: int) -> np.ndarray:
    """Return ids of random notes from the middle of the range, and of chords."""
    middle = [*range(13, 25), *range(37, 49)]
    return np.random.default_rng(seed).choice(middle, length).astype(np.int32)


TRAINING = {"a.mid": melody(60, 1), "b.mid": melody(80, 2)}


def examine(ids: np.ndarray) -> dict:
    (found,) = copying.examine(copying.Memory(TRAINING), [ids], TABLES)
    return found


def test_a_verbatim_copy_is_found_with_its_piece_and_place() -> None:
    copy = np.concatenate([melody(20, 3), TRAINING["b.mid"][30:55], melody(20, 4)])
    found = examine(copy)
    assert found["longest"] == {
        "length": 25, "start": 20, "piece": "b.mid", "piece_start": 30, "semitones": 0
    }  # fmt: skip
    assert found["longest_transposed"] == found["longest"]
    assert found["grams"]["16"] == {"all": 50, "exact": 10, "transposed": 10}


@pytest.mark.parametrize("semitones", [-7, -1, 3, 12])
def test_a_transposed_copy_is_found_in_another_key_only(semitones: int) -> None:
    copy = TABLES[semitones][TRAINING["a.mid"][10:50]]
    found = examine(copy)
    assert found["longest"]["length"] < 8
    assert found["longest_transposed"] == {
        "length": 40, "start": 0, "piece": "a.mid", "piece_start": 10, "semitones": -semitones
    }  # fmt: skip
    assert found["grams"]["8"] == {"all": 33, "exact": 0, "transposed": 33}


def test_random_notes_share_no_long_run() -> None:
    found = examine(melody(200, 5))
    assert found["grams"]["8"] == {"all": 193, "exact": 0, "transposed": 0}
    assert found["longest_transposed"]["length"] < 8


def test_nothing_is_found_across_two_pieces() -> None:
    seam = np.concatenate([TRAINING["a.mid"][-6:], TRAINING["b.mid"][:6]])
    assert examine(seam)["longest"]["length"] == 6


def test_a_piece_shorter_than_a_run_has_none() -> None:
    found = examine(TRAINING["a.mid"][:5])
    assert found["grams"]["4"] == {"all": 2, "exact": 2, "transposed": 2}
    assert found["grams"]["8"] == {"all": 0, "exact": 0, "transposed": 0}
    assert found["longest"]["length"] == 5


def test_without_common_notes_the_longest_run_is_of_no_piece() -> None:
    (found,) = copying.examine(
        copying.Memory({"a.mid": np.array([1, 2, 3])}), [np.array([4, 5])], {0: np.arange(6)}
    )
    assert found["longest"]["length"] == 0
    assert found["longest"]["piece"] is None


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_naive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = {str(i): rng.integers(1, 4, rng.integers(0, 40)) for i in range(4)}
    ids = rng.integers(1, 4, 30)
    runs = {
        tuple(piece[i : i + n])
        for piece in pieces.values()
        for n in range(1, 31)
        for i in range(len(piece) - n + 1)
    }
    memory = copying.Memory(pieces)
    for n in (1, 3, 6, 12, 35):
        expected = [tuple(ids[i : i + n]) in runs for i in range(len(ids) - n + 1)]
        assert (memory.where(ids, n) >= 0).tolist() == expected
    longest = max(
        len(run) for run in runs if run in {tuple(ids[i : i + len(run)]) for i in range(30)}
    )
    assert memory.longest([ids, ids[:5]])[0] == longest
    run = memory.run(ids, longest)
    assert run.piece is not None
    original = pieces[run.piece][run.piece_start : run.piece_start + longest]
    np.testing.assert_array_equal(original, ids[run.start : run.start + longest])


def test_shares_are_of_all_runs_of_all_pieces() -> None:
    sets = {"generated": {"x": TRAINING["a.mid"][:13], "y": melody(17, 6)}}
    facts = copying.compare(TRAINING, sets, TABLES, np.random.default_rng(0))
    share = facts["generated"]["grams"]["12"]["exact"]
    assert share["value"] == pytest.approx(2 / (2 + 6))
    assert share["interval"] == [0, 1]
    assert facts["generated"]["longest"]["in"] == "x"
    assert facts["searched_pieces"] == 2
