"""The account page: access control, content, and escaping of hostile text."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode
from wsgiref.validate import validator

import pytest

from postal_plexus.account import messages
from postal_plexus.account.web import gate
from postal_plexus.account.web.app import App

TOKEN = "t" * 43
HOST = "mail.example.org"
NAVIGATION = {"sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}
OURS = {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin", **NAVIGATION}
ACCOUNT: dict[str, object] = {
    "address": "ann@example.org",
    "own": True,
    "apps": [{"name": "phone", "made": 1795903765}],
    "operators": ["<b>old"],
    "only_apps": False,
    "factor": True,
    "recovery": 7,
    "quota": {"octets": 5_000_000, "most": 10_000_000_000, "mails": 3},
    "sessions": [{"protocol": "imap", "sessions": 2, "from": ["192.0.2.7"]}],
    "logins": [["2026-11-28T22:09:25Z", "phone", "imap", "192.0.2.7<script>"]],
    "vacation": {
        "subject": '"><script>alert(1)</script>',
        "text": "</textarea><img src=x>",
        "first": "2026-12-01",
        "last": "2026-12-02",
    },
}


class Keeper:
    """A keeper's socket with a script: what it was asked, and what it answers."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked, self.answers = path, [], {"view": {"ok": True, **ACCOUNT}}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                request = messages.request(file.readline())
                self.asked.append(dict(request))
                answer = self.answers.get(request["verb"], {"ok": True})
                connection.sendall(messages.written(answer))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """Start a keeper that shows ann's account, and accepts each change."""
    with closing(Keeper(tmp_path / "keeper.sock")) as made:
        yield made


class Browser:
    """A browser's requests, checked against the WSGI protocol."""

    def __init__(self, keeper: Keeper) -> None:
        self._app = validator(App(socket=str(keeper.path)))

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **form: str
    ) -> tuple[str, dict[str, str], str]:
        """Return status, headers and body of an answer."""
        octets = urlencode(form).encode()
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/account{path}",
            "QUERY_STRING": "",
            "SERVER_NAME": HOST,
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "HTTP_X_REAL_IP": "192.0.2.99",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(octets),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if method == "POST":
            environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
            environ["CONTENT_LENGTH"] = str(len(octets))
        sent = OURS if headers is None else headers
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": each for name, each in sent.items()}
        got: list[object] = []

        def start_response(status: str, headers: list[tuple[str, str]], _info: object = None):
            got.extend((status, dict(headers)))
            return got.append

        answer = self._app(environ, start_response)
        body = b"".join(answer).decode()
        answer.close()
        return got[0], got[1], body

    def signed_in(self) -> dict[str, str]:
        """Return the headers of a request with a session."""
        return {**OURS, "cookie": f"other=1; {gate.COOKIE}={TOKEN}"}


@pytest.fixture
def browser(keeper: Keeper) -> Browser:
    """Return a browser on that page."""
    return Browser(keeper)


FORMS = {
    "/password": ("change-password", {"password": "p", "code": "1", "new": "n", "again": "n"}),
    "/apps/revoke": ("revoke-app", {"name": "phone"}),
    "/only-apps": ("only-apps", {"password": "p", "code": "1", "on": "yes"}),
    "/factor/end": ("end-factor", {"password": "p", "code": "1"}),
    "/vacation": (
        "vacation",
        {"on": "yes", "subject": "s", "text": "t", "first": "1", "last": "2"},
    ),
    "/logout": ("logout", {}),
}


def test_without_a_session_there_is_a_login_form(keeper: Keeper, browser: Browser) -> None:
    """The page does not ask the keeper."""
    status, headers, body = browser.ask("GET", "/")
    assert status == "200 OK"
    assert 'name="password"' in body
    assert "Set-Cookie" not in headers
    assert [] == keeper.asked


def test_a_login_gives_a_cookie_and_leads_on(keeper: Keeper, browser: Browser) -> None:
    """Scripts, other sites and other host names cannot get the cookie."""
    keeper.answers["login"] = {"ok": True, "token": TOKEN, "address": "ann@example.org"}
    given = {"address": "ann@example.org", "password": "p", "code": ""}
    status, headers, _ = browser.ask("POST", "/login", **given)
    assert status == "303 See Other"
    assert headers["Location"] == f"https://{HOST}/account/"
    cookie = f"__Host-account={TOKEN}; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert cookie == headers["Set-Cookie"]
    assert keeper.asked[0] | given == keeper.asked[0]
    assert keeper.asked[0]["remote"] == "192.0.2.99"


def test_what_strangers_write_is_text(browser: Browser) -> None:
    """Names, addresses and the user's own texts are escaped."""
    status, headers, body = browser.ask("GET", "/", browser.signed_in())
    assert status == "200 OK"
    assert "ann@example.org" in body
    for hostile in ("<script", "<img", "<b>old"):
        assert hostile not in body
    assert "&lt;script&gt;" in body
    # No script, no style in a page, nothing from elsewhere.
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|https?://", body)
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", FORMS)
def test_a_form_changes_what_it_says(keeper: Keeper, browser: Browser, path: str) -> None:
    """The keeper gets the session and the form's fields, and the browser is redirected."""
    verb, form = FORMS[path]
    token = gate.form_token(TOKEN)
    status, headers, _ = browser.ask("POST", path, browser.signed_in(), form=token, **form)
    assert status == "303 See Other"
    assert headers["Location"].startswith(f"https://{HOST}/account/")
    expected = {"verb": verb, "token": TOKEN, "remote": "192.0.2.99"}
    assert (
        expected | {name: each for name, each in form.items() if name != "again"} == keeper.asked[0]
    )


@pytest.mark.parametrize("path", [*FORMS, "/apps", "/factor"])
@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, None),
        ({"origin": "https://evil.example"}, None),
        ({"origin": "null"}, None),
        ({"origin": f"http://{HOST}"}, None),
        ({"origin": f"https://{HOST}", "sec-fetch-site": "cross-site"}, None),
        ({"origin": f"https://{HOST}", "sec-fetch-site": "same-site"}, None),
        ({**OURS, "sec-fetch-dest": "empty"}, None),
        ({**OURS, "sec-fetch-dest": "iframe"}, None),
        (OURS, ""),
        (OURS, "0" * 64),
        (OURS, "é"),
    ],
)
def test_only_our_forms_change_anything(
    keeper: Keeper, browser: Browser, path: str, headers: dict[str, str], form: str | None
) -> None:
    """Requests of other sites, webmail's scripts, frames, or without the session's token are refused."""
    token = gate.form_token(TOKEN) if form is None else form
    cookie = {"cookie": f"{gate.COOKIE}={TOKEN}"}
    status, _, _ = browser.ask("POST", path, headers | cookie, form=token, password="p", name="n")
    assert status == "403 Forbidden"
    assert [] == keeper.asked


@pytest.mark.parametrize("destination", ["empty", "iframe", "embed", "object", "script", "image"])
@pytest.mark.parametrize("path", ["/", "/factor", "/apple.mobileconfig"])
def test_no_script_reads_a_page(
    keeper: Keeper, browser: Browser, path: str, destination: str
) -> None:
    """Scripts of the same origin are refused too, because webmail shows hostile messages there."""
    headers = browser.signed_in() | {"sec-fetch-dest": destination}
    assert browser.ask("GET", path, headers)[0] == "403 Forbidden"
    assert [] == keeper.asked
    answer = browser.ask("GET", "/", browser.signed_in())[1]
    assert answer["Cross-Origin-Opener-Policy"] == "noopener-allow-popups"
    assert answer["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", "404"),
        ("GET", "/../etc/passwd", "404"),
        ("GET", "/login", "404"),
        ("POST", "/", "404"),
        ("PUT", "/vacation", "405"),
        ("GET", "/style.css", "200"),
    ],
)
def test_other_addresses_are_refused(browser: Browser, method: str, path: str, status: str) -> None:
    """They get an error page."""
    headers = {} if path == "/style.css" else {**OURS, **NAVIGATION}
    assert browser.ask(method, path, headers)[0].startswith(status)


def test_a_problem_is_shown_where_it_happened(keeper: Keeper, browser: Browser) -> None:
    """It is escaped, with the rest of the page; an ended session leads to the login form."""
    keeper.answers["revoke-app"] = {"ok": False, "problem": "refused", "text": "No <such> one."}
    form = {"form": gate.form_token(TOKEN), "name": "x"}
    status, _, body = browser.ask("POST", "/apps/revoke", browser.signed_in(), **form)
    assert status == "400 Bad Request"
    assert "No &lt;such&gt; one." in body
    assert "App passwords" in body
    keeper.answers["view"] = {"ok": False, "problem": "session", "text": "It has ended."}
    _, headers, body = browser.ask("GET", "/", browser.signed_in())
    assert "It has ended." in body
    assert "Max-Age=0" in headers["Set-Cookie"]


def test_secrets_are_shown_once(keeper: Keeper, browser: Browser) -> None:
    """App passwords, secrets with their QR code and recovery codes are shown once."""
    token = gate.form_token(TOKEN)
    keeper.answers["make-app"] = {"ok": True, "name": "phone", "password": "abcd-efgh"}
    assert "abcd-efgh" in browser.ask("POST", "/apps", browser.signed_in(), form=token)[2]
    uri = "otpauth://totp/Mail:ann?secret=A&issuer=Mail"
    keeper.answers["offer-factor"] = {"ok": True, "secret": "ABCDEFGH", "uri": uri}
    body = browser.ask("GET", "/factor", browser.signed_in())[2]
    assert "ABCD EFGH" in body
    assert "<svg" in body
    assert " style=" not in body
    keeper.answers["begin-factor"] = {"ok": True, "codes": ["aaaa-bbbb"]}
    assert "aaaa-bbbb" in browser.ask("POST", "/factor", browser.signed_in(), form=token)[2]


def test_the_apple_profile_is_the_users(browser: Browser) -> None:
    """It is downloaded, with the address and without a password."""
    _, headers, body = browser.ask("GET", "/apple.mobileconfig", browser.signed_in())
    assert headers["Content-Type"] == "application/x-apple-aspen-config"
    assert "<string>ann@example.org</string>" in body
    assert "<string>mail.example.org</string>" in body


def test_without_the_keeper_the_page_says_so(keeper: Keeper, browser: Browser) -> None:
    """The page shows an error, and nothing crashes."""
    keeper.path.unlink()
    status, _, body = browser.ask("GET", "/", browser.signed_in())
    assert status == "503 Service Unavailable"
    assert "Try again later" in body


@pytest.mark.parametrize("cookies", ["", "x", "__Host-account", '__Host-account="a\\', "\x00=\x01", "a=b; __Host-account=; c"])  # fmt: skip
def test_no_cookie_breaks_the_page(browser: Browser, cookies: str) -> None:
    """Any cookie is a valid token or ignored."""
    assert browser.ask("GET", "/", {**OURS, "cookie": cookies})[0] == "200 OK"
