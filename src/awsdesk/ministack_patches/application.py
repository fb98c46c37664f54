"""The ASGI layer in front of ministack: the only access to the emulated account.

- A request that claims to be root must carry the desk's key and a valid signature (`root_key`).
- ministack's own management pages (reset, configuration) are not reachable.
- `GET /credentials/<task>` is the container credentials endpoint (`ecs.credentials`).
- `GET /health` returns that the desk's daemon runs, and the state of its tasks.
- After a call that may have changed something, `changed` is called, which saves the state.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from awsdesk.ministack_patches.root_key import RootKey

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CREDENTIALS_PATH = "/credentials/"
HEALTH_PATH = "/health"

# Calls after which nothing needs to be saved. A received message only becomes visible again.
_READS = re.compile(
    r"(GET|HEAD) |[A-Za-z0-9_]+\.(Get|List|Describe|ReceiveMessage|ChangeMessageVisibility)"
)


class CredentialsSource(Protocol):
    """The source of task credentials."""

    async def credentials(self, task: str, token: str) -> dict[str, str] | None:
        """Return the credentials document, or None if task and token do not belong together."""
        ...


class DeskApplication:
    """The ASGI application that the desk serves."""

    def __init__(
        self,
        inner: Application,
        root: RootKey,
        credentials: CredentialsSource,
        changed: Callable[[str], None],
        health: Callable[[], dict[str, object]],
    ) -> None:
        self._inner = inner
        self._root = root
        self._credentials = credentials
        self._changed = changed
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == HEALTH_PATH:
            await _answer(send, 200, self._health())
        elif path.startswith(CREDENTIALS_PATH):
            await self._serve_credentials(scope, send)
        elif path.startswith("/_"):
            await _answer(send, 404, {"message": "the desk has no management pages"})
        else:
            await self._serve_aws(scope, receive, send)

    async def _serve_credentials(self, scope: Scope, send: Send) -> None:
        task = scope["path"].removeprefix(CREDENTIALS_PATH)
        token = next((v for n, v in scope["headers"] if n.lower() == b"authorization"), b"")
        found = await self._credentials.credentials(task, token.decode("latin-1"))
        if found is None:
            await _answer(send, 403, {"code": "AccessDenied", "message": "no such task or token"})
        else:
            await _answer(send, 200, found)

    async def _serve_aws(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, complete = await _body(receive)
        if not complete:
            return
        if (why := self._root.refusal(dict(scope), body)) is not None:
            await _answer(
                send,
                403,
                {"__type": "UnrecognizedClientException", "message": why},
            )
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        operation = _operation(scope)
        answering = asyncio.ensure_future(self._inner(scope, replay, send))
        if operation.endswith(".ReceiveMessage"):
            await _while_connected(answering, receive)
        else:
            await answering
        if not _READS.match(operation):
            self._changed(operation)


def _operation(scope: Scope) -> str:
    """Return the called operation, as far as request line and headers show it."""
    target = next((v for n, v in scope["headers"] if n.lower() == b"x-amz-target"), b"")
    return target.decode("latin-1") or f"{scope['method']} {scope['path']}"


async def _body(receive: Receive) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", False
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts), True


async def _while_connected(answering: asyncio.Future[None], receive: Receive) -> None:
    """Wait for an answer, and cancel it when the client closes the connection.

    ministack would continue a long poll for a disconnected client, up to 20 s. What that poll
    receives stays hidden for the visibility timeout although no client has it, so a restarted
    service had to wait for its mail. Amazon's queue ends such a poll.
    """
    closed = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answering, closed), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            await answering
    finally:
        closed.cancel()
        answering.cancel()


async def _answer(send: Send, status: int, document: Mapping[str, object]) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
