"""The data of the page; test_page_in_browser.py tests how it looks and plays."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from midi_bytes import notes, smf

from midilstm import midi
from midilstm.copies import Copy, CopyReport, NoteSpan
from midilstm.midi.score_json import score_to_json
from midilstm.rendering.page import build_page
from midilstm.rendering.timeline import TimedPiece

Read = Callable[..., TimedPiece]
A4 = smf(notes((0, 8, 69)))


def page_data(piece: TimedPiece) -> dict[str, Any]:
    """Return the piece of a page as a browser reads it: up to the first closing tag."""
    opening = '<script type="application/json" id="data">'
    page = build_page([piece], piece.path.parent).decode()
    match = re.search(f"{opening}(.*?)</script>", page, re.DOTALL)
    assert match
    [entry] = json.loads(match[1])["pieces"]
    return dict(entry)


def test_the_page_contains_the_notes_in_seconds(timed: Read) -> None:
    entry = page_data(timed(A4))
    assert entry["parts"][0]["notes"] == [0, 4, 69, 64]
    assert (entry["seconds"], entry["bars"]) == (4, [0, 2])


def test_a_hostile_file_name_stays_inside_the_data(timed: Read, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)><\u2215script><b>&amp;.mid"
    settings = {"command": "</script><script>alert(1)</script><!--"}
    (tmp_path / name).with_suffix(".json").write_text(json.dumps(settings))
    piece = timed(A4, name)
    entry = page_data(piece)
    assert (entry["name"], entry["settings"]) == (name, settings)
    assert b"<img" not in build_page([piece], tmp_path)


def test_settings_are_text_and_tokens_are_counted(timed: Read, tmp_path: Path) -> None:
    settings: dict[str, tuple[object, str]] = {
        "seed": (7, "7"),
        "val_loss": (3.84123, "3.841"),
        "primer": (None, "none"),
        "stop_at_end": (True, "yes"),
        "tokens": (["C4"] * 1234, "1,234"),
        "versions": ({"keras": "3.15.0", "music21": "10.5.1"}, "keras 3.15.0, music21 10.5.1"),
    }
    saved = {key: value for key, (value, _) in settings.items()}
    (tmp_path / "x.json").write_text(json.dumps(saved))
    entry = page_data(timed(A4))
    assert entry["settings"] == {key: text for key, (_, text) in settings.items()}


@pytest.mark.parametrize(
    ("name", "key", "empty"), [("x.json", "settings", {}), ("copies.json", "copy", None)]
)
@pytest.mark.parametrize(
    "content", ["{broken", "[1, 2]", '{"a": ' + "[" * 10**5], ids=["cut", "list", "deep"]
)
def test_a_broken_json_file_is_skipped_with_a_warning(
    content: str, name: str, key: str, empty: object, timed: Read, capsys: Any, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    entry = page_data(timed(A4))
    assert entry[key] == empty
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(("age", "sound"), [(1, "x.wav"), (-1, None)])
def test_a_wav_file_is_played_only_if_it_is_not_older_than_the_piece(
    age: int, sound: str | None, timed: Read, tmp_path: Path
) -> None:
    piece = timed(A4)
    (tmp_path / "x.wav").touch()
    modified = piece.path.stat().st_mtime + age
    os.utime(tmp_path / "x.wav", (modified, modified))
    assert page_data(piece)["sound"] == sound


def test_a_copy_is_shown_in_seconds_unless_the_file_has_changed(
    timed: Read, repeating: bytes, tmp_path: Path
) -> None:
    events = ((0.0, 0.5, 60, 80, 0), (0.5, 1.0, 36, 90, -1), (1.0, 2.0, 62, 80, 0))
    passage = tuple(NoteSpan(*event) for event in events)
    copy = Copy(hashlib.sha256(repeating).hexdigest(), "rag.mid", 2, 16, (1, 2.5), passage)
    CopyReport({"x.mid": copy}).save(tmp_path)
    entry = page_data(timed(repeating))["copy"]
    assert (entry["start"], entry["end"], entry["seconds"]) == (2, 5, 2)
    assert [part["program"] for part in entry["parts"]] == [0, -1]
    assert entry["parts"][0]["notes"] == [0, 0.5, 60, 80, 1, 2, 62, 80]
    assert page_data(timed(A4))["copy"] is None


def test_bars_that_were_drawn_and_notes_that_were_kept_are_marked(
    timed: Read, tmp_path: Path
) -> None:
    tune = tuple((beat, beat + 2, 60 + beat) for beat in range(0, 16, 2))
    flute = notes((0, 16, 90), channel=1, start=b"\0\xc1\x49")
    source = score_to_json(midi.read(smf(notes(*tune), flute)))
    body = {"source_score": source, "drawn_bars": [2, 4, 99, "x"], "kept_instruments": ["Flute"]}
    (tmp_path / "x.json").write_text(json.dumps(body))
    # The first note of bar 1 is another one, that of bar 2 was drawn like the one of the source.
    entry = page_data(timed(smf(notes((0, 2, 50), *tune[1:]), flute)))
    assert entry["drawn"] == [[2, 4], [6, 8]]
    assert [(part["label"], part["style"], part["notes"][::4]) for part in entry["parts"]] == [
        ("Acoustic Grand Piano", "notes", [0, 2, 3, 6, 7]),
        ("Acoustic Grand Piano, kept", "notes kept", [1, 4, 5]),
        ("Flute, kept", "notes kept", [0]),
    ]
    for key, broken in (("drawn_bars", 7), ("source_score", {}), ("kept_instruments", [[]])):
        (tmp_path / "x.json").write_text(json.dumps(body | {key: broken}))
        assert [part["style"] for part in page_data(timed(A4))["parts"]] == ["notes"]
