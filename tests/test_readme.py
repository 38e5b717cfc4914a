"""The README's commands: the two at its top are run by .ci/run, the others here."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluate
import preprocess
import render
import sample
import train

DASK = re.compile("dask |--scheduler")  # run by tests/test_dask.py
ROOT = Path(preprocess.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SMALL = [
    "--embedding-size=8",
    "--units=6",
    "--layers=1",
    "--batch-size=2",
    "--seq-length=8",
]
SCRIPTS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "preprocess.py": (preprocess.main, ["--batch-size=2", "--seq-length=8", "--jobs=1"]),
    "train.py": (train.main, [*SMALL, "--jobs=1"]),
    "sample.py": (sample.main, []),
    "evaluate.py": (evaluate.main, ["--jobs=1", "--samples=2"]),
    "render.py": (render.main, []),
}


def test_two_commands_stand_at_the_top() -> None:
    main_job, tests = BLOCKS[:2]
    assert "-r requirements.txt" in main_job
    assert "train.py --demo" in main_job
    assert "sample.py" in main_job
    assert "-r requirements-dev.txt" in tests
    assert "pytest" in tests
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "block 1" in ci
    assert "block 2" in ci


def test_the_other_commands_work_one_after_another(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(music.parent)
    (music.parent / "jazz").symlink_to(music)
    lines = [line for block in BLOCKS[2:] for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if not DASK.search(line)]
    assert {command[1] for command in commands} == set(SCRIPTS)
    for _python, script, *flags in commands:
        few = [re.sub(r"--epochs=\d+", "--epochs=2", flag) for flag in flags]
        few = [re.sub("--checkpoint=20", "--checkpoint=2", flag) for flag in few]
        few = [flag.replace("epoch-0020", "epoch-0002") for flag in few]
        main, tiny = SCRIPTS[script]
        assert main([*few, *tiny]) == 0, shlex.join([script, *flags])
