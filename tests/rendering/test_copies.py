"""Copied passages on the page: those of this very file, and nothing out of range."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from midi_bytes import notes, smf

from midilstm.rendering.copies import copy_of, read_copies
from midilstm.rendering.timeline import TimedPiece

TUNE = smf(notes(*((beat, beat + 1, 60 + beat % 9) for beat in range(18))))


def copy(data: bytes = TUNE, **changes: Any) -> dict[str, Any]:
    """Return an entry of copies.json for a file of these bytes."""
    played = [[0.0, 0.5, 60, 80, 0], [0.5, 1.0, 36, 90, -1], [1.0, 2.0, 62, 80, 0]]
    body = {"sha256": hashlib.sha256(data).hexdigest(), "piece": "rag.mid", "semitones": 2}
    return {**body, "tokens": 16, "bars": [1, 2.5], "notes": played, **changes}


def test_a_copy_is_in_seconds_and_one_part_an_instrument(
    timed: Callable[..., TimedPiece], tmp_path: Path
) -> None:
    piece = timed(TUNE)
    (tmp_path / "copies.json").write_text(json.dumps({"copies": {"x.mid": copy()}}))
    found = copy_of(piece, read_copies(tmp_path))
    assert found is not None
    assert (found["start"], found["end"], found["seconds"]) == (2, 5, 2)
    assert [part["program"] for part in found["parts"]] == [0, -1]
    assert found["parts"][0]["notes"] == [0, 0.5, 60, 80, 1, 2, 62, 80]


def test_a_file_that_has_changed_or_was_not_examined_shows_none(
    timed: Callable[..., TimedPiece], capsys: pytest.CaptureFixture[str]
) -> None:
    piece = timed(TUNE)
    assert copy_of(piece, {"x.mid": copy(b"another")}) is None
    assert copy_of(piece, {"y.mid": copy()}) is None
    assert read_copies(piece.path.parent) == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": []},
        {"notes": [[0, 1e9, 60, 80, 0]]},
        {"notes": [[0, 1, 600, 80, 0]]},
        {"notes": [[0, 1, 60, 80, 500]]},
        {"notes": [[0, float("nan"), 60, 80, 0]]},
        {"notes": "all"},
        {"bars": [1]},
        {"tokens": "many"},
    ],
    ids=str,
)
def test_a_broken_copy_is_left_out_and_named(
    changes: dict[str, Any], timed: Callable[..., TimedPiece], capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy_of(timed(TUNE), {"x.mid": copy(**changes)}) is None
    assert "x.mid" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 9999, '{"copies": 1}'])
def test_a_broken_file_is_named_and_the_page_goes_on(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copies.json").write_text(text)
    assert read_copies(tmp_path) == {}
    assert "copies.json" in capsys.readouterr().err
