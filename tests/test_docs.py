"""docs/architecture.md and SECURITY.md: every file, function and test they name is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_the_ten_steps_name_files_and_functions_that_exist() -> None:
    rows = re.findall(r"^\| \d+ \|.*\| (`.+`) \| (`.+`) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 10
    for files, functions in rows:
        paths = [ROOT / "midilstm" / name for name in re.findall(r"`(.+?)`", files)]
        defined = set().union(*map(names_in, paths))
        assert set(re.findall(r"`(.+?)`", functions)) <= defined, (files, functions)


def test_every_file_it_names_is_there() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert any((ROOT / folder / name).exists() for folder in ("", "midilstm")), name


def test_every_row_of_security_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!input|fault|---|target)(.+) \|$", text, re.MULTILINE)
    rows = [row for row in rows if not re.fullmatch(r"[\w ,]+( \| [\d,]+)+", row)]  # figures
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, test in named:
            assert test in names_in(ROOT / path), test
