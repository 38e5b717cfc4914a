"""The walls between the rooms, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "midilstm"
DOORS = ("evaluate", "model", "preprocess", "render", "sample", "train")
HEAVY = {
    *("dask", "distributed", "h5py", "keras", "matplotlib", "miditok", "music21", "numpy"),
    *("symusic", "tokenizers", "tensorflow"),
}
# room → the rooms that it may import; docs/architecture.md draws these arrows
ARROWS = {
    "files": set(),
    "arguments": {"files", "tokens"},
    "channels": set(),
    "midi": {"files", "channels"},
    "checkpoints": {"files"},
    "runs": {"files", "checkpoints"},
    "tokens": {"files", "midi"},
    "corpus": {"files", "midi", "tokens"},
    "training": {"files", "midi", "checkpoints", "runs", "tokens", "corpus"},
    "sampling": {"files", "midi", "checkpoints", "runs", "tokens"},
    "evaluation": {"files", "midi", "runs", "tokens", "corpus", "sampling"},
    "rendering": {"files", "midi"},
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


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


WORKSHOP = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", WORKSHOP, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of(path)
    for name, _ in imports(path):
        first, *rest = name.split(".")
        assert first not in DOORS, f"{path} imports the door {first}"
        if first == "midilstm" and rest[0] != room:
            assert rest[0] in ARROWS[room], f"{room} may not import {rest[0]}"


def test_the_root_holds_the_doors_alone() -> None:
    assert sorted(path.stem for path in ROOT.glob("*.py")) == sorted(DOORS)


@pytest.mark.parametrize("script", ["evaluate", "preprocess", "render", "sample", "train"])
def test_help_waits_for_no_heavy_library(script: str) -> None:
    code = f"import sys, {script}; {script}.parse_args([]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert script in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("script", DOORS)
def test_an_old_python_can_read_its_refusal(script: str) -> None:
    for path in (ROOT / f"{script}.py", PACKAGE / "__init__.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    code = f"import sys; sys.version_info = (3, 9, 1); import {script}"
    refused = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "needs Python 3.11 or newer; you are running 3.9" in refused.stderr
