"""ASGI middleware around the application, which asks `guard` about each request.

It reads a form before the application does, with a size limit, and passes it on in
`scope["state"]`. It sets the security headers on each response, including refusals.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from postal_plexus.console import guard

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from postal_plexus.console.guard import Keys, Refusal

_log = logging.getLogger(__name__)
_LARGEST_FORM = 16 * 1024
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not no-referrer: with that, a browser sends Origin: null with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), clipboard-read=()",
    "x-dns-prefetch-control": "off",
    "cache-control": "no-store",
}


class Door:
    """Passes on requests that `guard` accepts."""

    def __init__(self, application: ASGIApp, keys: Keys) -> None:
        self._application = application
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if (given := _token(scope)) is not None:
            await self._enter(headers, given)(scope, receive, strict)
            return
        form: dict[str, str] = {}
        if scope["method"] not in guard.SAFE_METHODS:
            body = await _read(receive)
            if body is None:
                answer = PlainTextResponse("The form is too large.\n", 413)
                await answer(scope, receive, strict)
                return
            form = {name: values[-1] for name, values in parse_qs(body).items()}
        facts = {name: ", ".join(headers.getlist(name)) for name in headers}
        refused = guard.refusal(self._keys, scope["method"], facts, form.get("form", ""))
        if refused is not None:
            _log.warning(
                "refused (%s): %s %s, host %.100r, origin %.100r, from %.20r",
                *(refused.name.lower(), scope["method"], scope["path"][:100]),
                *(facts.get(name) for name in ("host", "origin", "sec-fetch-site")),
            )
            await _refuse(refused)(scope, receive, strict)
            return
        scope.setdefault("state", {})["form"] = form
        await self._application(scope, receive, strict)

    def _enter(self, headers: Headers, given: str) -> Response:
        """Handle the printed address: set a cookie, and redirect to it without the token."""
        if (wrong := guard.wrong_place(self._keys, headers)) is not None:
            return _refuse(wrong)
        if not self._keys.opens(given):
            return _refuse(guard.Refusal.STRANGER)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._keys.cookie, self._keys.session, httponly=True, samesite="strict", path="/"
        )
        return answer


def _token(scope: Scope) -> str | None:
    """Return the token of a request for the printed address."""
    if scope["path"] != "/" or scope["method"] != "GET":
        return None
    found = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
    return found[-1] if found else None


async def _read(receive: Receive) -> str | None:
    """Read a form's body, or return None if it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_FORM:
            return None
        if not message.get("more_body", False):
            return body.decode("utf-8", "replace")


def _refuse(refused: Refusal) -> Response:
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Not here</title>"
        f"<main><h1>Not here</h1><p>{refused.text}</p></main></html>\n"
    )
    return HTMLResponse(page, refused.status)
