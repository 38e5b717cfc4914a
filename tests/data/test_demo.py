"""The built-in corpus."""

from pathlib import Path

import mido
import music21
import pytest

from midilstm.data import demo


def test_demo_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"bach/bwv66.6": "bwv66.6", "bach/bwv277": "bwv277"}
    monkeypatch.setattr(demo, "scores", lambda _: names)
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
    names = list(demo.scores("chorales"))
    assert names == sorted(set(numbered))
    assert len(numbered) == 371


def test_a_score_that_cannot_be_written_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"bach/bwv66.6": "one", "no/such": "two", "ryansMammoth/DiamondReel.abc": "three"}
    monkeypatch.setattr(demo, "scores", lambda _: names)
    folder = demo.make(1, "all")
    assert {path.name for path in folder.iterdir()} == {"ABOUT.txt", "one.mid", "three.mid"}
    assert (
        "Left out 1 scores that music21 cannot write, the first no/such" in capsys.readouterr().out
    )


def test_all_scores_have_files_of_their_own() -> None:
    found = demo.scores("all")
    assert len(found) > 3000
    assert len(set(found.values())) == len(found)
    assert found["ryansMammoth/DiamondReel.abc"] == "ryansMammoth-DiamondReel.abc"
    assert not any(name.startswith("essenFolksong") for name in found)  # books of hundreds of tunes
