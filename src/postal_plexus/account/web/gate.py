"""Which request of a browser the account page answers at all. Pure.

The page shares its host name with webmail, and so its origin: what a hostile mail smuggled into
webmail could fetch the account page's addresses with the user's cookie, and read the answers. So a
page is only given to a navigation of a window of its own (Fetch Metadata, W3C), which no script can
pretend, and the answer's Cross-Origin-Opener-Policy cuts off the opener of the window. What changes
anything comes from a form of ours: our own origin, and a token made of the session's (OWASP,
"Cross-Site Request Forgery Prevention").
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
    """What of a request counts. `remote` is what nginx says of the browser's address."""

    method: str
    path: str
    host: str
    remote: str
    token: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Mapping[str, str] = field(default_factory=dict[str, str])


def check(request: Request, *, loads: bool = False) -> None:
    """Let a request pass; `loads` for what a page of ours loads (a style sheet).

    Raises:
        RefusedError: it does not come from a window of its own, or not from our form.
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
    """Let a form pass that changes something.

    Raises:
        RefusedError: it is none of the session's forms.
    """
    given = request.form.get("form", "")
    if not hmac.compare_digest(form_token(request.token).encode(), given.encode()):
        raise RefusedError("403 Forbidden", "This form is of another session. Go back, and reload.")


def form_token(token: str) -> str:
    """Give what a form of the session carries; it tells nothing of the session's token."""
    return hmac.new(token.encode(), b"account page form", hashlib.sha256).hexdigest()


def session_token(cookies: str) -> str:
    """Give the session's token of a Cookie header, "" if there is none."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def cookie(token: str) -> str:
    """Write the Set-Cookie header that begins a session, or with "" ends it."""
    lasts = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{lasts}"


def read_form(octets: bytes) -> Mapping[str, str]:
    """Read a form's fields.

    Raises:
        RefusedError: it is none.
    """
    try:
        pairs = parse_qsl(
            octets.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError as error:
        raise RefusedError("400 Bad Request", "That is no form.") from error
    return dict(pairs)
