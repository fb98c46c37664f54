"""Which request reaches Radicale, and as whom: Dovecot checks the password of each one. Pure WSGI.

A client sends the password with each request (HTTP Basic, RFC 7617). A wrong one is answered with
401, and one that cannot be checked now (too many were wrong, or Dovecot is away) with 503, so that
a device keeps its password and tries again. Radicale sees the mailbox's first address as the user,
so that calendars stay where they are when a mailbox is renamed.

No browser: a page, or what a hostile message smuggled into webmail, must not act with a password
that the browser remembers (Fetch Metadata, W3C).
"""

import base64
import binascii
import io
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from postal_plexus.account.password_check import Outcome, Verdict
from postal_plexus.calendars.bounds import Store, Watchdog
from postal_plexus.calendars.links import HOMES, link_shared
from postal_plexus.calendars.recurrence import recurs_too_often
from postal_plexus.calendars.shares import Share, shares_of
from postal_plexus.calendars.syntax import takes_too_long, text_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ROOT = "/dav"
LARGEST_XML = 256 << 10
"""Of a REPORT or PROPFIND, in octets: 2,000 events by their names."""

_MAX_INSTANCES = (
    '<error xmlns="DAV:"><max-instances xmlns="urn:ietf:params:xml:ns:caldav"/></error>'
)
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="Calendars and contacts", charset="UTF-8"')
# What else Radicale, or a library below it, would believe of a client.
_NOT_BELIEVED = (
    "HTTP_AUTHORIZATION",
    "HTTP_COOKIE",
    "HTTP_X_SCRIPT_NAME",
    "HTTP_X_REMOTE_USER",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SERVER",
)
_WRITES = frozenset({"MKCALENDAR", "MKCOL", "PROPPATCH", "PUT"})
# Radicale works at this many requests at a time; others wait, or wait for Dovecot.
_AT_ONCE = 2

Verify = Callable[[str, str, str], Verdict]
"""Name, password and network address -> the verdict. Raises OSError."""


class Gate:
    """The WSGI application (PEP 3333) in front of Radicale."""

    def __init__(
        self,
        radicale: "WSGIApplication",
        verify: Verify,
        store: Path,
        shares: tuple[Share, ...] = (),
        *,
        bound: Store | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._radicale, self._verify = radicale, verify
        self._store, self._shares = store, shares
        self._bound = bound or Store()
        self._watchdog = watchdog or Watchdog(1e9, lambda _: None)
        self._linked: set[str] = set()
        self._linking = threading.Lock()
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        try:
            path = _path(environ)
            user = self._user(environ)
            environ = {key: value for key, value in environ.items() if key not in _NOT_BELIEVED}
            environ["REMOTE_USER"] = user
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = ROOT, path
            # A unix socket has no port; with it, Radicale compares the destination of a MOVE.
            environ["SERVER_PORT"] = "443"
            # Radicale would decode a body as this says, and our checks would not see the same.
            kind = str(environ.get("CONTENT_TYPE", ""))
            environ["CONTENT_TYPE"] = kind.partition(";")[0]
            self._check(user, environ)
        except _RefusedError as refused:
            return refused.answer(start_response)
        with self._room, self._watchdog.watching(f"{environ['REQUEST_METHOD']} of {user}"):
            if user not in self._linked:
                self._prepare(user, environ)
            # A list: what is made later would be made outside.
            return list(self._radicale(environ, start_response))

    def _user(self, environ: "WSGIEnvironment") -> str:
        """Return the first address of the mailbox whose password the client sent."""
        given = credentials(str(environ.get("HTTP_AUTHORIZATION", "")))
        if given is None:
            raise _RefusedError("401 Unauthorized", "", _CHALLENGE)
        try:
            verdict = self._verify(*given, str(environ.get("HTTP_X_REAL_IP", "")))
        except OSError as error:
            _say(f"calendars: no password can be checked: {error}")
            verdict = Verdict(Outcome.LATER, "")
        if verdict.outcome is Outcome.LATER:
            raise _RefusedError("503 Service Unavailable", "", ("Retry-After", "120"))
        if verdict.outcome is Outcome.WRONG:
            raise _RefusedError("401 Unauthorized", "", _CHALLENGE)
        return verdict.storage

    def _check(self, user: str, environ: "WSGIEnvironment") -> None:
        """Refuse what would take too much: of the memory, the processor, the store."""
        method, parts = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if method == "DELETE" and len(parts) < 2:
            # Everything at once.
            raise _RefusedError("403 Forbidden", "Delete calendars one by one.")
        if method != "PUT" and length > LARGEST_XML:
            # A tree of small elements takes a hundred times its text.
            raise _RefusedError("413 Content Too Large")
        if method == "PUT":
            content = environ["wsgi.input"].read(length)
            text = text_of(content)
            if takes_too_long(text):
                raise _RefusedError("400 Bad Request", "A line is malformed, or has no end.")
            if recurs_too_often(text):
                raise _RefusedError("403 Forbidden", _MAX_INSTANCES, kind="text/xml")
            environ["wsgi.input"] = io.BytesIO(content)
        if method in _WRITES:
            folder = self._store / HOMES / user
            if len(parts) > 1 and parts[1] in shares_of(user, self._shares):
                folder = (folder / parts[1]).resolve()
            if not self._bound.takes(folder, length):
                _say(f"calendars: {user} has stored all that fits")
                raise _RefusedError("507 Insufficient Storage", "No more fits here.")

    def _prepare(self, user: str, environ: "WSGIEnvironment") -> None:
        """Let a home be there, with the links of what is shared with its user."""
        with self._linking:
            if not (self._store / HOMES / user).is_dir():
                # Radicale makes it, with a calendar and an address book, at any request.
                request = {"REQUEST_METHOD": "OPTIONS", "PATH_INFO": "/", "CONTENT_LENGTH": "0"}
                list(self._radicale(environ | request, _start))
            link_shared(self._store, user, self._shares)
            self._linked.add(user)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _start(*_: object) -> Callable[[bytes], object]:
    """Take the head of an answer that nobody reads."""
    return len


def credentials(header: str) -> tuple[str, str] | None:
    """Return name and password of an Authorization header, or None if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        octets = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        # What clients sent before RFC 7617.
        text = octets.decode("latin-1")
    name, colon, password = text.partition(":")
    return (name, password) if colon and name and password else None


def _path(environ: "WSGIEnvironment") -> str:
    """Return the path below ROOT of a request that a program may have sent."""
    path = str(environ.get("PATH_INFO", ""))
    if path != ROOT and not path.startswith(f"{ROOT}/"):
        raise _RefusedError("404 Not Found")
    if not path.isprintable():
        # A name that no program chooses, and that would be a line of a log.
        raise _RefusedError("400 Bad Request")
    # A browser asks for a page, or because of another site's one.
    if environ.get("HTTP_SEC_FETCH_DEST", "empty") != "empty" or environ.get(
        "HTTP_SEC_FETCH_SITE", "none"
    ) in {"cross-site", "same-site"}:
        raise _RefusedError("403 Forbidden", "Use a calendar program.")
    return path[len(ROOT) :] or "/"


class _RefusedError(Exception):
    """A request ends here: its status, a text, and more headers."""

    def __init__(
        self, status: str, text: str = "", *headers: tuple[str, str], kind: str = "text/plain"
    ) -> None:
        super().__init__(status)
        self._status, self._text, self._headers, self._kind = status, text, headers, kind

    def answer(self, start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request."""
        body = f"{self._text or self._status}\n".encode()
        described = [
            ("Content-Type", f"{self._kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        start_response(self._status, [*described, *self._headers])
        return [body]
