"""Training runs: logs, checkpoints, exact resume, refusals."""

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from run_files import read_arrays, read_bits, read_log

import train
from midilstm.fileio import exclusive_lock
from midilstm.model_dir import checkpoint_path, load_settings, metrics, numbered_checkpoints
from midilstm.training.heldout import HeldOutEvaluator
from midilstm.training.log import LogRow, TrainingLog

pytestmark = pytest.mark.usefixtures("undrawn")
SMALL = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
MODEL, LOGS, LAST = Path("model"), Path("logs"), "epoch-0006.keras"


def run(*flags: str) -> int:
    return train.main([*SMALL, "--jobs=1", *flags])


@pytest.fixture
def folder(music: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with music, as the current one."""
    monkeypatch.chdir(music.parent)
    return music.parent


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, make_piece: Callable[..., list[str]]
) -> Path:
    """Return a folder with a run of 6 epochs, a checkpoint every 3, and printed.txt."""
    folder = tmp_path_factory.mktemp("finished")
    for seed in range(6):
        make_piece(folder / "data" / f"piece{seed}.mid", seed=seed)
        make_piece(folder / "other" / f"piece{seed}.mid", seed=50 + seed)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as output:
        assert run("--epochs=6", "--freq=3") == 0
    (folder / "printed.txt").write_text(output.getvalue())
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the finished run's folder, as the current one."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_a_run_leaves_checkpoints_log_and_picture(finished: Path) -> None:
    names = ["best.keras", "epoch-0003.keras", LAST]
    names += ["match_model.json", "reference.json", "settings.json", "vocabulary.json"]
    assert sorted(path.name for path in (finished / MODEL).glob("[!.]*")) == names
    log = read_log(finished / LOGS)
    assert [row["epoch"] for row in log] == list("123456")
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    assert (finished / LOGS / "training.png").read_bytes().startswith(b"\x89PNG")
    lines = (finished / "printed.txt").read_text().splitlines()
    line = next(line for line in lines if line.endswith("saved model/epoch-0003.keras"))
    assert line.startswith(f"epoch 3/6  loss {float(log[2]['loss']):.3f}  accuracy")
    assert lines[-1] == "Done. Now: python sample.py --chars=100"
    fitted_on = json.loads((finished / MODEL / "match_model.json").read_text())["fitted_on"]
    assert (fitted_on["checkpoint"], fitted_on["pieces"], fitted_on["tokens"]) == ("best", 5, 305)


def test_an_interrupted_run_saves_its_last_whole_epoch_and_goes_on_bit_for_bit(
    finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, add = keras.Model.train_on_batch, TrainingLog.add
    left = [*(moments := (("in a step", 1), ("before the log", 2), ("after the log", 4)))]

    def interrupt_at(*now: object) -> None:
        if now in left[:1]:
            left.pop(0)
            signal.raise_signal(signal.SIGTERM)  # handled as Ctrl-C is

    def interrupted_step(*arguments: Any, **options: Any) -> Any:
        interrupt_at("in a step", len(read_log(folder / LOGS)))
        return step(*arguments, **options)

    def interrupted_add(self: TrainingLog, row: LogRow) -> None:
        interrupt_at("before the log", row.epoch)
        add(self, row)
        interrupt_at("after the log", row.epoch)

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted_step)
    monkeypatch.setattr(TrainingLog, "add", interrupted_add)
    expected = read_log(finished / LOGS)
    for _, epoch in moments:
        assert run("--epochs=6", "--freq=3") == 130
        assert read_log(folder / LOGS) == expected[:epoch]
        assert not (folder / MODEL / "match_model.json").exists()
        for name in (f"epoch-000{epoch}.keras", "best.keras"):
            saved = metrics(folder / MODEL / name)
            row = expected[epoch - 1]
            assert (saved["epoch"], f"{saved['val_loss']:.6f}") == (epoch, row["val_loss"])
    assert run("--epochs=6", "--freq=3", "--no-memory") == 0
    assert read_bits(folder / MODEL / LAST) == read_bits(finished / MODEL / LAST)
    assert read_log(folder / LOGS) == expected


def test_a_finished_run_says_how_to_go_on(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / MODEL / "match_model.json").unlink()
    assert run("--epochs=6", "--no-memory") == 0
    message = "Nothing left to train: model holds epoch 6 of 6. Go on with --epochs=12, or"
    assert message in capsys.readouterr().out
    assert not (copied / MODEL / "match_model.json").exists()
    for missing, work in (("match_model", {"Fitting"}), ("reference", {"Measuring"}), ("", set())):
        (copied / MODEL / f"{missing}.json").unlink(missing_ok=True)
        assert run("--epochs=6") == 0
        assert {"Fitting", "Measuring"} & set(capsys.readouterr().out.split()) == work
    (copied / MODEL / "epoch-0003.keras").replace(copied / MODEL / "best.keras")
    assert run("--epochs=6", "--no-memory") == 0
    line = capsys.readouterr().out.splitlines()[-2]
    assert line.startswith("Epoch 3 predicts held-out pieces best, and sample.py takes it. Epoch 6")
    assert line.endswith("latest: python sample.py --chars=100 --checkpoint=latest")
    assert run("--epochs=7", "--no-memory") == 0
    assert len(read_log(copied / LOGS)) == 7


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (["--learning-rate=0.1"], ["learning_rate was 0.003 and is now 0.1"]),
        (["--encoding=tsd", "--bpe=9"], ["encoding was notes", "bpe was 0 and is now 9"]),
        (["--data-dir=fewer"], ["other music: piece5.mid removed or no longer readable"]),
        (["--seq-length=500"], ["305 tokens", "2,004", "--seq-length"]),
        (["--units=65536", "--layers=64", "--fresh"], ["of memory", "--units", "--force"]),
        (["--units=7", "--model-dir=new", "--start-from=model"], ["6 units", "7 units"]),
    ],
)
def test_a_refused_run_names_the_reason_in_one_line_and_changes_nothing(
    copied: Path, flags: list[str], messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data", "fewer", ignore=shutil.ignore_patterns("piece5.mid"))
    before = sorted((path, path.stat().st_mtime_ns) for path in copied.rglob("*/[!.]*"))
    assert run("--epochs=9", *flags) == 2
    error = capsys.readouterr().err
    assert [message for message in messages if message not in error] == []
    assert error.count("\n") == 1
    assert sorted((path, path.stat().st_mtime_ns) for path in copied.rglob("*/[!.]*")) == before


def test_fresh_archives_the_old_run_whatever_its_format(copied: Path) -> None:
    old = read_bits(copied / MODEL / LAST)
    settings = json.loads((copied / MODEL / "settings.json").read_text())
    del settings["format"]
    (copied / MODEL / "settings.json").write_text(json.dumps(settings))
    assert run() == 2
    assert run("--epochs=1", "--seed=1", "--fresh", "--no-memory") == 0
    (archive,) = (copied / MODEL).glob("before-*")
    assert read_bits(archive / LAST) == old
    assert json.loads((archive / "settings.json").read_text())["data"]["seed"] == 0
    assert len(list((copied / LOGS).glob("before-*/training.csv"))) == 1
    assert list(numbered_checkpoints(copied / MODEL)) == [1]


def test_patience_stops_at_the_best_and_is_remembered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--learning-rate=0.6", "--patience=2", "--dropout=0", "--freq=1", "--no-memory"]
    assert run(*flags) == 0
    losses = [float(row["val_loss"]) for row in read_log(folder / LOGS)]
    assert losses.index(min(losses)) == len(losses) - 3 > 0
    best = folder / MODEL / "best.keras"
    assert metrics(best)["val_loss"] == pytest.approx(min(losses), abs=1e-6)
    assert read_bits(best) == read_bits(checkpoint_path(folder / MODEL, len(losses) - 2))
    assert run(*flags) == 0
    assert capsys.readouterr().out.count("has not improved for 2 epochs (--patience)") == 2
    assert len(read_log(folder / LOGS)) == len(losses)


def test_without_held_out_pieces_their_columns_are_nan(folder: Path) -> None:
    assert run("--epochs=1", "--validation=0") == 0
    assert read_log(folder / LOGS)[0]["val_loss"] == "nan"
    assert not (folder / MODEL / "best.keras").exists()
    match_model = json.loads((folder / MODEL / "match_model.json").read_text())
    assert match_model["fitted_on"]["checkpoint"] == "epoch-0001"
    assert metrics(folder / MODEL / "epoch-0001.keras").get("val_loss") is None


def test_a_run_starts_from_another_models_weights(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = (copied / MODEL).rename("base") / "best.keras"
    # With this learning rate an epoch hardly changes the weights.
    flags = ["--data-dir=other", "--start-from=base", "--freq=1", "--ema=0", "--learning-rate=1e-9"]
    assert run("--epochs=1", "--no-memory", *flags) == 0
    assert "Took the weights of base/best.keras: 44 of 44 tokens known" in capsys.readouterr().out
    new, old = (read_arrays(path) for path in (Path("model/best.keras"), base))
    names = [name for name in old if name.startswith("layers/") and old[name].dtype == np.float32]
    assert len(names) == 6
    for name in names:
        np.testing.assert_allclose(new[name], old[name], atol=1e-6)
    start = load_settings(copied / MODEL).initial_checkpoint
    assert start and start.checkpoint == str(base)
    shutil.rmtree("base")  # a resumed run does not read it again
    assert run("--epochs=2", "--no-memory", *flags) == 0


@pytest.mark.parametrize("source", ["the loss", "the held-out loss", "the weights"])
def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing_of_it(
    folder: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, evaluate = keras.Model.train_on_batch, HeldOutEvaluator.__call__

    def is_broken(part: str) -> bool:
        return source == part and len(read_log(folder / LOGS)) == 2

    def broken_step(self: keras.Model, *arguments: Any, **options: Any) -> Any:
        logs = step(self, *arguments, **options)
        return logs | {"loss": np.nan} if is_broken("the loss") else logs

    def broken_evaluate(self: HeldOutEvaluator, pieces: Any) -> tuple[float, float]:
        loss, accuracy = evaluate(self, pieces)
        if is_broken("the weights"):
            self.network.trainable_variables[0].assign(self.network.weights[0] * np.nan)
        return (np.nan if is_broken("the held-out loss") else loss), accuracy

    monkeypatch.setattr(keras.Model, "train_on_batch", broken_step)
    monkeypatch.setattr(HeldOutEvaluator, "__call__", broken_evaluate)
    assert run("--epochs=9", "--freq=5") == 2
    error = capsys.readouterr().err
    assert f"{source} became nan in epoch 3, of which nothing is saved" in error
    assert "Saved model/epoch-0002.keras. Try a lower --learning-rate" in error
    assert [row["epoch"] for row in read_log(folder / LOGS)] == ["1", "2"]
    arrays = [read_arrays(path) for path in (folder / MODEL).glob("*.keras")]
    assert all(np.isfinite(values).all() for x in arrays for values in x.values())


def test_a_loss_worse_than_guessing_is_marked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--epochs=2", "--learning-rate=10", "--ema=0", "--no-memory") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    size = len(json.loads((folder / MODEL / "vocabulary.json").read_text())["tokens"])
    is_worse = [float(row["loss"]) > 2 * np.log(size) for row in read_log(folder / LOGS)]
    assert True in is_worse == ["worse than guessing: try a lower" in line for line in lines]


def test_a_full_disk_is_noticed_before_the_first_epoch(copied: Path) -> None:
    flags = " ".join([*SMALL, "--jobs=1", "--model-dir=new"])  # of music that is in the cache
    command = f"ulimit -f 0; {sys.executable} {train.__file__} {flags}"
    done = subprocess.run(["bash", "-c", command], cwd=copied, capture_output=True, text=True)
    assert done.returncode == 2
    message = "train.py: cannot write new/settings.json (File too large); all files written before"
    assert done.stderr.endswith(f"{message} are intact\n")
    assert "TensorFlow" not in done.stdout
    assert not list((copied / "new").glob("[!.]*"))


def test_damaged_files_of_a_run_are_written_again(
    finished: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last, model_dir = copied / MODEL / LAST, copied / MODEL
    last.write_bytes(last.read_bytes()[:-2000])
    (model_dir / "vocabulary.json").write_text('{"tokens": ["<e')
    (model_dir / "match_model.json").write_text("{}")
    (model_dir / "reference.json").unlink()
    (copied / LOGS / "training.csv").write_bytes(b"1,0.1,1.0,0.001,1.0,1.0\n3,1.\xff")
    assert run("--epochs=6", "--freq=3") == 0
    output, error = capsys.readouterr()
    assert f"{LAST} is damaged and was renamed to damaged-{LAST}" in error
    assert "Going on from model/epoch-0003.keras" in output
    for path in (finished / MODEL).iterdir():
        read = read_bits if path.suffix == ".keras" else Path.read_bytes
        assert read(model_dir / path.name) == read(path)
    assert read_log(copied / LOGS) == read_log(finished / LOGS)[2:]  # the first two are lost


def test_runs_that_share_a_log_folder_in_turn_erase_and_mix_nothing(copied: Path) -> None:
    first, flags = read_log(copied / LOGS), ["--seed=1", "--model-dir=other-model", "--no-memory"]
    assert run("--epochs=2", "--freq=1", *flags) == 0
    second = read_log(copied / LOGS)
    assert run("--epochs=6", "--no-memory") == 0
    assert read_log(copied / LOGS) == [first[2], first[5]]  # those that have a checkpoint
    assert run("--epochs=2", "--no-memory", *flags) == 0
    assert read_log(copied / LOGS) == second
    assert sorted(len(read_log(path)) for path in copied.glob("logs/before-*")) == [2, 2, 6]


def test_two_runs_share_no_folder(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, name in ("--log-dir=another", MODEL), ("--model-dir=another", LOGS):
        with exclusive_lock(copied / name):
            assert run("--epochs=9", flag) == 2
        assert f"another process is writing to {copied / name}" in capsys.readouterr().err
