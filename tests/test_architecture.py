"""Which subpackage may import which, what a script imports at start, and old Pythons."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "midilstm"
SCRIPTS = ("evaluate", "model", "preprocess", "render", "sample", "serve", "train")
HEAVY = {
    *("dask", "distributed", "h5py", "keras", "matplotlib", "miditok", "music21", "numpy"),
    *("symusic", "tokenizers", "tensorflow"),
}
# module or subpackage → the others that it may import; docs/architecture.md draws this
DEPENDENCIES = {
    "fileio": "",
    "schema": "",
    "config": "schema tokenizers",
    "checkpoint": "fileio",
    "run_settings": "config schema",
    "model_dir": "fileio checkpoint run_settings",
    "cli": "fileio config schema tokenizers",
    "copies": "fileio",
    "midi": "fileio",
    "tokenizers": "fileio midi",
    "data": "fileio schema config midi tokenizers",
    "repetition": "schema tokenizers",
    "training": "fileio checkpoint schema config run_settings model_dir tokenizers data",
    "generation": "fileio checkpoint schema config model_dir midi tokenizers repetition",
    "evaluation": "fileio schema config copies run_settings model_dir midi tokenizers data "
    "repetition generation",
    "rendering": "fileio copies midi",
    "web": "fileio schema config model_dir midi data training generation rendering",
}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of each imported module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_dependencies(path: Path) -> None:
    package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        first, *rest = name.split(".")
        assert first not in SCRIPTS, f"{path} imports the script {first}"
        if first == "midilstm" and rest[0] != package:
            assert rest[0] in DEPENDENCIES[package].split(), f"{package} may not import {rest[0]}"


def test_the_root_holds_only_the_scripts() -> None:
    assert sorted(path.stem for path in ROOT.glob("*.py")) == sorted(SCRIPTS)


@pytest.mark.parametrize("script", ["evaluate", "preprocess", "render", "sample", "serve", "train"])
def test_parsing_arguments_imports_no_heavy_library(script: str) -> None:
    code = f"import sys, {script}; {script}.parse_args([]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert script in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_old_python_is_refused_in_one_sentence(script: str) -> None:
    for path in (ROOT / f"{script}.py", PACKAGE / "__init__.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    code = f"import sys; sys.version_info = (3, 9, 1); import {script}"
    refused = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "needs Python 3.11 or newer; you are running 3.9" in refused.stderr
