"""A model folder: which checkpoint, which run, and what is refused."""

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from midilstm import model_dir as runs
from midilstm.fileio import InputError

SETTINGS: dict[str, Any] = {
    "network": {"vocabulary_size": 9, "units": 6},
    "training": {"encoding": "notes", "seed": 0, "transpose": True},
    "corpus": {"pieces": 6, "tokens": 1366, "held_out": ["caf\udce9.mid"], "sha256": "a"},
}


def changed(part: str, **values: Any) -> dict[str, Any]:
    return {**SETTINGS, part: {**SETTINGS[part], **values}}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("")
    return folder


def test_a_run_begins_once_and_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert runs.epoch_to_resume(folder, SETTINGS) == 0
    runs.save_settings(folder, SETTINGS)
    saved = runs.load_settings(folder)
    assert saved.items() >= SETTINGS.items()  # a file name that is not UTF-8 among them
    assert set(saved["versions"]) == {"keras", "tensorflow", "music21", "miditok"}
    assert runs.epoch_to_resume(folder, SETTINGS) == 0
    touch(folder, "epoch-0005.keras", "epoch-0012.keras", "best.keras", ".partial-epoch-0013.keras")
    assert runs.epoch_to_resume(folder, SETTINGS) == 12


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (changed("network", units=7), "differently: network.units was 6 and is now 7. Give"),
        (changed("training", seed=3), "training.seed was 0 and is now 3"),
        (
            changed("corpus", pieces=5, tokens=305, sha256="b"),
            "the music was 6 pieces with 1,366 tokens and is now 5 with 305",
        ),
        (changed("corpus", sha256="b") | {"network": {"vocabulary_size": 8, "units": 6}}, "music"),
        (
            changed("corpus", sha256="b") | changed("training", encoding="tsd"),
            "training.encoding was notes and is now tsd",
        ),
    ],
)
def test_another_run_is_refused_and_what_differs_is_named(
    tmp_path: Path, other: dict[str, Any], named: str
) -> None:
    runs.save_settings(touch(tmp_path, "epoch-0001.keras"), SETTINGS)
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(InputError) as refused:
        runs.epoch_to_resume(tmp_path, other)
    assert named in str(refused.value)
    assert "--fresh" in str(refused.value)
    assert "vocabulary_size" not in str(refused.value)
    assert (tmp_path / "settings.json").read_bytes() == before


def test_a_folder_without_checkpoints_blocks_no_other_run(tmp_path: Path) -> None:
    runs.save_settings(tmp_path, SETTINGS)
    assert runs.epoch_to_resume(tmp_path, changed("training", seed=3)) == 0


def test_what_an_older_run_did_not_have_counts_as_off(tmp_path: Path) -> None:
    runs.save_settings(touch(tmp_path, "epoch-0001.keras"), SETTINGS)
    assert runs.epoch_to_resume(tmp_path, changed("training", ema=0.0, start_from=None)) == 1
    with pytest.raises(InputError, match=r"ema was None and is now 0\.98"):
        runs.epoch_to_resume(tmp_path, changed("training", ema=0.98))


def test_checkpoints_without_settings_are_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its settings\.json is missing.* --fresh"):
        runs.epoch_to_resume(touch(tmp_path, "epoch-0001.keras"), SETTINGS)


@pytest.mark.parametrize(
    "content", ["", "[]", *(json.dumps({**SETTINGS, **part}) for part in ({}, {"format": 1}))]
)
def test_a_damaged_or_earlier_model_is_refused_with_what_to_do(
    tmp_path: Path, content: str
) -> None:
    (touch(tmp_path, "best.keras") / "settings.json").write_text(content)
    with pytest.raises(InputError) as refused:
        runs.epoch_to_resume(tmp_path, SETTINGS)
    for part in (f"the model in {tmp_path} ", "another version", "--fresh", "--model-dir"):
        assert part in str(refused.value)


def test_a_checkpoint_is_chosen_by_epoch_or_word(tmp_path: Path) -> None:
    touch(tmp_path, "settings.json", "epoch-0002.keras", "epoch-0010.keras")
    assert runs.select_checkpoint(tmp_path).name == "epoch-0010.keras"
    touch(tmp_path, "best.keras")
    names = {None: "best", "best": "best", "latest": "epoch-0010", "2": "epoch-0002"}
    for which, name in names.items():
        assert runs.select_checkpoint(tmp_path, which) == tmp_path / f"{name}.keras"
    for which in ("3", "../x", "settings.json"):
        with pytest.raises(InputError, match=r"can be best, latest, 2, 10$"):
            runs.select_checkpoint(tmp_path, which)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(InputError, match="no trained model"):
        runs.select_checkpoint(tmp_path)


def test_a_damaged_checkpoint_has_no_held_out_loss(tmp_path: Path) -> None:
    assert runs.metrics(touch(tmp_path, "a.keras") / "a.keras").get("val_loss") is None


def whole(folder: Path, *names: str) -> Path:
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(runs.METRICS, '{"val_loss": 1.5, "epoch": 2}')
    return folder


def test_scores_come_from_the_checkpoint_and_none_from_a_strange_one(tmp_path: Path) -> None:
    assert runs.metrics(whole(tmp_path, "a.keras") / "a.keras").get("val_loss") == 1.5
    for text in ("[1]", "1", '{"val_loss": []}', "NaN", "[" * 5):
        with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
            archive.writestr(runs.METRICS, text)
        assert runs.metrics(tmp_path / "b.keras") == {}


def test_damaged_checkpoints_are_set_aside_until_one_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole(tmp_path, "epoch-0001.keras", "epoch-0002.keras", "epoch-0003.keras", "best.keras")
    for name in ("best", "epoch-0003"):
        content = bytearray((tmp_path / f"{name}.keras").read_bytes())
        content[50] ^= 1
        (tmp_path / f"{name}.keras").write_bytes(content)
    touch(tmp_path, "epoch-0004.keras")
    runs.quarantine_damaged(tmp_path)
    assert list(runs.numbered_checkpoints(tmp_path)) == [1, 2]
    damaged = sorted(path.name for path in tmp_path.glob("damaged-*"))
    assert damaged == [f"damaged-{n}.keras" for n in ("best", "epoch-0003", "epoch-0004")]
    assert capsys.readouterr().err.count(" is damaged: ") == 3


def test_older_checkpoints_go_once_the_newest_can_be_read_back(tmp_path: Path) -> None:
    whole(tmp_path, *(f"epoch-000{n}.keras" for n in range(1, 5)), "best.keras")
    touch(tmp_path, "epoch-0005.keras")
    runs.keep_newest(tmp_path, 2)
    assert list(runs.numbered_checkpoints(tmp_path)) == [1, 2, 3, 4, 5]
    whole(tmp_path, "epoch-0005.keras")
    runs.keep_newest(tmp_path, 2)
    assert list(runs.numbered_checkpoints(tmp_path)) == [4, 5]
    assert (tmp_path / "best.keras").exists()


def test_only_the_runs_files_move_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.archive_run(tmp_path, runs.FILES)
    assert capsys.readouterr().out == ""
    touch(tmp_path, "epoch-0001.keras", "best.keras", "settings.json", "mine.txt")
    runs.archive_run(tmp_path, runs.FILES)
    (aside,) = tmp_path.glob("before-*")
    assert str(aside) in capsys.readouterr().out
    assert sorted(path.name for path in aside.iterdir()) == [
        "best.keras",
        "epoch-0001.keras",
        "settings.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [aside.name, "mine.txt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"format": runs.FORMAT, **changed("network", layers=10**8)}), "layers is 1000"),
        (json.dumps({"format": runs.FORMAT, **changed("training", seed="x")}), "seed is 'x'"),
        (json.dumps({"format": runs.FORMAT, **changed("corpus", pieces=-1)}), "pieces is -1"),
        ("[" * 10_000, "nested"),
        ('{"format": 2, "format": 2}', "a name twice"),
    ],
)
def test_hostile_settings_are_refused_by_a_run_and_by_one_that_starts_from_it(
    tmp_path: Path, content: str, said: str
) -> None:
    (whole(tmp_path, "epoch-0001.keras") / "settings.json").write_text(content)
    for ask in (runs.epoch_to_resume, runs.base):
        with pytest.raises(InputError, match=r"settings\.json is missing, damaged") as refused:
            ask(tmp_path, SETTINGS)
        assert said in str(refused.value)


def test_a_run_starts_from_no_damaged_checkpoint(tmp_path: Path) -> None:
    runs.save_settings(touch(tmp_path, "epoch-0001.keras"), SETTINGS)
    with pytest.raises(InputError, match="is damaged: start from another"):
        runs.initial_checkpoint(tmp_path, SETTINGS)
    assert set(runs.initial_checkpoint(whole(tmp_path, "epoch-0001.keras"), SETTINGS)) == {
        "checkpoint",
        "sha256",
    }


def test_a_clock_that_is_set_back_costs_no_run_that_was_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "before-now")
    for text in ("first", "second", "third"):
        (tmp_path / "best.keras").write_text(text)
        runs.archive_run(tmp_path, runs.FILES)
    asides = [tmp_path / name / "best.keras" for name in ("before-now", "before-now-2")]
    assert [path.read_text() for path in asides] == ["first", "second"]
    assert len(list(tmp_path.glob("before-*"))) == 3
