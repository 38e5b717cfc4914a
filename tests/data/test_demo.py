"""The demo's scores, which come with music21."""

from pathlib import Path

import mido
import music21
import pytest

from midilstm.data import demo


def test_chorales_are_written_once_with_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = {"bach/bwv66.6": "bwv66.6", "bach/bwv277": "bwv277"}
    monkeypatch.setattr(demo, "list_scores", lambda _: scores)
    folder = demo.write_demo(1, "chorales")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["ABOUT.txt", "bwv277.mid", "bwv66.6.mid"]
    for path in folder.glob("*.mid"):
        tracks = [{message.type for message in track} for track in mido.MidiFile(path).tracks]
        assert sum("note_on" in types for types in tracks) == 4
    assert "music21" in (folder / "ABOUT.txt").read_text()
    (folder / "bwv277.mid").unlink()
    demo.write_demo(1, "chorales")
    assert not (folder / "bwv277.mid").exists()


def test_a_score_that_cannot_be_written_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = {"no/such": "two", "ryansMammoth/DiamondReel.abc": "three"}
    monkeypatch.setattr(demo, "list_scores", lambda _: scores)
    folder = demo.write_demo(1, "all")
    assert {path.name for path in folder.iterdir()} == {"ABOUT.txt", "three.mid"}
    printed = capsys.readouterr().out
    assert "Left out 1 score that music21 cannot write, such as no/such (" in printed


def test_each_score_is_listed_once_with_another_file_name() -> None:
    chorales = list(music21.corpus.chorales.Iterator(returnType="filename"))
    assert list(demo.list_scores("chorales")) == sorted(set(chorales))
    scores = demo.list_scores("all")
    assert len(set(scores.values())) == len(scores) > 3000
    assert scores["ryansMammoth/DiamondReel.abc"] == "ryansMammoth-DiamondReel.abc"
    assert not any(name.startswith("essenFolksong") for name in scores)  # books of many tunes
