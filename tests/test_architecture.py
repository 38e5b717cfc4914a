"""The walls between the packages, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "midilstm"
SCRIPTS = ("evaluate", "model", "preprocess", "render", "sample", "train")
HEAVY = {
    *("dask", "distributed", "h5py", "keras", "matplotlib", "miditok", "music21", "numpy"),
    *("symusic", "tokenizers", "tensorflow"),
}
# module or subpackage → what it may import; docs/architecture.md draws this
DEPENDENCIES: dict[str, set[str]] = {
    "fileio": set(),
    "schema": set(),
    "config": {"schema", "tokenizers"},
    "checkpoint": {"fileio"},
    "model_dir": {"fileio", "checkpoint", "config", "schema"},
    "cli": {"fileio", "config", "schema", "tokenizers"},
    "copies": {"fileio"},
    "midi": {"fileio"},
    "tokenizers": {"fileio", "midi"},
    "data": {"fileio", "schema", "config", "midi", "tokenizers"},
    "repetition": {"tokenizers"},
    "training": {"fileio", "checkpoint", "schema", "config", "model_dir", "tokenizers", "data"},
    "generation": {
        *(
            "fileio",
            "checkpoint",
            "schema",
            "config",
            "model_dir",
            "midi",
            "tokenizers",
            "repetition",
        ),
    },
    "evaluation": {
        *("fileio", "schema", "config", "copies", "model_dir", "midi", "tokenizers", "data"),
        *("repetition", "generation"),
    },
    "rendering": {"fileio", "copies", "midi"},
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported module's dotted name, and whether it is imported inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    top |= {id(inner) for node in tree.body if isinstance(node, ast.If) for inner in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) not in top


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_dependencies(path: Path) -> None:
    package = package_of(path)
    for name, _ in imports(path):
        first, *rest = name.split(".")
        assert first not in SCRIPTS, f"{path} imports the script {first}"
        if first == "midilstm" and rest[0] != package:
            assert rest[0] in DEPENDENCIES[package], f"{package} may not import {rest[0]}"


def test_the_root_holds_the_scripts_alone() -> None:
    assert sorted(path.stem for path in ROOT.glob("*.py")) == sorted(SCRIPTS)


@pytest.mark.parametrize("script", ["evaluate", "preprocess", "render", "sample", "train"])
def test_help_waits_for_no_heavy_library(script: str) -> None:
    code = f"import sys, {script}; {script}.parse_args([]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert script in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_old_python_can_read_its_refusal(script: str) -> None:
    for path in (ROOT / f"{script}.py", PACKAGE / "__init__.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    code = f"import sys; sys.version_info = (3, 9, 1); import {script}"
    refused = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "needs Python 3.11 or newer; you are running 3.9" in refused.stderr
