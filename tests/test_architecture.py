"""The walls between the rooms, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {path.stem for path in ROOT.glob("*.py")}
HEAVY = {
    "dask",
    "distributed",
    "h5py",
    "keras",
    "matplotlib",
    "miditok",
    "music21",
    "numpy",
    "symusic",
    "tokenizers",
    "tensorflow",
}

# file → the rooms of ours it may import
OURS = {
    "band": {"rules"},
    "batches": set(),
    "cache": set(),
    "choosing": set(),
    "collection": {"cache", "encoding"},
    "demo": {"encoding"},
    "checkpoints": {"collection"},
    "drawing": {"choosing", "grammar"},
    "encoding": {"band", "rules"},
    "evaluate": {
        "batches",
        "checkpoints",
        "collection",
        "drawing",
        "encoding",
        "inference",
        "measures",
        "model",
        "novelty",
        "overlaps",
        "preprocess",
        "report",
        "resemblance",
        "scores",
    },
    "flags": {"encoding", "preprocess"},
    "grammar": set(),
    "inference": set(),
    "log": {"collection"},
    "lstm": set(),
    "measures": set(),
    "merging": set(),
    "mgeval": {"measures"},
    "model": {"lstm"},
    "ngrams": set(),
    "novelty": {"measures"},
    "overlaps": {"measures"},
    "preprocess": {"batches", "collection", "encoding", "grammar", "merging"},
    "recipe": {"collection"},
    "render": set(),
    "report": set(),
    "resemblance": {"measures", "mgeval", "overlaps"},
    "rules": set(),
    "scores": {"measures", "ngrams"},
    "sample": {
        "checkpoints",
        "choosing",
        "drawing",
        "encoding",
        "flags",
        "inference",
        "preprocess",
        "recipe",
    },
    "train": {"batches", "checkpoints", "collection", "demo", "log", "model", "preprocess"},
}
# library → the files that may import it
LIBRARIES = {
    "keras": {"model", "lstm"},
    "tensorflow": {"model", "lstm"},
    "h5py": {"inference"},
    "music21": {"encoding", "render"},
    "miditok": {"band"},
    "symusic": {"band"},
    "tokenizers": {"merging"},
    "argparse": {"evaluate", "flags", "preprocess", "render", "sample", "train"},
}


def imported(room: str) -> set[str]:
    tree = ast.parse((ROOT / f"{room}.py").read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def test_every_room_is_in_the_table() -> None:
    assert set(OURS) == ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_what_the_table_allows(room: str) -> None:
    names = imported(room)
    assert names & ROOMS <= OURS[room]
    for library, allowed in LIBRARIES.items():
        assert library not in names or room in allowed, f"{room} imports {library}"


@pytest.mark.parametrize("script", ["evaluate", "preprocess", "render", "sample", "train"])
def test_help_waits_for_no_heavy_library(script: str) -> None:
    code = f"import sys, {script}; {script}.parse_args([]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert script in loaded
    assert not HEAVY & set(loaded)


def test_an_old_python_can_read_its_refusal() -> None:
    source = (ROOT / "preprocess.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    first = [node for node in ast.parse(source).body if not isinstance(node, ast.ImportFrom)]
    assert isinstance(first[2], ast.If)  # after the docstring and `import sys`
    code = "import sys; sys.version_info = (3, 9, 1); import preprocess"
    refused = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "needs Python 3.11 or newer; you are running 3.9" in refused.stderr


@pytest.mark.parametrize("script", ["evaluate", "train", "sample"])
def test_scripts_meet_that_refusal_first(script: str) -> None:
    body = ast.parse((ROOT / f"{script}.py").read_text(encoding="utf-8")).body
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    assert names[0] == "preprocess"
