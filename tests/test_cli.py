"""The command line that the doors share, and how they end."""

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


@pytest.mark.parametrize(
    "flag", ["--jobs=0", "--jobs=99999", "--bpe=1000000000", "--max-file-seconds=1e300"]
)
def test_numbers_that_no_machine_can_serve_are_refused(flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        preprocess.parse_args([flag])


def test_a_mistake_is_one_plain_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise OSError(2, "No such file", "a\x1b[31m\nb")

    assert cli.run_cli(work) == 2
    said = capsys.readouterr().err.partition(": ")[2]
    assert said == "cannot use a\\x1b[31m\\nb (No such file)\n"


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
        ("{} 2>&-; echo $?", 0),
        ("{} >&- 2>&-; echo $?", 0),
        ("{} <&- >&- 2>&-; echo $?", 0),
        ("{} | true; echo ${{PIPESTATUS[0]}}", 141),
        ("{} 2>&1 | true; echo ${{PIPESTATUS[0]}}", 141),
        ("{} > /dev/full; echo $?", 2),
    ],
)
def test_output_that_goes_nowhere_ends_in_no_traceback(
    music: Path, shell: str, status: int
) -> None:
    (music / "♯.mid").write_bytes(b"MThd")  # which cp1252 has not
    done = run(shell, music)
    assert done.stdout.splitlines()[-1] == str(status)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    ("work", "status", "said"), [("pass", 0, ""), ("raise KeyboardInterrupt", 130, "Stopped.\n")]
)
def test_an_interrupt_of_a_script_that_ends_changes_nothing(
    work: str, status: int, said: str
) -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "from midilstm import cli\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        f"def work(): {work}\n"
        "sys.exit(cli.run_cli(work))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.8, 1.2, 2, 3])
def test_an_interrupt_ends_it_whenever_it_comes(music: Path, seconds: float) -> None:
    for number in range(300):
        (music / f"{number}.mid").write_bytes(b"MThd")
    command = [sys.executable, "preprocess.py", f"--data-dir={music}"]
    # A group of its own, which a terminal would interrupt whole, with its workers.
    own: dict[str, Any] = {"cwd": ROOT, "start_new_session": True, "text": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **own) as door:
        time.sleep(seconds)
        os.killpg(door.pid, signal.SIGINT)
        _, error = door.communicate(timeout=30)
    assert door.returncode in (130, 0)
    assert "Traceback" not in error


def config(task: str, index: int, **cluster: list[str]) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})


A, B, C = "a:9400", "b:9400", "[::1]:9400"


@pytest.mark.parametrize(
    ("said", "flags", "workers", "worker", "lanes"),
    [
        ("", "", (), 0, 16),
        ("", f"--workers={A},{B} --worker=1", (A, B), 1, 8),
        ("", f"--workers={A}", (), 0, 16),  # one is none
        (config("worker", 1, worker=[A, B]), "", (A, B), 1, 8),
        (config("worker", 0, chief=[A], worker=[B]), "", (A, B), 1, 8),
        (config("chief", 0, chief=[A], worker=[B, C, "d:1"]), "", (A, B, C, "d:1"), 0, 4),
        (config("worker", 0, worker=[A]), "", (), 0, 16),
        (config("worker", 1, worker=[A, B]), f"--workers={B},{C} --worker=0", (B, C), 0, 8),
    ],
)
def test_workers_are_said_by_flags_or_as_tensorflow_does(
    said: str,
    flags: str,
    workers: tuple[str, ...],
    worker: int,
    lanes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", said)
    config = train.parse_args(flags.split())
    assert (config.worker.workers, config.worker.worker) == (workers, worker)
    assert config.worker.batch_rows(config.train.batch_size) == lanes


@pytest.mark.parametrize(
    ("said", "flags", "reason"),
    [
        ("", f"--workers={A},{B} --worker=2", "--worker=2 needs more --workers than 2"),
        ("", "--worker=1", "--worker=1 needs more --workers than 1"),
        ("", f"--workers={A},{B},{C}", "cannot be divided among 3 workers"),
        ("", f"--workers={A},b", "b is not HOST:PORT"),
        ("", f"--workers={A},b:99999", "b:99999 is not HOST:PORT"),
        ("", f"--workers={A},{A}", "names one worker twice"),
        (config("ps", 0, worker=[A, B], ps=[C]), "", "is not HOST:PORT"),
        ("{nonsense", "", "TF_CONFIG={nonsense is not HOST:PORT"),
        (config("worker", 5, worker=[A, B]), "", "--worker=5 needs more --workers than 2"),
    ],
)
def test_wrong_workers_are_refused(
    said: str,
    flags: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", said)
    with pytest.raises(SystemExit):
        train.parse_args(flags.split())
    assert reason in capsys.readouterr().err
