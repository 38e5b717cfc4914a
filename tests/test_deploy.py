"""What deploy/ starts: its manifest against Kubernetes's schema, its flags against train.py's."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import train
from midilstm.model_dir import numbered_checkpoints

ROOT = Path(__file__).parent.parent
MANIFEST = ROOT / "deploy" / "kubernetes.yaml"


@pytest.fixture
def documents() -> dict[str, Any]:
    """Return the manifest's documents by kind."""
    yaml = pytest.importorskip("yaml", reason="needs requirements-dev.txt")
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text("utf-8"))}


def test_the_manifest_is_what_kubernetes_takes(documents: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs requirements-dev.txt")
    for document in documents.values():
        validator.validate(document, validator.latest_version(), strict=True)
    documents["Job"]["spec"]["completion"] = 4
    with pytest.raises(validator.ValidationError):
        validator.validate(documents["Job"], validator.latest_version(), strict=True)


def test_its_workers_are_those_that_its_job_and_service_make(documents: dict[str, Any]) -> None:
    job, service = documents["Job"]["spec"], documents["Service"]
    pod, name = job["template"]["spec"], documents["Job"]["metadata"]["name"]
    (container,) = pod["containers"]
    command = shlex.split(container["args"][0])
    assert command[:3] == ["exec", "python", "train.py"]
    assert job["completions"] == job["parallelism"]
    for index in range(job["completions"]):
        flags = [flag.replace("$JOB_COMPLETION_INDEX", str(index)) for flag in command[3:]]
        worker = train.parse_args(flags).worker
        assert worker.worker == index
        host, port = worker.workers[index].split(":")
        assert host == f"{name}-{index}.{service['metadata']['name']}"
        assert int(port) == service["spec"]["ports"][0]["port"]
        assert len(worker.workers) == job["completions"]
    assert pod["subdomain"] == service["metadata"]["name"]
    labels = job["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {f"/app/{folder}" for folder in ("data", "model", "logs")}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="a script of the shell")
def test_the_script_trains_with_two_workers(music: Path) -> None:
    folder = music.parent
    flags = ["--batch-size=2", "--seq-length=8", "--embedding-size=8", "--units=6", "--layers=1"]
    flags += [f"--data-dir={music}", f"--model-dir={folder / 'model'}", "--epochs=2", "--jobs=1"]
    command = [str(ROOT / "deploy" / "loopback.sh"), "2", *flags, f"--log-dir={folder / 'logs'}"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORT": "9470"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert "epoch 2/2" in done.stdout
    assert list(numbered_checkpoints(folder / "model")) == [2]
