"""Access control of the page: one decision about each request, made before anything else.

The page can drop mail, and other programs on this machine, other users of it and every web site
that its operator visits can send requests to it. So a request needs

- the host name that was printed: a foreign one that resolves to 127.0.0.1 is DNS rebinding;
- the session's cookie, which only the printed address sets (it contains a token of 256 bits);
- not to come from another site, according to the browser (Fetch Metadata, W3C);
- if it changes anything: our own Origin, and a token that only our pages have (OWASP's
  "Cross-Site Request Forgery Prevention"). Cookies do not distinguish ports of a host, so SameSite
  alone would let another program's page on 127.0.0.1 act.

Pure.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SAFE_METHODS = frozenset({"GET", "HEAD"})


class Refusal(Enum):
    """Why a request is refused: the status and the text of the page."""

    HOST = 421, "This page must be opened under another name. Use the address that was printed."
    STRANGER = (
        403,
        (
            "This page needs the address with its token: `plexus console` prints it when it starts,"
            " and for a desk `plexus local status`."
        ),
    )
    SITE = 403, "Another web site requested this. Nothing was done."
    FORM = 403, "This form does not belong to this page, or the page is outdated. Nothing was done."

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The text for people."""
        return self.value[1]


@dataclass(frozen=True)
class Keys:
    """The keys of the page. All derive from `token`, so that a restart ends no session."""

    token: str
    port: int

    @property
    def cookie(self) -> str:
        """The cookie's name. It includes the port, because cookies do not distinguish ports."""
        return f"plexus-console-{self.port}"

    @property
    def session(self) -> str:
        """The cookie's value."""
        return self._derived("session")

    @property
    def form(self) -> str:
        """The token in each form."""
        return self._derived("form")

    @property
    def address(self) -> str:
        """The page's address, with the token: for its operator only."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def hosts(self) -> frozenset[str]:
        """The host names under which it answers."""
        return frozenset({f"127.0.0.1:{self.port}", f"localhost:{self.port}"})

    def opens(self, token: str) -> bool:
        """Return whether this is the token of the printed address."""
        return _same(token, self.token)

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), "sha256").hexdigest()


def refusal(keys: Keys, method: str, headers: Mapping[str, str], form: str) -> Refusal | None:
    """Decide about a request without the printed address's token.

    Args:
        keys: the keys of the page.
        method: the HTTP method.
        headers: names in lower case; repeated fields are joined by a comma.
        form: the token in its form, or nothing.
    """
    if (wrong := wrong_place(keys, headers)) is not None:
        return wrong
    if not _same(_cookie(headers.get("cookie", ""), keys.cookie), keys.session):
        return Refusal.STRANGER
    if method in SAFE_METHODS:
        return None
    ours = {f"http://{host}" for host in keys.hosts}
    if headers.get("origin") not in ours or not _same(form, keys.form):
        return Refusal.FORM
    return None


def wrong_place(keys: Keys, headers: Mapping[str, str]) -> Refusal | None:
    """Refuse requests for another host, or from another site."""
    if headers.get("host", "").lower() not in keys.hosts:
        return Refusal.HOST
    # Missing in old browsers and other programs; "none" means that the address was typed or opened.
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return Refusal.SITE
    return None


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
