"""The report of copied passages: written, read back, and refused where it is damaged."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midilstm.copies import FILE, Copy, CopyReport, NoteSpan
from midilstm.fileio import InputError

NOTES = (NoteSpan(0.0, 0.5, 60, 80, 0), NoteSpan(0.5, 1.0, 36, 90, -1))
COPY = Copy("0a" * 32, "rag.mid", -5, 16, (1, 2.5), NOTES)
REPORT = CopyReport({"a.mid": COPY, "b\udcff.mid": replace(COPY, tokens=40)})


def test_written_copies_are_read_back(tmp_path: Path) -> None:
    assert CopyReport.load(tmp_path) == CopyReport({})
    assert REPORT.save(tmp_path) == tmp_path / FILE
    assert CopyReport.load(tmp_path) == REPORT
    smaller = CopyReport({"a.mid": COPY})
    smaller.save(tmp_path)
    assert CopyReport.load(tmp_path) == smaller


def test_a_file_that_evaluate_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("my own notes", encoding="utf-8")
    with pytest.raises(InputError, match=r"was not written by evaluate\.py: move it away"):
        REPORT.save(tmp_path)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == "my own notes"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("sha256", value) for value in ("0A" * 32, None)),
        *(("piece", value) for value in (5, "x" * 5000)),
        *(("semitones", value) for value in (1000, 10**400, True, [1])),
        *(("tokens", value) for value in ("many", 0, math.inf, [16])),
        *(("bars", value) for value in ([1], [2, 1], [0, 1e300], [0, math.inf], [False, True])),
        *(("bars", value) for value in ([0, 10**400], [0, 2**63], [[0], [1]], 5, None)),
        *(("notes", value) for value in ([], "all", [[0, 1, 60, 80, 0]] * 20_001)),
        *(("notes", [[0, end, 60, 80, 0]]) for end in (1e9, math.nan, -1, True, [1], 10**400)),
        *(("notes", [[0, 1, pitch, 80, 0]]) for pitch in (600, 60.5, None)),
        *(("notes", [note]) for note in ([0, 1, 60, 80, 500], [0, 1, 60, 80])),
        *((name, 1) for name in ("another", "x" * 9000)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_file_is_refused_in_one_sentence(key: str, value: Any, tmp_path: Path) -> None:
    path = REPORT.save(tmp_path)
    body = json.loads(path.read_text())
    body["copies"]["a.mid"][key] = value
    path.write_text(json.dumps(body).replace("Infinity", "1e999"))
    with pytest.raises(InputError, match=r"copies\.json is not a valid report of copies") as error:
        CopyReport.load(tmp_path)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 9999, '{"copies": 1}'])
def test_a_file_of_another_form_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"copies\.json is not a valid report of copies"):
        CopyReport.load(tmp_path)
