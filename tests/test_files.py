"""The atomic write: whole or not at all."""

from pathlib import Path

import pytest

from midilstm.files import atomic_path, write_atomically


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for content in ("first ♯", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


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
