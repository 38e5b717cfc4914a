"""The built-in corpus."""

from pathlib import Path

import mido
import music21
import pytest

from midilstm.corpus import demo


def test_demo_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "chorales", lambda: ["bach/bwv66.6", "bach/bwv277"])
    folder = demo.make(jobs=1)
    made = sorted(path.name for path in folder.iterdir())
    assert made == ["ABOUT.txt", "bwv277.mid", "bwv66.6.mid"]
    for path in folder.glob("*.mid"):
        parts = [{message.type for message in track} for track in mido.MidiFile(path).tracks]
        assert sum("note_on" in types for types in parts) == 4
    assert "music21" in (folder / "ABOUT.txt").read_text()
    (folder / "bwv277.mid").unlink()
    demo.make(jobs=1)
    assert not (folder / "bwv277.mid").exists()


def test_chorales_are_sorted_and_each_score_is_named_once() -> None:
    numbered = list(music21.corpus.chorales.Iterator(returnType="filename"))
    names = demo.chorales()
    assert names == sorted(set(numbered))
    assert len(numbered) == 371
