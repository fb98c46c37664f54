"""A browser without scripts, as small as the tests need: cookies, forms, and nothing followed by itself."""

from __future__ import annotations

import http.client
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlencode

from service.mail_host import HOSTNAME


@dataclass(frozen=True)
class Answer:
    """What a site answered; the names of headers in small letters."""

    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    text: str


@dataclass
class WebClient:
    """One visitor of the web container on this machine's `port`."""

    port: int
    context: ssl.SSLContext
    cookies: dict[str, str] = field(default_factory=dict[str, str])
    host: str = HOSTNAME

    def ask(
        self,
        path: str,
        form: dict[str, str] | None = None,
        *,
        method: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask for a path as it is written; a form is posted."""
        given = {
            "Host": self.host,
            "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()),
        }
        if form is not None:
            body = urlencode(form).encode()
            given["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPSConnection(
            "localhost", self.port, context=self.context, timeout=60
        )
        try:
            asked = method or ("GET" if body is None else "POST")
            connection.request(asked, path, body, given | (headers or {}))
            answer = connection.getresponse()
            set_cookies = tuple(answer.headers.get_all("Set-Cookie") or ())
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for cookie in set_cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if value == "-del-":
                del self.cookies[name]
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, set_cookies, text)

    def token(self, path: str) -> str:
        """Return what a page's own requests say, so that no other site's are taken for them."""
        token = self.ask(path).text.partition('"request_token":"')[2].partition('"')[0]
        assert token, path
        return token

    def log_in(self, address: str, password: str) -> Answer:
        """Fill in the login page and send it; 302 is success, 401 a refusal."""
        page = self.ask("/").text
        token = re.search(r'name="_token" value="([^"]+)"', page)
        assert token, page[:2000]
        form = {"_task": "login", "_action": "login", "_timezone": "UTC", "_url": ""}
        return self.ask(
            "/?_task=login", {**form, "_token": token[1], "_user": address, "_pass": password}
        )
