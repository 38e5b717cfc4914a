"""Start serve.py in tests, and ask it for what its page asks for."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Server:
    """A running serve.py, and what it answers."""

    def __init__(self, folder: Path) -> None:
        """Start the server in a folder, on a free port."""
        self.folder, self.output = folder, folder / "output"
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "serve.py"), "--port=0", "--model-dir=notes"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().split()[1]
        self.host, self.token = self.address.split("/")[2:4]
        self.origin = {"Origin": f"http://{self.host}"}

    def ask(
        self, verb: str, path: str, body: bytes | str | None = None, **headers: str | None
    ) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        sent = {**(self.origin if verb == "POST" else {}), **headers}
        sent = {name: value for name, value in sent.items() if value is not None}
        connection.request(verb, path, body, {str(k): str(v) for k, v in sent.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def get(self, path: str) -> Any:
        """Return the JSON that a path below the token answers."""
        status, body = self.ask("GET", f"/{self.token}/{path}")
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Post JSON, or bytes; return the status and the JSON of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body)
        status, content = self.ask("POST", f"/{self.token}/{path}", data)
        return status, json.loads(content)

    def draw(self, **settings: object) -> dict[str, Any]:
        """Draw a piece; return its job, which is over."""
        status, body = self.post("jobs", settings)
        assert status == 202, body
        return self.wait_for(body["id"])

    def wait_for(self, job_id: str) -> dict[str, Any]:
        """Return a job when it is over."""
        for _ in range(600):
            job: dict[str, Any] = self.get("state")["jobs"][job_id]
            if job["state"] not in ("waiting", "drawing"):
                return job
            time.sleep(0.1)
        raise AssertionError(job)

    def find(self, name: str) -> dict[str, Any]:
        """Return a piece of the list by its name."""
        return {item["name"]: item for item in self.get("state")["pieces"]}[name]

    def model(self, name: str) -> str:
        """Return the id of a model."""
        return {x["name"].split()[0]: x["id"] for x in self.get("state")["models"]}[name]

    def files(self) -> set[str]:
        """Return all files of the output folder."""
        return {str(x.relative_to(self.output)) for x in self.output.rglob("*") if x.is_file()}

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """End the server; return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(20)
