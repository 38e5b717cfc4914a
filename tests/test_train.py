"""Runs: logs, checkpoints, resume, refusals."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

import model
import train
from midilstm import runs
from midilstm.training import log

ROOT = Path(train.__file__).parent
SMALL = [
    "--embedding-size=8",
    "--units=6",
    "--layers=2",
    "--batch-size=4",
    "--seq-length=8",
    "--jobs=1",
]


@pytest.fixture
def folder(music: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(music.parent)
    return music.parent


def run(*flags: str) -> int:
    return train.main([*SMALL, *flags])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "training.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(path: Path) -> dict[str, bytes]:
    """Read every array, the optimizer's too, without Keras."""
    arrays: dict[str, bytes] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = node[()].tobytes()

    with zipfile.ZipFile(path) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(visit)
    assert len(arrays) == 9 + 2 + 2 * 9  # the network's, Adam's own, two moments for each
    return arrays


def test_a_run_leaves_checkpoints_log_and_picture(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--epochs=5", "--freq=2") == 0
    assert sorted(path.name for path in (folder / "model").iterdir()) == [
        "best.keras",
        "epoch-0002.keras",
        "epoch-0004.keras",
        "epoch-0005.keras",
        "settings.json",
        "vocabulary.json",
    ]
    header = (folder / "logs" / "training.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
    logged = rows(folder)
    assert [row["epoch"] for row in logged] == ["1", "2", "3", "4", "5"]
    assert float(logged[-1]["loss"]) < float(logged[0]["loss"])
    assert (folder / "logs" / "training.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 5
    assert f"loss {float(logged[1]['loss']):.3f}" in lines[1]
    assert lines[1].endswith("saved model/epoch-0002.keras")


def test_a_finished_run_says_how_to_go_on(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run("--epochs=2")
    before = weights(folder / "model" / "epoch-0002.keras")
    capsys.readouterr()
    assert run("--epochs=2") == 0
    said = capsys.readouterr().out
    assert "Nothing left to do" in said
    assert "--epochs=4" in said
    assert "--fresh" in said
    assert weights(folder / "model" / "epoch-0002.keras") == before
    assert run("--epochs=3") == 0
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "3"]


def test_killed_between_checkpoints_it_goes_on_bit_for_bit(folder: Path) -> None:
    assert run("--epochs=6", "--freq=3", "--jit") == 0
    expected, expected_rows = weights(folder / "model" / "epoch-0006.keras"), rows(folder)
    flags = [*SMALL, "--jit", "--epochs=6", "--freq=3", "--model-dir=killed", "--log-dir=logs2"]
    rows_file = folder / "logs2" / "training.csv"
    # A second process, slowed down so that the kill falls between two checkpoints.
    code = (
        "import sys, time; sys.path.insert(0, sys.argv.pop(1))\n"
        "import log, train; end = log.Log.add\n"
        "log.Log.add = lambda self, row: (end(self, row), time.sleep(60 * (row.epoch == 5)))\n"
        "train.main(sys.argv[1:])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(ROOT), *flags], cwd=folder)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if rows_file.exists() and "\n5," in rows_file.read_text():
            break
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (folder / "killed" / "epoch-0003.keras").exists()
    assert not (folder / "killed" / "epoch-0006.keras").exists()
    again = [sys.executable, str(ROOT / "train.py"), *flags]
    said = subprocess.run(again, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert "Going on from killed/epoch-0003.keras" in said
    assert weights(folder / "killed" / "epoch-0006.keras") == expected
    (folder / "logs").rename(folder / "logs1")
    (folder / "logs2").rename(folder / "logs")
    assert rows(folder) == expected_rows


def test_ctrl_c_saves_the_last_whole_epoch_and_goes_on_bit_for_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run("--epochs=4", "--model-dir=straight", "--log-dir=elsewhere")
    whole_epoch, calls = model.train_epoch, []

    def interrupted(*arguments: object) -> Iterator[tuple[float, float]]:
        calls.append(1)
        for number, step in enumerate(whole_epoch(*arguments)):  # type: ignore[arg-type]
            if len(calls) == 3 and number == 1:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(model, "train_epoch", interrupted)
    assert run("--epochs=4") == 130
    assert "Saved model/epoch-0002.keras" in capsys.readouterr().err
    monkeypatch.setattr(model, "train_epoch", whole_epoch)
    assert run("--epochs=4") == 0
    assert "Going on from model/epoch-0002.keras" in capsys.readouterr().out
    assert weights(folder / "model" / "epoch-0004.keras") == weights(
        folder / "straight" / "epoch-0004.keras"
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--units=7"], "network.units was 6 and is now 7"),
        (["--seed=3"], "training.seed was 0 and is now 3"),
        (["--learning-rate=0.1"], "training.learning_rate was 0.003 and is now 0.1"),
    ],
)
def test_other_settings_are_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture, flags: list[str], named: str
) -> None:
    run("--epochs=1")
    assert run("--epochs=2", *flags) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "--fresh" in error
    assert error.count("\n") == 1
    assert len(rows(folder)) == 1


def test_another_corpus_is_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run("--epochs=1")
    (folder / "data" / "piece5.mid").unlink()
    assert run("--epochs=2") == 2
    error = capsys.readouterr().err
    assert "the music was 6 pieces with 366 tokens and is now 5 with 305" in error
    assert "vocabulary" not in error


def test_fresh_moves_the_old_run_aside(folder: Path) -> None:
    run("--epochs=2")
    (folder / "model" / "mine.txt").write_text("not the run's")
    old = weights(folder / "model" / "epoch-0002.keras")
    assert run("--epochs=1", "--seed=1", "--fresh") == 0
    (aside,) = (folder / "model").glob("before-*")
    assert weights(aside / "epoch-0002.keras") == old
    assert json.loads((aside / "settings.json").read_text())["training"]["seed"] == 0
    (old_log,) = (folder / "logs").glob("before-*/training.csv")
    assert len(old_log.read_text().splitlines()) == 3
    assert not (folder / "model" / "epoch-0002.keras").exists()
    assert (folder / "model" / "mine.txt").exists()


def test_a_half_written_log_line_is_dropped(folder: Path) -> None:
    run("--epochs=2")
    with (folder / "logs" / "training.csv").open("a") as file:
        file.write("3,2.1")
    assert run("--epochs=3") == 0
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "3"]
    assert None not in rows(folder)[2].values()


def test_the_best_checkpoint_is_of_the_lowest_held_out_loss(folder: Path) -> None:
    assert run("--epochs=40", "--freq=1", "--learning-rate=0.3", "--patience=2", "--dropout=0") == 0
    losses = [float(row["val_loss"]) for row in rows(folder)]
    lowest = losses.index(min(losses)) + 1
    assert lowest < len(losses)
    assert runs.held_out_loss(folder / "model" / "best.keras") == pytest.approx(min(losses))
    best = weights(folder / "model" / "best.keras")
    assert best == weights(folder / "model" / f"epoch-{lowest:04d}.keras")


def test_patience_stops_a_run_and_is_remembered(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = ["--epochs=40", "--learning-rate=0.3", "--patience=2", "--dropout=0"]
    assert run(*flags) == 0
    losses = [float(row["val_loss"]) for row in rows(folder)]
    assert len(losses) < 40
    assert losses.index(min(losses)) == len(losses) - 3
    assert (folder / "model" / f"epoch-{len(losses):04d}.keras").exists()
    assert "no better held-out loss for 2 epochs" in capsys.readouterr().out
    assert run(*flags) == 0
    assert "no better held-out loss for 2 epochs" in capsys.readouterr().out
    assert len(rows(folder)) == len(losses)


@pytest.mark.parametrize(
    ("losses", "held_out", "expected"),
    [
        ([5, 4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5], [3, 2, 2, 2, 2, 2.5, 3, 3, 3, 3], True),
        ([5, 4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5], [5, 4, 4, 4, 4, 3, 3, 3, 3, 3], False),
        ([1, 1, 1, 1, 1, 2, 2, 2, 2, 2], [3, 2, 2, 2, 2, 3, 3, 3, 3, 3], False),
        ([5, 4, 3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5], [9, 2, 2, 2, 2, 3, 3, 3, 3, 1.9], False),
        ([5, 4, 3], [2, 3, 4], False),
    ],
)
def test_memorising_is_said_in_words(
    losses: list[float], held_out: list[float], expected: bool
) -> None:
    both = enumerate(zip(losses, held_out, strict=True), 1)
    said = train.memorising([log.Row(i, loss, 0, val, 0, 0) for i, (loss, val) in both])
    assert ("memorising" in said) is expected


def test_without_held_out_pieces_their_columns_are_nan(folder: Path) -> None:
    assert run("--epochs=1", "--validation=0") == 0
    assert rows(folder)[0]["val_loss"] == "nan"


def test_too_little_music_names_both_numbers_and_the_flags(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--seq-length=500") == 2
    error = capsys.readouterr().err
    assert "305 tokens" in error
    assert "2,004" in error
    assert "--seq-length" in error
    assert not (folder / "model").exists()


def test_checkpoints_without_settings_are_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    run("--epochs=1")
    (folder / "model" / "settings.json").unlink()
    assert run("--epochs=1") == 2
    assert "settings.json" in capsys.readouterr().err


def test_demo_brings_its_own_music(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--demo", "--data-dir=elsewhere")
    assert stopped.value.code == 2
    assert "--data-dir" in capsys.readouterr().err


def test_equal_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    first = log.Log(tmp_path)
    first.begin(0)
    first.add(log.Row(1, 2.5, 0.25, 3.5, 0.125, 1.5))
    again = log.Log(tmp_path)
    again.begin(5)
    assert again.rows == first.rows


def test_classic_changes_the_defaults_and_no_flag() -> None:
    assert vars(train.parse_args(["--classic"])).items() >= train.CLASSIC.items()
    own = train.parse_args(["--classic", "--layers=1", "--transpose"])
    assert (own.layers, own.transpose, own.dropout) == (1, True, 0.2)
    assert train.parse_args([]).layers == 2
