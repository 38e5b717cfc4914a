"""What the listening page carries; test_page_in_browser.py looks at it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from midi_bytes import notes, smf

from midilstm.rendering.page import build_page
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
A4 = smf(notes((0, 8, 69)))


def page_data(*pieces: TimedPiece) -> list[dict[str, Any]]:
    """Return the pieces of a page as a browser reads them: up to the first closing tag."""
    opening = '<script type="application/json" id="data">'
    found = re.search(f"{opening}(.*?)</script>", build_page(pieces, "output").decode(), re.S)
    assert found
    shown: list[dict[str, Any]] = json.loads(found[1])["pieces"]
    return shown


def test_the_page_holds_the_notes_in_seconds(timed: Read) -> None:
    [entry] = page_data(timed(A4))
    assert entry["parts"][0]["notes"] == [0, 4, 69, 64]
    assert (entry["seconds"], entry["bars"]) == (4, [0, 2])


def test_the_page_knows_what_returns(timed: Read) -> None:
    tune = [(beat, beat + 1, 60 + beat % 9) for beat in range(18)]
    [entry] = page_data(timed(smf(notes(*tune))))
    (*first, colour), (*second, repeated_mask) = entry["returns"]
    assert (first, second, colour) == ([0, 4.5], [4.5, 9], repeated_mask)


def test_a_hostile_name_stays_inside_the_data(timed: Read, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)><\u2215script><b>&amp;.mid"
    settings = {"command": "</script><script>alert(1)</script><!--"}
    (tmp_path / name).with_suffix(".json").write_text(json.dumps(settings))
    piece = timed(A4, name)
    [entry] = page_data(piece)
    assert (entry["name"], entry["settings"]) == (name, settings)
    assert b"<img" not in build_page([piece], "output")


def test_settings_are_shown_as_text_and_tokens_as_their_number(timed: Read, tmp_path: Path) -> None:
    known = {"seed": 7, "val_loss": 3.84123, "primer": None, "stop_at_end": True}
    more = {"tokens": ["C4"] * 1234, "versions": {"keras": "3.15.0", "music21": "10.5.1"}}
    (tmp_path / "x.json").write_text(json.dumps(known | more))
    [entry] = page_data(timed(A4))
    spelled = {"seed": "7", "val_loss": "3.841", "primer": "none", "stop_at_end": "yes"}
    spelled |= {"tokens": "1,234", "versions": "keras 3.15.0, music21 10.5.1"}
    assert entry["settings"] == spelled


@pytest.mark.parametrize(
    "content",
    ["{broken", "[1, 2]", '{"a":' * 600 + "1" + "}" * 600, '{"a": ' + "[" * 10**5],
    ids=["cut", "list", "deep", "deeper"],
)
def test_broken_settings_are_named_and_left_out(
    content: str, timed: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(content)
    [entry] = page_data(timed(A4))
    assert entry["settings"] == {}
    assert "x.json" in capsys.readouterr().err


@pytest.mark.parametrize(("age", "sound"), [(1, "x.wav"), (-1, None)])
def test_a_wav_is_played_only_if_it_is_as_new_as_the_piece(
    age: int, sound: str | None, timed: Read, tmp_path: Path
) -> None:
    piece = timed(A4)
    (tmp_path / "x.wav").touch()
    when = piece.path.stat().st_mtime + age
    os.utime(tmp_path / "x.wav", (when, when))
    assert page_data(piece)[0]["sound"] == sound
