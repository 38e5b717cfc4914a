"""The report of copied passages: written, read back, and refused where it is damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midilstm.copies import FILE, CopiedNote, Copy, CopyReport
from midilstm.fileio import InputError

NOTES = (CopiedNote(0.0, 0.5, 60, 80, 0), CopiedNote(0.5, 1.0, 36, 90, -1))
COPY = Copy("0a" * 32, "rag.mid", -5, 16, (1, 2.5), NOTES)
REPORT = CopyReport({"a.mid": COPY, "b\udcff.mid": replace(COPY, tokens=40)})


def test_a_written_report_is_read_back(tmp_path: Path) -> None:
    assert CopyReport.read(tmp_path) == CopyReport({})
    assert REPORT.write(tmp_path) == tmp_path / FILE
    assert CopyReport.read(tmp_path) == REPORT
    CopyReport({"a.mid": COPY}).write(tmp_path)
    assert [*CopyReport.read(tmp_path).copies] == ["a.mid"]


def test_a_file_that_evaluate_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("my own notes", encoding="utf-8")
    with pytest.raises(InputError, match=r"was not written by evaluate\.py: move it away"):
        REPORT.write(tmp_path)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == "my own notes"


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0A" * 32},
        {"sha256": None},
        {"piece": 5},
        {"piece": "x" * 5000},
        {"semitones": 1000},
        {"tokens": "many"},
        {"tokens": True},
        {"bars": [1]},
        {"bars": [2, 1]},
        {"bars": [0, 1e300]},
        {"notes": []},
        {"notes": "all"},
        {"notes": [[0, 1e9, 60, 80, 0]]},
        {"notes": [[0, float("nan"), 60, 80, 0]]},
        {"notes": [[1, 0, 60, 80, 0]]},
        {"notes": [[0, 1, 600, 80, 0]]},
        {"notes": [[0, 1, 60.5, 80, 0]]},
        {"notes": [[0, 1, 60, 80, 500]]},
        {"notes": [[0, 1, 60, 80, 0]] * 20_001},
        {"another": 1},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_damaged_report_is_refused_in_one_sentence(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    path = REPORT.write(tmp_path)
    body = json.loads(path.read_text())
    body["copies"]["a.mid"] |= changes
    path.write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"copies\.json is not a valid report of copies"):
        CopyReport.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 9999, '{"copies": 1}'])
def test_a_file_of_another_form_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"copies\.json is not a valid report of copies"):
        CopyReport.read(tmp_path)
