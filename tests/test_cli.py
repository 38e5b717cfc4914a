"""What the scripts share: flags of workers, exit status and signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import evaluate
import preprocess
import sample
import train
from midilstm import cli

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("script", [evaluate, preprocess, sample, train])
def test_every_script_takes_the_same_seeds(script: ModuleType) -> None:
    for seed in (0, 2**63 - 1):
        assert f"seed={seed}" in str(script.parse_args([f"--seed={seed}"]))
    for text in ("-1", str(2**63), "0.5"):
        with pytest.raises(SystemExit, match="2"):
            script.parse_args([f"--seed={text}"])


def test_an_error_is_one_printable_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise OSError(2, "No such file", "a\x1b[31m\nb")

    assert cli.run_cli(work) == 2
    message = capsys.readouterr().err.partition(": ")[2]
    assert message == "cannot use a\\x1b[31m\\nb (No such file)\n"


def run(shell: str, music: Path) -> subprocess.CompletedProcess[str]:
    """Run preprocess.py as a shell starts it; its own status is the last line of output."""
    command = f"{sys.executable} preprocess.py --data-dir={music}"
    return subprocess.run(
        ["bash", "-c", shell.format(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252:strict"},
    )


@pytest.mark.parametrize(
    ("shell", "status"),
    [
        pytest.param("{} 2>&-; echo $?", 0, marks=pytest.mark.slow),
        ("{} <&- >&- 2>&-; echo $?", 0),
        ("{} | true; echo ${{PIPESTATUS[0]}}", 141),
        ("{} > /dev/full; echo $?", 2),
    ],
)
def test_output_that_nobody_reads_or_that_is_full_ends_without_a_traceback(
    music: Path, shell: str, status: int
) -> None:
    (music / "♯.mid").write_bytes(b"MThd")  # a name that is not in cp1252
    done = run(shell, music)
    assert done.stdout.splitlines()[-1] == str(status)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.8, 1.2, 2, 3])
def test_an_interrupt_ends_a_script_whenever_it_comes(music: Path, seconds: float) -> None:
    for index in range(300):
        (music / f"{index}.mid").write_bytes(b"MThd")
    # While Python imports the script, an interrupt ends it in Python's way.
    code = "import preprocess; from midilstm import cli; print(flush=True); "
    code += f"cli.exit_with(preprocess.main(['--data-dir={music}']))"
    command = [sys.executable, "-c", code]
    # A process group, as a terminal interrupts it with all its workers.
    options: dict[str, Any] = {"cwd": ROOT, "start_new_session": True, "text": True}
    options |= {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **options) as script:
        assert script.stdout and script.stdout.readline() == "\n"
        time.sleep(seconds)
        os.killpg(script.pid, signal.SIGINT)
        _, error = script.communicate(timeout=30)
    assert script.returncode in (130, 0)
    # A process that is just being started may say that it cannot read what it shall do.
    assert "midilstm" not in error


def config(task: str, index: int, **cluster: list[str]) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})


A, B, C = "a:9400", "b:9400", "[::1]:9400"


@pytest.mark.parametrize(
    ("tf_config", "flags", "workers", "worker", "rows"),
    [
        ("", "", (), 0, 16),
        ("", f"--workers={A},{B} --worker=1", (A, B), 1, 8),
        (config("worker", 0, worker=[A]), "", (), 0, 16),  # a single one trains alone
        (config("worker", 1, worker=[A, B]), "", (A, B), 1, 8),
        (config("worker", 0, chief=[A], worker=[B]), "", (A, B), 1, 8),
        (config("chief", 0, chief=[A], worker=[B, C, "d:1"]), "", (A, B, C, "d:1"), 0, 4),
        (config("worker", 1, worker=[A, B]), f"--workers={B},{C} --worker=0", (B, C), 0, 8),
    ],
)
def test_workers_are_named_by_flags_or_by_tf_config(
    tf_config: str,
    flags: str,
    workers: tuple[str, ...],
    worker: int,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config)
    config = train.parse_args(flags.split())
    assert (config.worker.workers, config.worker.worker) == (workers, worker)
    assert config.worker.batch_rows(config.train.batch_size) == rows


@pytest.mark.parametrize(
    ("tf_config", "flags", "reason"),
    [
        ("", f"--workers={A},{B} --worker=2", "--worker=2 needs more --workers than 2"),
        ("", f"--workers={A},{B},{C}", "cannot be divided among 3 workers"),
        ("", f"--workers={A},b", "b is not HOST:PORT"),
        ("", f"--workers={A},b:99999", "b:99999 is not HOST:PORT"),
        ("", f"--workers={A},{A}", "names one worker twice"),
        (config("ps", 0, worker=[A, B], ps=[C]), "", "is not HOST:PORT"),
        *(
            (text, "", "the value of TF_CONFIG is not HOST:PORT")
            for text in ("{nonsense", '{"task": {"index": 1e999}}', '{"task": {"index": -1}}', "[]")
        ),
        (config("worker", 5, worker=[A, B]), "", "--worker=5 needs more --workers than 2"),
    ],
)
def test_wrong_workers_are_refused(
    tf_config: str,
    flags: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(SystemExit):
        train.parse_args(flags.split())
    assert reason in capsys.readouterr().err


def test_classic_changes_the_defaults_and_no_flag() -> None:
    classic = train.parse_args(["--classic", "--layers=1", "--transpose"])
    assert (classic.model.layers, classic.model.dropout, classic.model.input_dropout) == (1, 0.2, 0)
    assert (classic.train.learning_rate, classic.train.shuffle, classic.train.ema) == (1e-3, 0, 0)
    assert classic.data.transpose
