"""A model folder: selecting checkpoints, recognising a run, refusing others."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from midilstm import checkpoint, model_dir
from midilstm.config import DataConfig, ModelConfig, TrainConfig
from midilstm.fileio import InputError
from midilstm.run_settings import DatasetSummary, InitialCheckpoint, RunSettings

PIECE_A = f"{10:016} a"
MANY = (f"{10:016} renamed", *(f"{name:016} {name}" for name in range(7)))
DATASET = DatasetSummary(
    pieces=6,
    tokens=1366,
    held_out=("caf\udce9.mid",),
    files=(PIECE_A, f"{11:016} c", f"{12:016} d"),
    sha256="a",
    vocabulary_size=9,
)
SETTINGS = RunSettings(
    model=ModelConfig(units=6), data=DataConfig(), train=TrainConfig(), dataset=DATASET
)


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("")
    return folder


def whole(folder: Path, *names: str) -> Path:
    """Write files that pass for checkpoints, with metrics."""
    folder.mkdir(exist_ok=True)
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(checkpoint.METRICS, '{"val_loss": 1.5, "epoch": 2}')
    return folder


def test_settings_survive_a_round_trip_through_their_file(tmp_path: Path) -> None:
    start = InitialCheckpoint(checkpoint="base/best.keras", sha256="b")
    data = DataConfig(encoding="remi", bpe=7, data_dir=Path("elsewhere"))
    settings = replace(SETTINGS, data=data, initial_checkpoint=start)
    model_dir.save_settings(tmp_path, settings)
    expected = replace(settings, data=replace(data, data_dir=DataConfig().data_dir))
    assert model_dir.load_settings(tmp_path) == expected
    versions = json.loads((tmp_path / "settings.json").read_text())["versions"]
    assert set(versions) == {"keras", "tensorflow", "music21", "miditok"}


def test_a_run_begins_once_and_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert model_dir.begin_or_resume(folder, SETTINGS) == (0, SETTINGS)
    assert model_dir.load_settings(folder) == SETTINGS
    other = replace(SETTINGS, data=DataConfig(seed=3))
    assert model_dir.begin_or_resume(folder, other) == (0, other)
    whole(folder, "epoch-0005.keras", "epoch-0012.keras", "best.keras")
    touch(folder, ".partial-epoch-0013.keras")
    # The same music under other names is the same run.
    renamed = replace(other, dataset=replace(DATASET, held_out=("x.mid",), files=("0" * 17,)))
    assert model_dir.begin_or_resume(folder, renamed) == (12, renamed)
    assert model_dir.load_settings(folder) == other
    (folder / "settings.json").unlink()
    with pytest.raises(InputError, match=r"its settings\.json is missing.* --fresh"):
        model_dir.begin_or_resume(folder, SETTINGS)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SETTINGS, model=ModelConfig(units=7)), "settings: units was 6 and is now 7. Give"),
        (replace(SETTINGS, train=TrainConfig(ema=0.0)), "ema was 0.98 and is now 0.0"),
        (
            replace(SETTINGS, dataset=replace(DATASET, sha256="b")),
            "other music: the same files give other tokens. Give",
        ),
        (
            replace(SETTINGS, dataset=replace(DATASET, sha256="b", files=(PIECE_A, f"{9:016} c"))),
            "other music: d removed or no longer readable; c changed. Give",
        ),
        (
            replace(SETTINGS, dataset=replace(DATASET, sha256="b", files=MANY)),
            "other music: 0, 1, 2 and 4 more added; c, d removed or no longer readable. Give",
        ),
    ],
)
def test_another_run_is_refused_and_the_difference_is_named(
    tmp_path: Path, other: RunSettings, message: str
) -> None:
    model_dir.save_settings(whole(tmp_path, "epoch-0001.keras"), SETTINGS)
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(InputError) as refused:
        model_dir.begin_or_resume(tmp_path, other)
    assert message in str(refused.value)
    assert "--fresh" in str(refused.value)
    assert (tmp_path / "settings.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        (json.dumps(SETTINGS.to_json()), "format"),
        (json.dumps({"format": model_dir.FORMAT - 1}), "another format"),
    ],
)
def test_damaged_earlier_or_hostile_settings_are_refused_in_one_sentence(
    tmp_path: Path, content: str, reason: str
) -> None:
    (whole(tmp_path, "epoch-0001.keras") / "settings.json").write_text(content)
    for work in (model_dir.begin_or_resume, model_dir.initial_checkpoint):
        with pytest.raises(InputError) as refused:
            work(tmp_path, SETTINGS)
        for part in (f"the model in {tmp_path} ", "another version", reason, "--fresh"):
            assert part in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_checkpoint_is_selected_by_epoch_or_word(tmp_path: Path) -> None:
    touch(tmp_path, "settings.json", "epoch-0002.keras", "epoch-0010.keras")
    assert model_dir.select_checkpoint(tmp_path).name == "epoch-0010.keras"
    touch(tmp_path, "best.keras")
    names = {None: "best", "best": "best", "latest": "epoch-0010", "2": "epoch-0002"}
    for which, name in names.items():
        assert model_dir.select_checkpoint(tmp_path, which) == tmp_path / f"{name}.keras"
    for which in ("3", "../x", "settings.json"):
        with pytest.raises(InputError, match=r"can be best, latest, 2, 10$"):
            model_dir.select_checkpoint(tmp_path, which)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(InputError, match="no trained model"):
        model_dir.select_checkpoint(tmp_path)


def test_metrics_come_from_the_checkpoint_and_are_empty_where_it_is_damaged(
    tmp_path: Path,
) -> None:
    assert model_dir.metrics(whole(tmp_path, "a.keras") / "a.keras") == {
        "val_loss": 1.5,
        "epoch": 2,
    }
    assert model_dir.metrics(touch(tmp_path, "empty.keras") / "empty.keras") == {}
    for text in ("[1]", "1", '{"val_loss": []}', "NaN", "[" * 5):
        with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
            archive.writestr(checkpoint.METRICS, text)
        assert model_dir.metrics(tmp_path / "b.keras") == {}


def test_damaged_checkpoints_are_renamed_until_one_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole(tmp_path, "epoch-0001.keras", "epoch-0002.keras", "epoch-0003.keras", "best.keras")
    for name in ("best", "epoch-0003"):
        content = bytearray((tmp_path / f"{name}.keras").read_bytes())
        content[50] ^= 1
        (tmp_path / f"{name}.keras").write_bytes(content)
    touch(tmp_path, "epoch-0004.keras")
    model_dir.quarantine_damaged(tmp_path)
    assert list(model_dir.numbered_checkpoints(tmp_path)) == [1, 2]
    damaged = sorted(path.name for path in tmp_path.glob("damaged-*"))
    assert damaged == [f"damaged-{n}.keras" for n in ("best", "epoch-0003", "epoch-0004")]
    assert capsys.readouterr().err.count(" is damaged and ") == 3


def test_older_checkpoints_are_removed_once_the_newest_can_be_read_back(tmp_path: Path) -> None:
    whole(tmp_path, *(f"epoch-000{n}.keras" for n in range(1, 5)), "best.keras")
    touch(tmp_path, "epoch-0005.keras")
    model_dir.keep_newest(tmp_path, 2)
    assert list(model_dir.numbered_checkpoints(tmp_path)) == [1, 2, 3, 4, 5]
    whole(tmp_path, "epoch-0005.keras")
    model_dir.keep_newest(tmp_path, 2)
    assert list(model_dir.numbered_checkpoints(tmp_path)) == [4, 5]
    assert (tmp_path / "best.keras").exists()


def test_only_the_files_of_a_run_are_archived_and_each_time_into_a_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_dir.archive_run(tmp_path, model_dir.FILES)
    assert capsys.readouterr().out == ""
    names = ["best.keras", "epoch-0001.keras", "settings.json"]
    for count in (1, 2):
        touch(tmp_path, *names, "mine.txt")
        model_dir.archive_run(tmp_path, model_dir.FILES)
        archives = list(tmp_path.glob("before-*"))
        assert len(archives) == count
    for archive in archives:
        assert sorted(path.name for path in archive.iterdir()) == names
    assert str(archives[0]) in capsys.readouterr().out
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize("n_moved", range(4))
def test_archiving_that_was_interrupted_is_finished_by_the_next_run(
    tmp_path: Path, n_moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["best.keras", "epoch-0001.keras", "settings.json"]
    model_dir.save_settings(whole(tmp_path, *names[:2]), SETTINGS)
    moved: list[str] = []
    replace_file = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if len(moved) == n_moved:
            raise KeyboardInterrupt
        moved.append(path.name)
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        patch.setattr(Path, "rename", lambda *_: interrupted(tmp_path, tmp_path))
        with pytest.raises(KeyboardInterrupt):
            model_dir.archive_run(tmp_path, model_dir.FILES)
    assert (
        model_dir.begin_or_resume(tmp_path, replace(SETTINGS, model=ModelConfig(units=7)))[0] == 0
    )
    (archive,) = tmp_path.glob("before-*")
    assert sorted(path.name for path in archive.iterdir()) == names
    assert not list(tmp_path.glob(".*"))


def test_a_run_does_not_start_from_a_damaged_or_different_model(tmp_path: Path) -> None:
    model_dir.save_settings(touch(tmp_path, "epoch-0001.keras"), SETTINGS)
    with pytest.raises(InputError, match="is damaged: start from another"):
        model_dir.initial_checkpoint(tmp_path, SETTINGS)
    start = model_dir.initial_checkpoint(whole(tmp_path, "epoch-0001.keras"), SETTINGS)
    assert start.checkpoint == str(tmp_path / "epoch-0001.keras")
    with pytest.raises(InputError, match=r"2 layers of 6 units .* this run is .* of 7 units"):
        model_dir.initial_checkpoint(tmp_path, replace(SETTINGS, model=ModelConfig(units=7)))
