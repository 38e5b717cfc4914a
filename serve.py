"""Serve a page on this machine that draws pieces, plays them and writes bars of them again."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Sequence

from midilstm import cli
from midilstm.config import ServerConfig
from midilstm.fileio import InputError
from midilstm.schema import add_arguments, from_flags

HOST = "127.0.0.1"  # no other machine can connect


def parse_args(argv: Sequence[str] | None = None) -> ServerConfig:
    """Read the command line."""
    parser = cli.Parser(__doc__)
    add_arguments(parser, ServerConfig)
    return from_flags(ServerConfig, vars(parser.parse_args(argv)))


def serve(config: ServerConfig) -> None:
    """Print the address of the page, and answer until Ctrl-C."""
    cli.use_one_thread()  # before NumPy is imported, here and in the processes that draw
    try:
        import uvicorn

        from midilstm.web.app import build_app
    except ImportError as error:
        raise InputError(
            f"serve.py needs {error.name}: pip install -r requirements-web.txt"
        ) from error
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, config.port))
    except OSError as error:
        raise InputError(
            f"port {config.port} is in use: give another --port, or 0 for any ({error.strerror})"
        ) from error
    listener.listen()  # from here on connections wait until they are answered
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    address = f"http://{HOST}:{port}/{token}/"
    print(f"Open {address} in a browser; Ctrl-C ends the server.", flush=True)
    if config.open:
        webbrowser.open(address)
    settings = uvicorn.Config(
        build_app(config, token, port),
        log_level="error",
        limit_concurrency=128,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        ws="none",
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(settings).run(sockets=[listener])


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return the exit status."""
    config = parse_args(argv)
    return cli.run_cli(lambda: serve(config))


if __name__ == "__main__":
    cli.exit_with(main())
