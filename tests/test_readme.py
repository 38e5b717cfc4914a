"""What the README says can be typed: its first two blocks run in .ci/run, the others here."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# Several machines: tests/corpus/test_dask.py, training/test_workers.py, test_deploy.py start them.
CLUSTER = re.compile("dask |--scheduler|--workers|deploy/")
READING = ["--jobs=1"]
TINY = ["--batch-size=2", "--seq-length=8"]
# What makes each script quick enough to test, after the README's own flags
QUICK = {
    "preprocess": [*READING, *TINY],
    "train": [*READING, *TINY, "--embedding-size=8", "--units=6", "--layers=1"],
    "sample": [],
    "evaluate": [*READING, "--samples=2"],
    "render": [],
}


def run(script: str, flags: list[str]) -> int:
    """Run a script as the README says, for two epochs where it says more."""
    few = [re.sub(r"(--epochs=|--checkpoint=|/epoch-00)\d+", r"\g<1>02", flag) for flag in flags]
    status: int = importlib.import_module(script).main([*few, *QUICK[script]])
    return status


def test_ci_runs_the_two_commands_at_the_top() -> None:
    main_job, tests = BLOCKS[:2]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for block, number, parts in (
        (main_job, 1, ("-r requirements.txt", "train.py --demo", "sample.py")),
        (tests, 2, ("-r requirements-dev.txt", "pytest")),
    ):
        assert f"\nblock {number} " in ci
        assert all(part in block for part in parts)
    assert "pytest -q -m slow" in ci  # the cluster of the last block


@pytest.mark.slow
def test_the_other_commands_work_one_after_another(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(music.parent)
    (music.parent / "jazz").symlink_to(music)
    lines = [line for block in BLOCKS[2:] for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if not CLUSTER.search(line)]
    assert {script for _, script, *_ in commands} == {f"{name}.py" for name in QUICK}
    for _, script, *flags in commands:
        assert run(script.removesuffix(".py"), flags) == 0, shlex.join([script, *flags])


def test_every_flag_it_names_is_one_that_a_script_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for script in QUICK:
        with pytest.raises(SystemExit):
            importlib.import_module(script).parse_args(["--help"])
    taken = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= taken


def test_every_file_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
