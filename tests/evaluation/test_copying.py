"""What pieces share, on constructed copies and against a naive search."""

from typing import Any

import numpy as np
import pytest

from midilstm import tokenizers as tokens
from midilstm.evaluation import copying
from midilstm.tokenizers.vocabulary import END, Vocabulary

MOVED = [
    [tokens.get("notes").transpose(token, shift) for shift in range(count)]
    for token, count in (("C3", 36), ("0.4.7", 12))
]
VOCABULARY = Vocabulary((END, *MOVED[0], *MOVED[1]))


def melody(length: int, seed: int) -> np.ndarray:
    """Return ids of random notes from the middle of the range, and of chords."""
    middle = [*range(13, 25), *range(37, 49)]
    return np.random.default_rng(seed).choice(middle, length).astype(np.int32)


TRAINING = {"a.mid": melody(60, 1), "b.mid": melody(80, 2)}


def compared(ids: np.ndarray, training: dict[str, np.ndarray] = TRAINING) -> dict[str, Any]:
    """Return what a piece shares with training pieces."""
    ended = {name: np.append(piece, 0) for name, piece in training.items()}
    rng = np.random.default_rng(0)
    return copying.copy_report(ended, {"made": {"x": ids}}, VOCABULARY, rng)["made"]


def shares(found: dict[str, Any], length: int) -> tuple[float | None, float | None]:
    return tuple(found["grams"][str(length)][kind]["value"] for kind in ("exact", "transposed"))


def test_a_verbatim_copy_is_found_with_its_piece_and_place() -> None:
    copy = np.concatenate([melody(20, 3), TRAINING["b.mid"][30:55], melody(20, 4)])
    found = compared(copy)
    assert found["longest"] == {
        "length": 25, "start": 20, "piece": "b.mid", "piece_start": 30, "semitones": 0, "in": "x"
    }  # fmt: skip
    assert found["longest_transposed"] == found["longest"]
    assert shares(found, 16) == (10 / 50, 10 / 50)


@pytest.mark.parametrize("semitones", [-7, -1, 3, 12])
def test_a_transposed_copy_is_found_in_another_key_only(semitones: int) -> None:
    found = compared(VOCABULARY.transposed(semitones)[TRAINING["a.mid"][10:50]])
    assert found["longest"]["length"] < 8
    assert found["longest_transposed"] == {
        "length": 40, "start": 0, "piece": "a.mid", "piece_start": 10, "semitones": -semitones,
        "in": "x",
    }  # fmt: skip
    assert shares(found, 8) == (0, 1)


def test_nothing_is_found_across_two_pieces() -> None:
    seam = np.concatenate([TRAINING["a.mid"][-6:], TRAINING["b.mid"][:6]])
    assert compared(seam)["longest"]["length"] == 6


def test_a_piece_shorter_than_a_run_has_none() -> None:
    found = compared(TRAINING["a.mid"][:5])
    assert shares(found, 4) == (1, 1)
    assert shares(found, 8) == (None, None)
    assert found["longest"]["length"] == 5


def test_without_common_notes_the_longest_run_is_of_no_piece() -> None:
    found = compared(np.array([40, 41]), {"a.mid": np.array([1, 2, 3])})
    assert found["longest"]["length"] == 0
    assert found["longest"]["piece"] is None


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_naive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = {str(i): rng.integers(1, 4, rng.integers(0, 40)) for i in range(4)}
    ids = rng.integers(1, 4, 30)
    known = [" ".join(map(str, piece)) for piece in pieces.values()]
    found = compared(ids, pieces)
    for length in copying.LENGTHS:
        runs = [" ".join(map(str, ids[i : i + length])) for i in range(len(ids) - length + 1)]
        expected = np.mean([any(run in piece for piece in known) for run in runs])
        assert shares(found, length)[0] == pytest.approx(expected)
    longest = max(
        length
        for length in range(31)
        for i in range(len(ids) - length + 1)
        if any(" ".join(map(str, ids[i : i + length])) in piece for piece in known)
    )
    run = found["longest"]
    assert run["length"] == longest
    original = pieces[run["piece"]][run["piece_start"] : run["piece_start"] + longest]
    np.testing.assert_array_equal(original, ids[run["start"] : run["start"] + longest])


def test_shares_are_of_all_runs_of_all_pieces() -> None:
    made = {"x": TRAINING["a.mid"][:13], "y": melody(17, 6)}
    ended = {name: np.append(piece, 0) for name, piece in TRAINING.items()}
    sets = {"generated": made, "training": TRAINING}
    facts = copying.copy_report(ended, sets, VOCABULARY, np.random.default_rng(0))
    share = facts["generated"]["grams"]["12"]["exact"]
    assert share["value"] == pytest.approx(2 / (2 + 6))
    assert share["interval"] == [0, 1]
    assert facts["generated"]["longest"]["in"] == "x"
    assert facts["n_training"] == 2
    assert "training" not in facts
