"""The atomic write: whole or not at all."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from midilstm.fileio import (
    InputError,
    atomic_path,
    exclusive_lock,
    printable,
    read_json,
    write_atomically,
)


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


def test_a_disk_that_takes_no_more_is_said_of_the_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.keras"
    write_atomically(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            InputError, match=r"cannot write .*a\.keras \(File too large\); .* intact"
        ):
            write_atomically(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(path / "below a file", "")


def test_a_folder_is_held_by_one_and_let_go_by_the_dead(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from midilstm.fileio import exclusive_lock\n"
    )
    code += "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        (tmp_path / ".partial-a").write_text("half")
        with (
            pytest.raises(InputError, match="another process is writing to"),
            exclusive_lock(tmp_path),
        ):
            pass
        assert (tmp_path / ".partial-a").exists()
        os.kill(other.pid, signal.SIGKILL)
    with exclusive_lock(tmp_path, tmp_path):  # for checkpoints and log alike
        assert not (tmp_path / ".partial-a").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" * 30_000, "nested too deep"),
        (b"[" + b"{}," * 40_000 + b"{}]", "more than 32,768 entries"),
        (b"[NaN]", "NaN is not a finite number"),
        (b"[1e999]", "1e999 is not a finite number"),
        (b"1" + b"0" * 400, "is too large"),
        (b" " * 2**20 + b"1", "more than 1 MiB"),
        (b"\xff", "utf-8"),
        (b'"' + b"\\" * 9000, "Unterminated"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_is_damaged_or_hostile_is_a_value_error(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json", 2**20)


def test_an_unfinished_file_that_is_a_link_is_never_written_through(tmp_path: Path) -> None:
    document = tmp_path / "document.txt"
    document.write_text("the user's own")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (".partial-a.json", ".partial-", ".lock", ".partial-a"):
        (folder / name).symlink_to(document)
    os.mkfifo(folder / ".partial-pipe.json")
    write_atomically(folder / "a.json", "new")
    with exclusive_lock(folder):
        write_atomically(folder / "a.json", "newer")
    assert document.read_text() == "the user's own"
    assert {path.name for path in folder.iterdir()} == {"a.json", ".lock"}


def test_two_writers_of_one_file_both_succeed(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.html") as first:
        with atomic_path(tmp_path / "a.html") as second:
            second.write_text("second")
        first.write_text("first")
    assert (tmp_path / "a.html").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_json_is_read_whatever_its_texts_hold(tmp_path: Path) -> None:
    body = {"[[[": ['"[{\\', "\\\\", "é\udce9♯", 1, -0.5, None, True], "n": {"m": [[[[]]]]}}
    (tmp_path / "a.json").write_text(json.dumps(body))
    assert read_json(tmp_path / "a.json") == read_json(json.dumps(body).encode()) == body


def test_a_file_system_without_locks_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def lockless(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", lockless)
    with exclusive_lock(tmp_path):
        assert tmp_path.exists()


def test_a_file_and_then_its_new_name_are_flushed_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = [], os.fsync

    def note(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        flushed.append(("folder" if is_folder else "file", (tmp_path / "a.txt").exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(tmp_path / "a.txt", "new")
    assert flushed == [("file", False), ("folder", True)]
