"""Read and write the benchmarks' result files, one JSON object per line, and format tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from midilstm.fileio import write_atomically


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the results in a file; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a result to a file."""
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    write_atomically(path, earlier + json.dumps(row) + "\n")


def split_pair(text: str) -> tuple[str, list[str]]:
    """Split an argument NAME=FOLDER[,FOLDER]."""
    name, _, folders = text.partition("=")
    return name, folders.split(",")


def markdown_row(cells: Iterable[object]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def markdown_head(names: Sequence[str]) -> list[str]:
    """Return the head of a Markdown table whose columns are right-aligned but for the first."""
    return [markdown_row(names), "|---|" + "---:|" * (len(names) - 1)]


def print_table(title: str, table: Mapping[str, Mapping[str, float]], digits: int = 0) -> None:
    """Print a table of numbers, row name → column name → number, under its title."""
    columns = list(next(iter(table.values())))
    width = max(len(name) for name in (title, *table))
    print(f"\n{title:<{width}}" + "".join(f"  {column:>16}" for column in columns))
    for name, row in table.items():
        print(f"{name:<{width}}" + "".join(f"  {row[x]:>16,.{digits}f}" for x in columns))
