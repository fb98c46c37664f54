"""Decide which requests of a browser the account page answers. Pure.

The page shares its host name, and so its origin, with webmail: a script that a hostile message
smuggled into webmail could request the account page with the user's cookie, and read the answers.
Therefore pages are only returned for a navigation of a window (Fetch Metadata, W3C), which no
script can imitate, and the Cross-Origin-Opener-Policy of the answer cuts the link to the window's
opener. A change requires one of the page's own forms: its own origin, and a token derived from the
session's (OWASP, "Cross-Site Request Forgery Prevention").
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

COOKIE = "__Host-account"
LONGEST_FORM = 24 * 1024


class RefusedError(Exception):
    """A request is not answered: an HTTP status, and why."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The relevant parts of a request. `remote` is the browser's address according to nginx."""

    method: str
    path: str
    host: str
    remote: str
    token: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Mapping[str, str] = field(default_factory=dict[str, str])


def check(request: Request, *, loads: bool = False) -> None:
    """Check a request; `loads` is for files that a page loads (a style sheet).

    Raises:
        RefusedError: it is not the navigation of a window, or not from the page's form.
    """
    destination = request.headers.get("sec-fetch-dest", "")
    if destination not in ({"", "style"} if loads else {"", "document"}):
        raise RefusedError("403 Forbidden", "This page opens in a window of its own only.")
    if request.method != "POST":
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    ours = (site in {None, "same-origin"}) and (origin in {None, f"https://{request.host}"})
    if not ours or (site is None and origin is None):
        raise RefusedError("403 Forbidden", "This form came from another site.")


def check_form(request: Request) -> None:
    """Check a form that changes something.

    Raises:
        RefusedError: it is not one of the session's forms.
    """
    given = request.form.get("form", "")
    if not hmac.compare_digest(form_token(request.token).encode(), given.encode()):
        raise RefusedError("403 Forbidden", "This form is of another session. Go back, and reload.")


def form_token(token: str) -> str:
    """Return the token for the session's forms; it does not reveal the session's token."""
    return hmac.new(token.encode(), b"account page form", hashlib.sha256).hexdigest()


def session_token(cookies: str) -> str:
    """Return the session's token in a Cookie header, "" if there is none."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def cookie(token: str) -> str:
    """Return the Set-Cookie header that begins a session, or ends it for ""."""
    lasts = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{lasts}"


def read_form(octets: bytes) -> Mapping[str, str]:
    """Parse a form's fields.

    Raises:
        RefusedError: it is not a form.
    """
    try:
        pairs = parse_qsl(
            octets.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError as error:
        raise RefusedError("400 Bad Request", "That is no form.") from error
    return dict(pairs)
