"""Runs: logs, checkpoints, exact resume, refusals."""

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import preprocess
import train
from midilstm import model_dir as runs
from midilstm.fileio import exclusive_lock
from midilstm.tokenizers import write
from midilstm.training import log
from midilstm.training.heldout import HeldOutEvaluator

ROOT = Path(train.__file__).parent
SMALL = ["--embedding-size=8", "--units=6", "--layers=1", "--batch-size=4", "--seq-length=8"]
SMALL += ["--jobs=1"]


def run(*flags: str) -> int:
    return train.main([*SMALL, *flags])


def rows(folder: Path, logs: str = "logs") -> list[dict[str, str]]:
    with (folder / logs / "training.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(path: Path) -> dict[str, bytes]:
    """Read every array, the optimizer's too, without Keras."""
    arrays: dict[str, bytes] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = node[()].tobytes()

    with zipfile.ZipFile(path) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
    assert (
        len(arrays) == 6 + 2 + 3 * 6
    )  # the network's, Adam's own, two moments and an average for each
    return arrays


@pytest.fixture
def folder(music: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(music.parent)
    return music.parent


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, make_piece: Callable[..., list[str]]
) -> tuple[Path, str]:
    """Return a folder with a run of 6 epochs, a checkpoint every 3, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    for number in range(6):
        make_piece(folder / "data" / f"piece{number}.mid", seed=number)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        assert run("--epochs=6", "--freq=3") == 0
    return folder, said.getvalue()


@pytest.fixture
def copied(finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the finished run's folder, as the current one."""
    shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_a_run_leaves_checkpoints_log_and_picture(finished: tuple[Path, str]) -> None:
    folder, said = finished
    assert sorted(path.name for path in (folder / "model").iterdir()) == [
        "best.keras",
        "epoch-0003.keras",
        "epoch-0006.keras",
        "match_model.json",
        "reference.json",
        "settings.json",
        "vocabulary.json",
    ]
    logged = rows(folder)
    assert [row["epoch"] for row in logged] == ["1", "2", "3", "4", "5", "6"]
    assert float(logged[-1]["loss"]) < float(logged[0]["loss"])
    assert (folder / "logs" / "training.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 6
    assert f"loss {float(logged[2]['loss']):.3f}" in lines[2]
    assert lines[2].endswith("saved model/epoch-0003.keras")
    assert said.splitlines()[-1] == "Done. Now: python sample.py --chars=100"


@pytest.mark.slow
def test_killed_between_checkpoints_it_goes_on_bit_for_bit(
    finished: tuple[Path, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*SMALL, "--epochs=6", "--freq=3"]
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "import train; from midilstm.training import log; add = log.TrainingLog.add\n"
        "def add_and_die(self, row):\n"
        "    add(self, row); row.epoch == 5 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "log.TrainingLog.add = add_and_die; train.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(ROOT), *flags]
    told = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    killed = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=told)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")  # TensorFlow keeps quiet
    assert list(runs.numbered_checkpoints(folder / "model")) == [3]
    assert len(rows(folder)) == 5
    assert run("--epochs=6", "--freq=3") == 0
    assert "Going on from model/epoch-0003.keras" in capsys.readouterr().out
    expected, there = finished[0], Path("model", "epoch-0006.keras")
    assert weights(folder / there) == weights(expected / there)
    assert rows(folder) == rows(expected)


def test_ctrl_c_saves_the_last_whole_epoch_and_goes_on_bit_for_bit(
    finished: tuple[Path, str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, epochs = keras.Model.train_on_batch, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        epochs.append(len(rows(folder)))
        if epochs.count(4) == 3:  # in the midst of the fifth epoch
            os.kill(os.getpid(), signal.SIGTERM)  # taken as Ctrl-C is
        return step(*arguments, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted)
    assert run("--epochs=6", "--freq=3") == 130
    assert "Saved model/epoch-0004.keras. The same command goes on" in capsys.readouterr().err
    assert not Path("model", "match_model.json").exists()
    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    assert run("--epochs=6", "--freq=3") == 0
    assert "Going on from model/epoch-0004.keras" in capsys.readouterr().out
    there = Path("model", "epoch-0006.keras")
    assert weights(folder / there) == weights(finished[0] / there)


def test_a_finished_run_says_how_to_go_on(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--epochs=6") == 0
    said = capsys.readouterr().out
    assert "Nothing left to train: model holds epoch 6 of 6" in said
    assert "--epochs=12" in said
    assert "--fresh" in said
    assert "match_model.json" not in said  # there it is
    assert run("--epochs=7") == 0
    assert [row["epoch"] for row in rows(copied)] == ["1", "2", "3", "4", "5", "6", "7"]


def test_a_memory_is_fitted_to_the_best_network_whenever_it_is_missing_or_damaged(
    copied: Path,
) -> None:
    path = copied / "model" / "match_model.json"
    content = path.read_bytes()
    fitted_on = json.loads(content)["fitted_on"]
    assert (fitted_on["checkpoint"], fitted_on["pieces"], fitted_on["tokens"]) == ("best", 5, 305)
    path.unlink()
    assert run("--epochs=6", "--no-memory") == 0
    assert not path.exists()
    assert run("--epochs=6") == 0
    assert path.read_bytes() == content
    path.write_text("{}")
    assert run("--epochs=6") == 0
    assert path.read_bytes() == content


def test_other_settings_are_refused_in_one_line(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--epochs=8", "--learning-rate=0.1", "--no-pedal") == 2
    error = capsys.readouterr().err
    assert "learning_rate was 0.003 and is now 0.1" in error
    assert "pedal was True and is now False" in error
    assert error.count("\n") == 1
    assert len(rows(copied)) == 6


def test_other_music_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "data" / "piece5.mid").unlink()
    assert run("--epochs=8") == 2
    error = capsys.readouterr().err
    assert "the music was 6 pieces with 366 tokens and is now 5 with 305" in error


def test_fresh_moves_the_old_run_aside_whatever_its_format(copied: Path) -> None:
    old = weights(copied / "model" / "epoch-0006.keras")
    settings = json.loads((copied / "model" / "settings.json").read_text())
    del settings["format"]
    (copied / "model" / "settings.json").write_text(json.dumps(settings))
    assert run("--epochs=1") == 2
    assert run("--epochs=1", "--seed=1", "--fresh") == 0
    (aside,) = (copied / "model").glob("before-*")
    assert weights(aside / "epoch-0006.keras") == old
    assert json.loads((aside / "settings.json").read_text())["data"]["seed"] == 0
    (old_log,) = (copied / "logs").glob("before-*/training.csv")
    assert len(old_log.read_text().splitlines()) == 7
    assert list(runs.numbered_checkpoints(copied / "model")) == [1]


def test_patience_stops_at_the_best_and_is_remembered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs=40", "--learning-rate=0.3", "--patience=2", "--dropout=0", "--freq=1"]
    assert run(*flags) == 0
    losses = [float(row["val_loss"]) for row in rows(folder)]
    assert len(losses) < 40
    assert losses.index(min(losses)) == len(losses) - 3
    best = folder / "model" / "best.keras"
    assert runs.metrics(best).get("val_loss") == pytest.approx(min(losses), abs=1e-6)
    assert weights(best) == weights(runs.checkpoint_path(folder / "model", len(losses) - 2))
    assert (folder / "model" / "match_model.json").exists()
    said = "Stopped: the held-out loss has not improved for 2 epochs"
    assert said in capsys.readouterr().out
    assert run(*flags) == 0
    assert said in capsys.readouterr().out
    assert len(rows(folder)) == len(losses)


def test_without_held_out_pieces_their_columns_are_nan(folder: Path) -> None:
    assert run("--epochs=1", "--validation=0") == 0
    assert rows(folder)[0]["val_loss"] == "nan"
    assert not (folder / "model" / "best.keras").exists()
    memory = json.loads((folder / "model" / "match_model.json").read_text())
    assert memory["fitted_on"]["checkpoint"] == "epoch-0001"
    assert runs.metrics(folder / "model" / "epoch-0001.keras").get("val_loss") is None


def test_too_little_music_names_both_numbers_and_the_flags(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seq-length=500") == 2
    error = capsys.readouterr().err
    assert "305 tokens" in error
    assert "2,004" in error
    assert "--seq-length" in error
    assert not (folder / "model").exists()


def test_a_run_starts_from_another_models_tokens(
    copied: Path, make_piece: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "model").rename("base")
    for number in range(6):
        make_piece(copied / "other" / f"{number}.mid", seed=50 + number)
    write(["B5", "B5", "A4"] * 20, copied / "other" / "new.mid")
    flags = ["--data-dir=other", "--no-transpose", "--start-from=base", "--freq=1", "--ema=0"]
    assert run("--epochs=1", *flags, "--units=7") == 2
    error = capsys.readouterr().err
    assert "--start-from=base holds a model of notes with 1 layers of 6 units" in error
    assert "and this run is notes with 1 layers of 7 units" in error
    assert error.count("\n") == 1
    assert not list((copied / "model").iterdir())
    rate = "--learning-rate=1e-9"  # so that what the epoch leaves is what was taken
    assert run("--epochs=1", *flags, rate) == 0
    (old_log,) = (copied / "logs").glob("before-*/training.csv")  # not erased by the new run
    assert len(old_log.read_text().splitlines()) == 7
    ours, theirs = (
        json.loads(Path(folder, "vocabulary.json").read_text()) for folder in ("model", "base")
    )
    both = [token for token in ours["tokens"] if token in theirs["tokens"]]
    assert len(both) > 3
    said = f"Took the weights of base/best.keras: {len(both)} of {len(ours['tokens'])} tokens known"
    assert said in capsys.readouterr().out
    new, old = (keras.models.load_model(path) for path in ("model/best.keras", "base/best.keras"))
    for layer in new.layers[1:]:
        for mine, known in zip(
            layer.get_weights(), old.get_layer(layer.name).get_weights(), strict=True
        ):
            if layer.name not in ("embedding", "next_token"):
                np.testing.assert_allclose(mine, known, atol=1e-6)
    for axis, name in ((0, "embedding"), (1, "next_token")):
        mine, known = (network.get_layer(name).get_weights()[0] for network in (new, old))
        mine, known = np.moveaxis(mine, axis, 0), np.moveaxis(known, axis, 0)
        for number, token in enumerate(ours["tokens"]):
            taken = token in theirs["tokens"]
            row = theirs["tokens"].index(token) if taken else 0
            assert np.allclose(mine[number], known[row], atol=1e-6) == taken
    settings = json.loads(Path("model/settings.json").read_text())
    assert settings["train"]["start_from"] == "base"
    digest = hashlib.sha256(Path("base/best.keras").read_bytes()).hexdigest()
    assert settings["initial_checkpoint"] == {"checkpoint": "base/best.keras", "sha256": digest}
    shutil.rmtree("base")  # going on does not read it again
    assert run("--epochs=2", *flags, rate) == 0
    assert run("--epochs=3", *flags, rate, "--start-from=elsewhere") == 2
    assert "start_from was base and is now elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["the loss", "the held-out loss", "the weights"])
def test_a_loss_that_is_no_number_stops_the_run_and_saves_nothing_of_it(
    folder: Path, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, score = keras.Model.train_on_batch, HeldOutEvaluator.__call__

    def is_third() -> bool:
        return len(rows(folder)) == 2

    def broken_step(self: keras.Model, *arguments: Any, **options: Any) -> Any:
        logs = step(self, *arguments, **options)
        return {**logs, "loss": np.nan} if is_third() and where == "the loss" else logs

    def broken_score(self: HeldOutEvaluator, pieces: Any) -> tuple[float, float]:
        found = score(self, pieces)
        if is_third() and where == "the weights":
            self.network.trainable_variables[0].assign(self.network.weights[0] * np.nan)
        return (np.nan, 1.0) if is_third() and where == "the held-out loss" else found

    monkeypatch.setattr(keras.Model, "train_on_batch", broken_step)
    monkeypatch.setattr(HeldOutEvaluator, "__call__", broken_score)
    assert run("--epochs=9", "--freq=5") == 2
    error = capsys.readouterr().err
    assert f"{where} became nan in epoch 3, of which nothing is saved" in error
    assert "Saved model/epoch-0002.keras. Try a lower --learning-rate" in error
    assert [row["epoch"] for row in rows(folder)] == ["1", "2"]
    for path in (folder / "model").glob("*.keras"):
        assert all(np.isfinite(np.frombuffer(a, np.float32)).all() for a in weights(path).values())


def test_a_loss_that_left_all_bounds_is_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--epochs=3", "--learning-rate=10", "--ema=0", "--no-memory") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    entries = len(json.loads((folder / "model" / "vocabulary.json").read_text())["tokens"])
    expected = [float(row["loss"]) > 2 * np.log(entries) for row in rows(folder)]
    assert any(expected)
    said = "worse than guessing: try a lower --learning-rate"
    assert [said in line for line in lines] == expected


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_at_the_log_leaves_no_epoch_with_the_scores_of_another(
    finished: tuple[Path, str], folder: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, moments = log.TrainingLog.add, [moment]

    def interrupted(self: log.TrainingLog, row: log.LogRow) -> None:
        for now in ("before", "after"):
            if row.epoch == 4 and now in moments:
                moments.clear()
                signal.raise_signal(signal.SIGTERM)
            if now == "before":
                add(self, row)

    monkeypatch.setattr(log.TrainingLog, "add", interrupted)
    assert run("--epochs=6", "--freq=3") == 130
    for path in (folder / "model" / "epoch-0004.keras", folder / "model" / "best.keras"):
        assert runs.metrics(path)["epoch"] == 4
        assert f"{runs.metrics(path)['val_loss']:.6f}" == rows(finished[0])[3]["val_loss"]
    assert rows(folder) == rows(finished[0])[:4]


def test_a_disk_that_takes_nothing_is_noticed_before_the_first_epoch(copied: Path) -> None:
    flags = " ".join([*SMALL, "--model-dir=new"])  # of music that is in the cache
    assert preprocess.main(["--jobs=1"]) == 0
    command = f"ulimit -f 0; {sys.executable} {ROOT / 'train.py'} {flags}"
    done = subprocess.run(["bash", "-c", command], cwd=copied, capture_output=True, text=True)
    assert done.returncode == 2
    message = "train.py: cannot write new/settings.json (File too large); all files written before"
    assert done.stderr.endswith(f"{message} are intact\n")
    assert "TensorFlow" not in done.stdout
    assert not list((copied / "new").iterdir())


def test_what_a_run_lost_is_made_again(
    finished: tuple[Path, str], copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = copied / "model" / "epoch-0006.keras"
    newest.write_bytes(newest.read_bytes()[:-2000])
    (copied / "model" / "vocabulary.json").write_text('{"tokens": ["<e')
    (copied / "logs" / "training.csv").write_bytes(b"1,0.1,1.0,0.001,1.0,1.0\n3,1.\xff")
    (copied / "model" / ".partial-epoch-0007.keras").write_bytes(b"left by a run that died")
    assert run("--epochs=6", "--freq=3") == 0
    said = capsys.readouterr()
    assert "epoch-0006.keras is damaged and was renamed to damaged-epoch-0006.keras" in said.err
    assert "Going on from model/epoch-0003.keras" in said.out
    expected = finished[0]
    for name in ("epoch-0006.keras", "best.keras"):
        assert weights(copied / "model" / name) == weights(expected / "model" / name)
    vocabulary = Path("model", "vocabulary.json")
    assert (copied / vocabulary).read_bytes() == (expected / vocabulary).read_bytes()
    assert rows(copied) == rows(expected)[2:]  # of the first two nothing was left
    assert not list((copied / "model").glob(".partial-*"))


@pytest.mark.parametrize("flags", [[], ["--units=65536", "--layers=64", "--fresh"]])
def test_a_run_that_is_refused_moves_nothing(copied: Path, flags: list[str]) -> None:
    if not flags:
        (copied / "model" / "settings.json").unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in copied.rglob("*/*"))
    assert run("--epochs=9", *flags) == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in copied.rglob("*/*")) == before


def test_runs_that_share_a_log_folder_by_turns_erase_and_mix_nothing(copied: Path) -> None:
    ours, other = rows(copied), ["--seed=1", "--model-dir=other"]
    assert run("--epochs=2", "--freq=1", *other) == 0
    others = rows(copied)
    assert run("--epochs=6") == 0
    assert rows(copied) == [ours[2], ours[5]]  # those that have a checkpoint
    assert run("--epochs=2", *other) == 0
    assert rows(copied) == others
    before = [path.relative_to(copied) for path in copied.glob("logs/before-*")]
    assert sorted(len(rows(copied, str(path))) for path in before) == [2, 2, 6]


def test_the_log_of_a_finished_run_is_made_again(copied: Path) -> None:
    before = rows(copied)
    (copied / "logs" / "training.csv").write_bytes(b"\0" * 300)
    (copied / "logs" / "training.png").unlink()
    assert run("--epochs=6") == 0
    assert rows(copied) == [before[2], before[5]]  # those that have a checkpoint
    assert (copied / "logs" / "training.png").exists()


def test_two_runs_share_no_folder(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, name in (["--log-dir=mine"], "model"), (["--model-dir=mine"], "logs"):
        with exclusive_lock(copied / name):
            assert run("--epochs=9", *flags) == 2
        assert f"another training is writing to {copied / name}" in capsys.readouterr().err


@pytest.mark.usefixtures("copied")
def test_a_network_too_large_for_the_machine_is_refused_before_it_is_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--units=65536", "--layers=64", "--model-dir=large") == 2
    error = capsys.readouterr().err
    assert "of memory" in error
    assert "--units" in error
    assert "--force" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("flag", ["units", "layers", "embedding-size", "bpe"])
def test_sizes_have_a_range(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.parse_args([f"--{flag}=999999999999999999999"])
    assert "is not a whole number from" in capsys.readouterr().err


def test_demo_brings_its_own_music(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--demo", "--data-dir=elsewhere")
    assert stopped.value.code == 2
    assert "--data-dir" in capsys.readouterr().err


def test_classic_changes_the_defaults_and_no_flag() -> None:
    classic = train.parse_args(["--classic"])
    network = classic.model
    assert (network.layers, network.dropout, network.input_dropout) == (3, 0.2, 0)
    assert (classic.train.learning_rate, classic.train.shuffle, classic.train.ema) == (1e-3, 0, 0)
    assert not classic.data.transpose
    changed = train.parse_args(["--classic", "--layers=1", "--transpose"])
    assert (changed.model.layers, changed.data.transpose, changed.model.dropout) == (1, True, 0.2)
    assert train.parse_args([]).model.layers == 2
