"""Serve the page on 127.0.0.1 until told to stop.

Requests are not logged, because the first one contains the token.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp

USUAL_PORT = 8025
"""The usual port of programs that show caught mail."""
_WATCH_SECONDS = 2.0
_END_SECONDS = 2


class PortTakenError(Exception):
    """The port is in use."""


def new_token() -> str:
    """Return a new token of 256 random bits."""
    return secrets.token_urlsafe(32)


def listen(ports: Sequence[int]) -> socket.socket:
    """Open the page's socket on the first available port of these; 0 means any.

    Raises:
        PortTakenError: none is available.
    """
    reasons: list[str] = []
    for port in ports:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
            one.listen(64)
        except OSError as error:
            one.close()
            reasons.append(f"127.0.0.1:{port} cannot be listened on ({error.strerror})")
        else:
            return one
    raise PortTakenError(", ".join(reasons))


def serve(application: ASGIApp, listening: socket.socket, wanted: Callable[[], bool]) -> None:
    """Serve until SIGINT or SIGTERM, or until the page is no longer wanted."""
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http="h11",
        proxy_headers=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    server = uvicorn.Server(config)

    def watch() -> None:
        while wanted():
            time.sleep(_WATCH_SECONDS)
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listening])
