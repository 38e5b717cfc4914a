"""The atomic write: whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from midilstm.files import atomic_path, printable, write_atomically


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for content in ("first ♯", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_is_no_unicode_is_an_escape_that_json_reads_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xe2\x99\xaf.mid")
    write_atomically(tmp_path / "a.json", json.dumps(name, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == name


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    name = "für\x1b[31m\n\x07\x9b\u202e\udce9 ♯.mid"
    assert printable(name) == r"für\x1b[31m\n\x07\x9b\u202e\udce9 ♯.mid"
    assert printable(printable(name)) == printable(name)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    write_atomically(path, "old")

    def interrupted() -> None:
        with atomic_path(path) as partial:
            assert (partial.suffix, partial.parent) == (".keras", tmp_path)
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
