"""In README and docs, commands run, links, flags and functions exist, JSON keys are defined."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
NAMES = ("training", "sampling", "encodings", "evaluation", "large-collections")
DOCS = [ROOT / "docs" / f"{name}.md" for name in NAMES]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
# A block of shell commands, and the test that covers it where a cluster is needed
BLOCK = re.compile(r"(?:^<!-- cluster: (\S+) -->\n)?^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = ["--jobs=1", "--batch-size=2", "--seq-length=8"]
# What makes each script quick, after the flags of the page
QUICK = {
    "preprocess": TINY,
    "train": [*TINY, "--embedding-size=8", "--units=6", "--layers=1"],
    "sample": [],
    "evaluate": ["--jobs=1", "--samples=2"],
    "render": [],
}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_readme_is_short_and_ci_runs_its_first_two_blocks() -> None:
    assert len(read(README).splitlines()) <= 150
    (_, main), (_, tests) = BLOCK.findall(read(README))[:2]
    assert all(part in main for part in ("-r requirements.txt", "train.py --demo", "sample.py"))
    assert all(part in tests for part in ("-r requirements-dev.txt", "pytest"))
    assert re.search(r"\nblock 1 .*\nblock 2 ", read(ROOT / ".ci" / "run"), re.DOTALL)


@pytest.mark.slow
def test_all_other_commands_run_and_their_json_keys_are_defined(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(music.parent)
    (music.parent / "jazz").symlink_to(music)
    blocks = [block for page in (README, *DOCS) for block in BLOCK.findall(read(page))][2:]
    assert all((ROOT / covering_test).is_file() for covering_test, _ in blocks if covering_test)
    lines = [line for cluster, block in blocks if not cluster for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if not line.startswith("pip install")]
    assert {script for _, script, *_ in commands} == {f"{name}.py" for name in QUICK}
    for _, script, *flags in commands:
        name = script.removesuffix(".py")
        few = [re.sub(r"(--epochs=|--checkpoint=|/epoch-00)\d+", r"\g<1>02", x) for x in flags]
        status = importlib.import_module(name).main([*few, *QUICK[name]])
        assert status == 0, shlex.join([script, *flags])
    for code in re.findall(r"^```python\n(.*?)^```", read(DOCS[2]), re.MULTILINE | re.DOTALL):
        subprocess.run(
            [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    for page, file in ((DOCS[3], "evaluation.json"), (DOCS[4], "report.json")):
        keys = set(re.findall(r'"([a-z][^"A-Z]*)": ', read(Path("logs") / file)))
        assert sorted(keys - set(re.findall(r"`([^`\n]+)`", read(page)))) == []


def test_the_commands_of_the_three_examples_can_be_parsed() -> None:
    blocks = re.findall(
        r"^```\n(.*?)^```", read(ROOT / "docs" / "writing-into-a-piece.md"), re.M | re.S
    )
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    commands = [flags for program, *flags in lines if program == "python"]
    assert {script for script, *_ in commands} == {"train.py", "sample.py", "render.py"}
    for script, *flags in commands:
        importlib.import_module(script.removesuffix(".py")).parse_args(flags)


def test_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for script in (*QUICK, "serve", "benchmarks.fuzz", "benchmarks.soak"):
        with pytest.raises(SystemExit):
            importlib.import_module(script).parse_args(["--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    more = [ROOT / "docs" / f"{name}.md" for name in ("robustness", "composing-page")]
    for page in (README, *DOCS, *more):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", read(page))) <= flags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page)):
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", read(target), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings]
            assert anchor in slugs, (link, anchor)


def test_the_ten_steps_name_files_and_functions_that_exist() -> None:
    text = read(ROOT / "docs" / "architecture.md")
    rows = re.findall(r"^\| \d+ \|.*\| (`.+`) \| (`.+`) \|$", text, re.MULTILINE)
    assert len(rows) == 10
    for files, functions in rows:
        paths = re.findall(r"`(.+?)`", files)
        source = "".join(read(ROOT / "midilstm" / path) for path in paths)
        for name in re.findall(r"`(.+?)`", functions):
            assert re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE), (files, name)
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert any((ROOT / folder / name).exists() for folder in ("", "midilstm")), name
