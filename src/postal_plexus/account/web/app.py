"""The account page: a WSGI application (PEP 3333) without scripts or sessions of its own.

It passes the session's token from the browser's cookie to the keeper with each request, and shows
the keeper's answer. Every error becomes a page with the reason.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, cast

from postal_plexus.account.web import gate, keeper_client, pages
from postal_plexus.account.web.gate import RefusedError, Request
from postal_plexus.account.web.keeper_client import KeeperError
from postal_plexus.autoconfig.apple import CONTENT_TYPE, apple_profile
from postal_plexus.autoconfig.hosts import ClientSetup

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Answer = Mapping[str, object]

_POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    # Not webmail's `same-origin`: webmail could control a window that it opened.
    ("Cross-Origin-Opener-Policy", "noopener-allow-popups"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # `no-referrer` would send forms with Origin: null.
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
_STATUS = {
    "session": "401 Unauthorized",
    "password": "403 Forbidden",
    "code": "403 Forbidden",
    "later": "429 Too Many Requests",
    "refused": "400 Bad Request",
    "broken": "503 Service Unavailable",
    "failed": "503 Service Unavailable",
}
_AWAY = {"ok": False, "problem": "failed", "text": "That could not be done now. Try again later."}


@dataclass(frozen=True)
class Response:
    """An answer to a browser."""

    status: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "text/html; charset=utf-8"


@dataclass(frozen=True)
class App:
    """The application.

    Attributes:
        base: the path under which it is served, without a slash at its end.
        socket: the keeper's.
        client_host: the host that clients of all domains use; "" for `mail.<domain>` each.
        calendars: whether the profile for Apple devices has calendars and contacts, too.
    """

    base: str = "/account"
    socket: str = keeper_client.messages.SOCKET
    client_host: str = ""
    calendars: bool = False

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        try:
            response = self._answer(_request(environ, self.base))
        except RefusedError as error:
            response = Response(error.status, pages.refused(self.base, str(error)))
        length = str(len(response.body))
        start_response(
            response.status,
            [
                ("Content-Type", response.content_type),
                ("Content-Length", length),
                *_HEADERS,
                *response.headers,
            ],
        )
        return [response.body]

    def _answer(self, request: Request) -> Response:
        if request.path == "/style.css":
            gate.check(request, loads=True)
            style = resources.files("postal_plexus.account.web").joinpath("static", "account.css")
            return Response("200 OK", style.read_bytes(), content_type="text/css; charset=utf-8")
        gate.check(request)
        answers = self._gets() if request.method in {"GET", "HEAD"} else self._posts()
        if request.path not in answers:
            raise RefusedError("404 Not Found", "There is no such page.")
        if request.method not in {"GET", "HEAD", "POST"}:
            raise RefusedError("405 Method Not Allowed", "That cannot be done here.")
        if request.method == "POST" and request.path != "/login":
            gate.check_form(request)
        return answers[request.path](request)

    def _gets(self) -> Mapping[str, Callable[[Request], Response]]:
        return {
            "/": self._overview,
            "/factor": self._offer_factor,
            "/apple.mobileconfig": self._apple_profile,
        }

    def _posts(self) -> Mapping[str, Callable[[Request], Response]]:
        return {
            "/login": self._login,
            "/logout": self._logout,
            "/password": self._change_password,
            "/apps": self._make_app,
            "/apps/revoke": self._revoke_app,
            "/only-apps": self._only_apps,
            "/factor": self._begin_factor,
            "/factor/end": self._end_factor,
            "/vacation": self._vacation,
        }

    # --- sessions ---

    def _login(self, request: Request) -> Response:
        answer = self._ask(request, "login", "address", "password", "code")
        if answer["ok"]:
            return self._to(request, cookie=str(answer["token"]))
        text = pages.login(self.base, str(answer["text"]), request.form.get("address", ""))
        return Response(_STATUS[str(answer["problem"])], text)

    def _logout(self, request: Request) -> Response:
        self._ask(request, "logout")
        return self._to(request, cookie="")

    # --- views ---

    def _overview(self, request: Request, problem: Answer | None = None) -> Response:
        answer = (
            self._ask(request, "view") if request.token else {"ok": False, "problem": "session"}
        )
        if not answer["ok"]:
            return self._no_overview(request, answer)
        text = "" if problem is None else str(problem["text"])
        status = "200 OK" if problem is None else _STATUS[str(problem["problem"])]
        form = gate.form_token(request.token)
        return Response(status, pages.overview(self.base, answer, form, text, request.query))

    def _no_overview(self, request: Request, answer: Answer) -> Response:
        if answer["problem"] != "session":
            text = pages.refused(self.base, str(answer["text"]))
            return Response(_STATUS[str(answer["problem"])], text)
        # Without a cookie no session has ended.
        text = str(answer.get("text", ""))
        headers = (("Set-Cookie", gate.cookie("")),) if request.token else ()
        return Response("200 OK", pages.login(self.base, text, ""), headers)

    def _apple_profile(self, request: Request) -> Response:
        answer = self._ask(request, "view")
        if not answer["ok"]:
            return self._no_overview(request, answer)
        address = str(answer["address"])
        domain = address.rpartition("@")[2]
        setup = ClientSetup(domain, self.client_host or f"mail.{domain}", self.calendars)
        saved = (("Content-Disposition", 'attachment; filename="mail.mobileconfig"'),)
        return Response("200 OK", apple_profile(setup, address=address), saved, CONTENT_TYPE)

    # --- changes ---

    def _change_password(self, request: Request) -> Response:
        if request.form.get("new") != request.form.get("again"):
            text = "The two new passwords differ."
            return self._overview(request, {"problem": "refused", "text": text})
        return self._done(request, "change-password", "password", "code", "new")

    def _make_app(self, request: Request) -> Response:
        answer = self._ask(request, "make-app", "password", "code", "name")
        if not answer["ok"]:
            return self._overview(request, answer)
        made = pages.app_password(self.base, str(answer["name"]), str(answer["password"]))
        return Response("200 OK", made)

    def _revoke_app(self, request: Request) -> Response:
        return self._done(request, "revoke-app", "name")

    def _only_apps(self, request: Request) -> Response:
        return self._done(request, "only-apps", "password", "code", "on")

    def _offer_factor(self, request: Request, problem: str = "") -> Response:
        answer = self._ask(request, "offer-factor")
        if not answer["ok"]:
            return self._overview(request, answer)
        return self._factor_form(request, str(answer["secret"]), str(answer["uri"]), problem)

    def _factor_form(self, request: Request, secret: str, uri: str, problem: str) -> Response:
        form = gate.form_token(request.token)
        return Response("200 OK", pages.factor(self.base, form, secret, uri, problem))

    def _begin_factor(self, request: Request) -> Response:
        answer = self._ask(request, "begin-factor", "password", "code", "secret")
        if answer["ok"]:
            codes = cast("list[str]", answer["codes"])
            return Response("200 OK", pages.recovery_codes(self.base, codes))
        if answer["problem"] in {"refused", "password"}:
            # With a new secret, because the page of the old one is gone.
            return self._offer_factor(request, str(answer["text"]))
        return self._overview(request, answer)

    def _end_factor(self, request: Request) -> Response:
        return self._done(request, "end-factor", "password", "code")

    def _vacation(self, request: Request) -> Response:
        return self._done(request, "vacation", "on", "subject", "text", "first", "last")

    # --- the keeper ---

    def _done(self, request: Request, verb: str, *names: str) -> Response:
        answer = self._ask(request, verb, *names)
        return self._to(request, done=verb) if answer["ok"] else self._overview(request, answer)

    def _ask(self, request: Request, verb: str, *names: str) -> Answer:
        given = {name: request.form.get(name, "") for name in names}
        own = {"verb": verb, "token": request.token, "remote": request.remote}
        try:
            return keeper_client.ask({**given, **own}, self.socket)
        except KeeperError as error:
            sys.stderr.write(f"account: {error}\n")
            return _AWAY

    def _to(self, request: Request, done: str = "", cookie: str | None = None) -> Response:
        """Redirect to the overview, so that a reload does not send the form again."""
        query = f"?done={done}" if done else ""
        headers = [("Location", f"https://{request.host}{self.base}/{query}")]
        if cookie is not None:
            headers.append(("Set-Cookie", gate.cookie(cookie)))
        return Response("303 See Other", b"", tuple(headers))


def _request(environ: "WSGIEnvironment", base: str) -> Request:
    """Parse a request; nginx has checked its host, and passes the client's address."""
    method, path = str(environ["REQUEST_METHOD"]), str(environ.get("PATH_INFO", ""))
    if path != base and not path.startswith(f"{base}/"):
        raise RefusedError("404 Not Found", "There is no such page.")
    headers = {
        name[5:].lower().replace("_", "-"): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    form: Mapping[str, str] = {}
    if method == "POST":
        length = str(environ.get("CONTENT_LENGTH") or "")
        kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded" or not length.isdecimal():
            raise RefusedError("400 Bad Request", "That is no form.")
        if int(length) > gate.LONGEST_FORM:
            raise RefusedError("413 Content Too Large", "That is too long.")
        form = gate.read_form(environ["wsgi.input"].read(int(length)))
    return Request(
        method=method,
        path=path.removeprefix(base) or "/",
        host=headers.get("host", ""),
        remote=headers.get("x-real-ip", ""),
        token=gate.session_token(headers.get("cookie", "")),
        query=str(environ.get("QUERY_STRING", "")),
        headers=headers,
        form=form,
    )
