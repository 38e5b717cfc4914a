"""Who may ask the server for what, and what it writes."""

from __future__ import annotations

import json
import signal
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fill_bands import random_band
from midi_bytes import notes, smf
from model_files import write_band_model
from web_server import Server

import sample
from midilstm import midi
from midilstm.web.library import Library
from midilstm.web.models import open_folder

pytest.importorskip("starlette", reason="requirements-web.txt is not installed")
A4 = smf(notes((0, 8, 69)))


@pytest.mark.parametrize(
    ("verb", "path", "headers", "status"),
    [
        ("GET", "/", {}, 404),
        ("GET", "/TOKENx/state", {}, 404),
        ("GET", "/TOKEN", {}, 404),
        ("GET", "/TOKEN/../TOKEN/state", {}, 404),
        ("GET", "/TOKEN/pieces/..%2F..%2Fserve.py", {}, 404),
        ("GET", "/TOKEN/pieces/../../etc/passwd", {}, 404),
        ("GET", "/TOKEN/pieces/0123456789abcdef/mid", {}, 404),
        ("GET", "/TOKEN/state", {"Host": "evil.example"}, 403),
        ("GET", "/TOKEN/state", {"Origin": "http://evil.example"}, 403),
        ("POST", "/TOKEN/jobs", {"Origin": None}, 403),
        ("POST", "/TOKEN/jobs", {"Origin": "null"}, 403),
        ("POST", "/TOKEN/jobs", {"Origin": "https://127.0.0.1"}, 403),
        ("POST", "/TOKEN/jobs", {"Content-Length": "1000000"}, 413),
        ("POST", "/TOKEN/primers", {"Content-Length": str(10 * 2**20)}, 413),
        ("POST", "/TOKEN/state", {}, 405),
        ("GET", "/TOKEN/jobs/x/stop", {}, 405),
        ("POST", "/TOKEN/jobs/x/stop", {}, 404),
        ("POST", "/TOKEN/pieces/x/keep", {}, 404),
        ("POST", "/TOKEN/pieces/x/delete", {}, 404),
    ],
)
def test_other_requests_are_refused(
    server: Server, verb: str, path: str, headers: dict[str, str | None], status: int
) -> None:
    before = server.files()
    answered, body = server.ask(verb, path.replace("TOKEN", server.token), None, **headers)
    assert (answered, "error" in json.loads(body)) == (status, True)
    assert (server.files(), bool(server.get("state")["models"])) == (before, True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "expected an object"),
        (b"{", "Expecting"),
        ({"output_dir": "/tmp"}, "cannot be set"),
        ({"model_dir": "/tmp"}, "cannot be set"),
        ({"primer": "../../x.mid"}, "not there"),
        ({"like": "x"}, "not there"),
        ({"model": "x"}, "not there"),
        ({"chars": "1e9"}, "expected a whole number"),
        ({"temperature": "NaN"}, "expected a number"),
        ({"temperature": True}, "expected a number"),
        ({"chars": "4", "bars": "4"}, "expected one length"),
        ({"key": "x" * 401}, "expected a text"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(
    server: Server, body: object, reason: str
) -> None:
    status, answer = server.post("jobs", body)
    assert status in (400, 404)
    assert reason in answer["error"]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 400, "cannot be read"),
        (b"<script>alert(1)</script>", 400, "cannot be read"),
        (A4[:30], 400, "cannot be read"),
        (smf(b"\0\xff\x2f\0"), 400, "cannot be read"),
        (A4 + bytes(2 * 2**20), 413, "at most 2 MiB"),
    ],
    ids=["empty", "html", "cut", "no notes", "large"],
)
def test_a_file_that_is_no_midi_file_is_refused(
    server: Server, data: bytes, status: int, reason: str
) -> None:
    before = server.files()
    answered, answer = server.post("primers", data)
    assert (answered, server.files()) == (status, before)
    assert reason in answer["error"]


def test_a_piece_is_reproduced_by_sample_byte_for_byte(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(server.folder)
    _, primer = server.post("primers", midi.to_bytes(random_band(np.random.default_rng(3))))
    band = {"model": server.model("band"), "primer": primer["id"]}
    jobs = [
        server.draw(chars="30", temperature="0.9", key="C", seed="5"),
        server.draw(**band, bars=2, include_primer=True),
        server.draw(**band, fill="2", seed="7"),
        server.draw(**band, keep="flute", instruments="piano, bass"),
    ]
    names = [name for job in jobs for name in job["names"]]
    (like,) = server.draw(like=server.find(names[2])["id"])["names"]
    assert json.loads((server.output / f"{like[:-3]}json").read_text())["fill"] == "2"
    for name in (*names, like):
        path = server.output / name
        flags = [f"--reproduce={path.with_suffix('.json')}", f"--output-dir=again-{name}"]
        assert sample.main(flags) == 0
        (again,) = Path(f"again-{name}").glob("*.mid")
        assert again.read_bytes() == path.read_bytes()
        assert (
            path.read_bytes()
            == server.ask("GET", f"/{server.token}/pieces/{server.find(name)['id']}/mid")[1]
        )
    command = json.loads((server.output / names[0]).with_suffix(".json").read_text())["command"]
    assert command.split() == [
        *("python", "sample.py", "--chars=30", "--temperature=0.9", "--key=C", "--seed=5"),
        "--model-dir=notes",
    ]


def test_drawings_wait_in_a_queue_and_can_be_stopped(server: Server) -> None:
    ids = [server.post("jobs", {"chars": "1000000"})[1]["id"] for _ in range(17)]
    assert server.post("jobs", {"chars": "10"})[0] == 400
    states = [job["state"] for job in server.get("state")["jobs"].values()]
    assert states.count("waiting") >= 16
    for job_id in reversed(ids):
        assert server.post(f"jobs/{job_id}/stop", {})[0] == 200
    assert {server.wait_for(job_id)["state"] for job_id in ids} == {"stopped"}
    assert server.draw(chars="10")["state"] == "done"


def test_a_drawing_that_fails_says_why(server: Server) -> None:
    job = server.draw(chars="10", instruments="piano")
    assert job["state"] == "failed"
    assert "--encoding=remi" in job["text"]


def test_pieces_are_kept_thrown_away_and_brought_back(server: Server) -> None:
    (name,) = server.draw(chars="12", seed="3")["names"]
    kept, stem = server.find(name), name.removesuffix(".mid")
    assert kept["state"] == "new"
    assert server.post(f"pieces/{kept['id']}/keep", {})[0] == 200
    assert server.find(name)["state"] == "kept"
    assert server.post(f"pieces/{kept['id']}/throw-away", {})[0] == 200
    assert {f"thrown-away/{stem}.mid", f"thrown-away/{stem}.json"} <= server.files()
    thrown = server.find(name)
    assert (thrown["state"], f"{stem}.mid" in server.files()) == ("thrown-away", False)
    assert server.draw(chars="12", seed="3")["names"] == [name]
    assert server.post(f"pieces/{thrown['id']}/keep", {})[0] == 200
    assert {f"{stem}-2.mid", f"{stem}-2.json", f"{stem}.mid"} <= server.files()


def test_pieces_are_downloaded_in_all_kinds(server: Server) -> None:
    _, primer = server.post("primers", midi.to_bytes(random_band(np.random.default_rng(4))))
    begin = f"/{server.token}/pieces/{primer['id']}"
    contents = {
        kind: server.ask("GET", f"{begin}/{kind}") for kind in ("mid", "stems", "wav", "musicxml")
    }
    assert {status for status, _ in contents.values()} == {200}
    with zipfile.ZipFile(BytesIO(contents["stems"][1])) as archive:
        assert len(archive.namelist()) == 4
    assert contents["wav"][1][:4] == b"RIFF"
    assert b"<score-partwise" in contents["musicxml"][1]
    assert server.ask("GET", f"{begin}/json")[0] == 404
    entry = server.get(f"pieces/{primer['id']}")
    assert len(entry["parts"]) == 4


def test_the_list_has_regular_files_alone(server: Server) -> None:
    (server.output / "link.mid").symlink_to("/etc/passwd")
    (server.output / "folder.mid").mkdir()
    names = {item["name"] for item in server.get("state")["pieces"]}
    assert names.isdisjoint({"link.mid", "folder.mid"})
    (server.output / "link.mid").unlink()


def test_a_name_that_is_taken_is_never_overwritten(tmp_path: Path) -> None:
    library = Library(tmp_path)
    (tmp_path / "thrown-away").mkdir()
    for name in ("x.mid", "thrown-away/x.json", "thrown-away/x-2.stems"):
        (tmp_path / name).write_text(name)
    (item,) = library.items()
    library.throw_away(item)
    files = {str(x.relative_to(tmp_path)): x.read_text() for x in tmp_path.rglob("x*")}
    assert files == {
        "thrown-away/x.json": "thrown-away/x.json",
        "thrown-away/x-2.stems": "thrown-away/x-2.stems",
        "thrown-away/x-3.mid": "x.mid",
    }


def test_the_log_of_a_model_is_found_by_what_its_checkpoints_hold(tmp_path: Path) -> None:
    write_band_model(tmp_path / "band")
    begin = "epoch,loss,accuracy,val_loss,val_accuracy,seconds\n"
    for name, rows in (("a", "1,3.4,0.1,3.2,0.1,1\n"), ("b", "1,3.5,0.1,nan,0.1,1\n2,3,0,1,0,1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.csv").write_text(begin + rows)
    logs = sorted(tmp_path.glob("*/training.csv"))
    found = open_folder(tmp_path / "band", logs)
    assert found
    assert found.log == tmp_path / "b" / "training.csv"
    assert found.to_json()["curve"] == [[1, 3.5, None], [2, 3.0, 1.0]]
    assert open_folder(tmp_path / "a", logs) is None


@pytest.mark.slow
def test_a_killed_server_leaves_no_process_and_loses_nothing(start: Callable[[], Server]) -> None:
    first = start()
    (name,) = first.draw(chars="14")["names"]
    first.get(f"pieces/{first.find(name)['id']}")  # starts the other process
    first.post("jobs", {"chars": "1000000"})
    first.end(signal.SIGKILL)
    second = start()
    assert second.find(name)["state"] == "kept"
    assert second.ask("GET", f"/{first.token}/state")[0] == 404
    for _ in range(100):
        if not group_members(first.process.pid):
            break
        time.sleep(0.1)
    assert not group_members(first.process.pid)


def group_members(group: int) -> list[str]:
    """Return the processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


@pytest.mark.slow
def test_ten_thousand_requests_at_once_are_survived(server: Server) -> None:
    before = server.files()

    def ask(number: int) -> int:
        try:
            if number % 2:
                return int(server.ask("GET", f"/{server.token}x/state")[0])
            return int(server.ask("POST", f"/{server.token}/jobs", b"{", Origin="null")[0])
        except OSError:
            return 0

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(10_000)))
    assert set(answers) <= {0, 403, 404, 503}
    assert (server.files(), bool(server.get("state")["models"])) == (before, True)
