"""Files and functions stay short, and so do the scripts of both pages."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("midilstm", "tests", "benchmarks", ".")
    for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
)
SCRIPTS = sorted((ROOT / "midilstm").glob("**/*.js"))
# Bytes of the page before it could be composed with
EARLIER_PAGE = 21_030


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_long(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def test_the_pages_have_short_scripts_and_few_bytes() -> None:
    assert [path.name for path in SCRIPTS] == ["page.js", "compose.js"]
    assert all(len(path.read_text("utf-8").splitlines()) <= 500 for path in SCRIPTS)
    parts = [*(ROOT / "midilstm").glob("*/*.html"), *(ROOT / "midilstm").glob("*/*.css"), *SCRIPTS]
    assert sum(path.stat().st_size for path in parts) <= 2 * EARLIER_PAGE
