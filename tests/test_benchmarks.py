"""Benchmarks answer --help, and the fuzzer starts from inputs that its readers accept."""

import importlib
from pathlib import Path

import pytest

from benchmarks import fuzz, fuzz_targets

PROGRAMS = sorted(
    path.stem
    for path in Path(fuzz.__file__).parent.glob("*.py")
    if "argparse" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_benchmark_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert stopped.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_fuzzed_readers_accept_their_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--check-seeds"]) == 0
    assert capsys.readouterr().out.count("seeds accepted") == len(fuzz.NAMES)


def test_a_crash_is_named_by_its_place(tmp_path: Path) -> None:
    target = fuzz_targets.Target(lambda path: path.read_bytes()[9], "input", lambda _: [])
    kind = fuzz_targets.crash_kind(target, b"short", tmp_path)
    assert kind
    assert kind.startswith("IndexError in test_benchmarks.py:")
