"""The command line that the doors share, and how they end."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import evaluate
import preprocess
import sample
import train
from midilstm import arguments

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (arguments.positive_int, "1 2147483647", "0 -1 2147483648 1.5 nan ten"),
        (arguments.count, "0 7", "-1 99999999999999999999 inf"),
        (arguments.share, "0 0.5", "1 -0.1 nan inf"),
        (arguments.temperature, "0 0.01 1", "-1 0.001 nan inf"),
        (arguments.seed, "0 9223372036854775807", "-1 9223372036854775808 0.5"),
    ],
)
def test_every_number_has_a_range(kind: type, right: str, wrong: str) -> None:
    for text in right.split():
        assert kind(text) == (float(text) if "." in text else int(text))
    for text in wrong.split():
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            kind(text)


@pytest.mark.parametrize("door", [evaluate, preprocess, sample, train])
def test_every_script_takes_the_same_seeds(door: ModuleType) -> None:
    for seed in (0, 2**63 - 1):
        assert door.parse_args([f"--seed={seed}"]).seed == seed
    for text in ("-1", str(2**63), "0.5"):
        with pytest.raises(SystemExit, match="2"):
            door.parse_args([f"--seed={text}"])


@pytest.mark.parametrize(
    "flag", ["--jobs=0", "--jobs=99999", "--bpe=1000000000", "--max-file-seconds=1e300"]
)
def test_numbers_that_no_machine_can_serve_are_refused(flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        preprocess.parse_args([flag])


def test_a_mistake_is_one_plain_sentence(capsys: pytest.CaptureFixture) -> None:
    def work() -> None:
        raise OSError(2, "No such file", "a\x1b[31m\nb")

    assert arguments.run(work) == 2
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
        "from midilstm import arguments\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        f"def work(): {work}\n"
        "sys.exit(arguments.run(work))"
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
    own: dict = {"cwd": ROOT, "start_new_session": True, "text": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **own) as door:
        time.sleep(seconds)
        os.killpg(door.pid, signal.SIGINT)
        _, error = door.communicate(timeout=30)
    assert door.returncode in (130, 0)
    assert "Traceback" not in error
