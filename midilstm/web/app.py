"""What the addresses of the server answer, and who may use them."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midilstm import midi
from midilstm.config import LENGTHS, SamplingConfig, ServerConfig
from midilstm.fileio import InputError, read_bytes, read_json
from midilstm.generation.metadata import MAX_BYTES
from midilstm.rendering.page import ASSETS, fill_layout
from midilstm.schema import specs
from midilstm.web import worker
from midilstm.web.jobs import Jobs
from midilstm.web.library import Library
from midilstm.web.models import Models

MAX_JSON = 2**16  # bytes of a request for a piece
MAX_ENTRIES = 64  # pieces of which the server keeps what the page shows
READ_SECONDS, EXPORT_SECONDS = 20.0, 120.0
# The settings that a request may have.
SETTINGS = {
    *(*LENGTHS, "temperature", "memory", "key", "chords", "instruments", "control_strength"),
    *("top_k", "top_p", "repetition_penalty", "ending", "seed", "fill", "fill_instruments"),
    *("keep", "include_primer", "checkpoint", "bpm"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
END = """<button type="button" class="light" id="more" hidden>Show more pieces</button>
<details id="thrown" hidden></details>"""
TYPES = {"mid": "audio/midi", "json": "application/json", "wav": "audio/wav"}
TYPES |= {"musicxml": "application/vnd.recordare.musicxml+xml", "stems": "application/zip"}
ENDINGS = {"stems": "stems.zip"}  # of file names, where they are not the kind


class Guard:
    """Pass on only requests to this machine's own name, with the token, and of this page."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        """Allow the address http://127.0.0.1:PORT/TOKEN/, also as localhost."""
        self.app, self.prefix = app, f"/{token}"
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 for another Host or Origin, and 404 without the token."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await (self.refuse(scope) or self.app)(scope, receive, send_with_headers)

    def refuse(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is not allowed."""
        values: dict[bytes, list[str]] = {}
        for name, value in scope.get("headers", ()):
            values.setdefault(name.lower(), []).append(value.decode("latin-1"))
        hosts, origins = values.get(b"host", []), values.get(b"origin", [])
        is_origin = not origins if scope.get("method") in ("GET", "HEAD") else False
        if origins:
            is_origin = origins == [f"http://{hosts[0]}"] if hosts else False
        if len(hosts) != 1 or hosts[0] not in self.hosts or not is_origin:
            return JSONResponse({"error": "this page answers only itself"}, 403)
        begin = scope["path"][: len(self.prefix) + 1].encode(errors="replace")
        if not secrets.compare_digest(begin, f"{self.prefix}/".encode()):
            return JSONResponse({"error": "open the address that serve.py printed"}, 404)
        return None


class Site:
    """What all requests share: the models, the pieces, the drawings and what was read of pieces."""

    def __init__(self, config: ServerConfig) -> None:
        """Read nothing yet."""
        self.config = config
        self.models, self.library = Models(config.model_dir), Library(config.output_dir)
        self.jobs = Jobs(self.library.add_drawn)
        self.entries: dict[tuple[str, int], bytes] = {}  # the newest, by id and version

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Read the first model at the start; end the processes at the end."""
        for model in self.models.list()[:1]:
            self.jobs.warm_up(model.path)
        yield
        await run_in_threadpool(self.jobs.close)

    async def page(self, _request: Request) -> Response:
        """Answer with the page, whose form has the defaults of sample.py."""
        form = Path(__file__).with_name("form.html").read_text(encoding="utf-8")
        for item in fields(SamplingConfig):
            default = "" if item.default is None else str(item.default).removesuffix(".0")
            form = form.replace(f"{{{{{item.name}}}}}", default)
        scripts = [f'<script src="{name}" defer></script>' for name in ("page.js", "compose.js")]
        head = "\n".join(['<link rel="stylesheet" href="page.css">', *scripts])
        return Response(fill_layout(head=head, form=form, end=END), media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """Answer with the style sheet or the script."""
        files = {**ASSETS, "compose.js": Path(__file__).with_name("compose.js")}
        path = files[request.url.path.rpartition("/")[2]]
        media_type = {".css": "text/css", ".js": "text/javascript"}[path.suffix]
        return Response(path.read_bytes(), media_type=media_type)

    async def state(self, _request: Request) -> Response:
        """Answer with the models, the drawings and the list of pieces."""
        return await run_in_threadpool(
            lambda: JSONResponse(
                {
                    "models": [model.to_json() for model in self.models.list()],
                    "jobs": self.jobs.to_json(),
                    "pieces": self.library.to_json(),
                    "has_audio": find_spec("midirenderer") is not None,
                }
            )
        )

    async def entry(self, request: Request) -> Response:
        """Answer with what the page shows of a piece."""
        item = await run_in_threadpool(self.library.find, request.path_params["id"])
        key = item.id, item.version
        if key not in self.entries:
            body = await self.jobs.read(READ_SECONDS, worker.describe_piece, item.path)
            self.entries[key] = json.dumps(body).encode()
            for old in [*self.entries][:-MAX_ENTRIES]:
                del self.entries[old]
        return Response(self.entries[key], media_type="application/json")

    async def download(self, request: Request) -> Response:
        """Answer with a piece as a file of one of `TYPES`."""
        item = await run_in_threadpool(self.library.find, request.path_params["id"])
        kind = request.path_params["kind"]
        if kind not in TYPES:
            raise KeyError(kind)
        if kind in ("mid", "json"):
            path = item.path.with_suffix(f".{kind}")
            if not path.exists():
                raise KeyError(path)
            content = await run_in_threadpool(read_bytes, path, MAX_BYTES)
        else:
            content = await self.jobs.read(EXPORT_SECONDS, worker.export, item.path, kind)
        name = quote(f"{item.path.stem}.{ENDINGS.get(kind, kind)}".encode(errors="surrogateescape"))
        disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(content, media_type=TYPES[kind], headers=disposition)

    async def decide(self, request: Request) -> Response:
        """Keep a piece, or throw it away."""
        item = await run_in_threadpool(self.library.find, request.path_params["id"])
        verbs = {"keep": self.library.keep, "throw-away": self.library.throw_away}
        await run_in_threadpool(verbs[request.path_params["verb"]], item)
        return JSONResponse({})

    async def add_primer(self, request: Request) -> Response:
        """Store a MIDI file that can be read; answer with its id and what it holds."""
        data = await read_request(request, midi.MAX_BYTES)
        text = await self.jobs.read(READ_SECONDS, worker.check_midi, data)
        return JSONResponse(
            {"id": await run_in_threadpool(self.library.add_primer, data), "text": text}
        )

    async def add_job(self, request: Request) -> Response:
        """Queue a drawing; answer with its id."""
        body = read_json(await read_request(request, MAX_JSON), MAX_JSON)
        if not isinstance(body, dict):
            raise InputError("expected an object")
        drawing, title = await run_in_threadpool(self.draw_request, body)
        return JSONResponse({"id": self.jobs.add(drawing, title)}, 202)

    def draw_request(self, body: dict[str, Any]) -> tuple[worker.DrawRequest, str]:
        """Return what a request asks for, and a title; raise InputError, or KeyError for an id."""
        models = self.models.list()
        ids = {name: str(body.pop(name, None) or "") for name in ("model", "primer", "like")}
        primer, like = (
            self.library.find(ids[name]).path if ids[name] else None for name in ("primer", "like")
        )
        if not models:
            raise InputError("there is no trained model here: run python train.py first")
        config = parse_settings(
            body,
            model_dir=self.models.find(ids["model"]).path if ids["model"] else models[0].path,
            output_dir=self.config.output_dir,
            primer=primer,
        )
        title = f"like {like.name}" if like else ""
        if primer and (config.fill or config.keep):
            bars = f"bars {config.fill}" if config.fill else f"all but {config.keep}"
            title = f"{bars} of {primer.name}"
        folders = tuple(model.path for model in models)
        like = like and like.with_suffix(".json")
        return worker.DrawRequest(config, like, folders), title or "a new piece"

    async def stop(self, request: Request) -> Response:
        """Stop a drawing that waits or runs."""
        self.jobs.stop(request.path_params["id"])
        return JSONResponse({})


def parse_settings(body: dict[str, Any], **values: Any) -> SamplingConfig:
    """Return the settings of a request, whose values may be texts; raise InputError for others."""
    known = specs(SamplingConfig)
    for name, value in body.items():
        if name not in SETTINGS:
            raise InputError(f"{name[:60]!a} cannot be set here")
        if isinstance(value, str):
            value = value.strip()
            if not value:
                continue
            kind = known[name][1]
            with suppress(ValueError):  # SamplingConfig refuses the text, and names the range
                value = kind(value) if kind in (int, float) else value
        values[name] = value
    values.setdefault("seed", secrets.randbelow(2**32))
    try:
        return SamplingConfig(**values)
    except ValueError as error:
        raise InputError(str(error)) from error


async def read_request(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request; raise HTTPException where it is too large."""
    too_large = HTTPException(413, f"at most {max_bytes / 2**20:g} MiB")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise too_large
    return data


def answer_error(_request: Request, error: Exception) -> Response:
    """Answer with a sentence that says what is wrong."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    if isinstance(error, KeyError | OSError):  # of an id, or of a file that was moved meanwhile
        return JSONResponse({"error": "that is not there any more"}, 404)
    return JSONResponse({"error": str(error)}, 400)


def build_app(config: ServerConfig, token: str, port: int) -> ASGIApp:
    """Return the application for the address http://127.0.0.1:PORT/TOKEN/."""
    site = Site(config)
    routes = [
        ("GET", "/", site.page),
        ("GET", "/page.css", site.asset),
        ("GET", "/page.js", site.asset),
        ("GET", "/compose.js", site.asset),
        ("GET", "/state", site.state),
        ("GET", "/pieces/{id}", site.entry),
        ("GET", "/pieces/{id}/{kind}", site.download),
        ("POST", "/pieces/{id}/{verb}", site.decide),
        ("POST", "/primers", site.add_primer),
        ("POST", "/jobs", site.add_job),
        ("POST", "/jobs/{id}/stop", site.stop),
    ]
    handlers = dict.fromkeys((HTTPException, KeyError, OSError, ValueError), answer_error)
    app = Starlette(
        routes=[
            Route(f"/{token}{path}", endpoint, methods=[verb]) for verb, path, endpoint in routes
        ],
        lifespan=site.lifespan,
        exception_handlers=handlers,
    )
    return Guard(app, token, port)
