"""The account page's HTML, from templates that escape all values."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_DONE = {
    "change-password": "Your password is changed. Devices that have the old one need the new one.",
    "revoke-app": "The app password is revoked. Your devices were disconnected; the others return.",
    "only-apps": "That is changed.",
    "end-factor": "The second factor is ended.",
    "vacation": "That is changed.",
}


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("postal_plexus.account.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = cast("dict[str, Any]", made.filters)  # pyright: ignore[reportUnknownMemberType]
    filters |= {"day": _day, "moment": _moment, "size": _size}
    return made


def login(base: str, problem: str, address: str) -> bytes:
    """Return the login page."""
    return _page("login.html", base, problem=problem, address=address)


def overview(
    base: str, account: Mapping[str, object], form: str, problem: str, query: str
) -> bytes:
    """Return the overview."""
    done = _DONE.get(query.removeprefix("done="), "") if not problem else ""
    logins = cast("list[list[str]]", account["logins"])
    last: dict[str, list[str]] = {}
    for each in logins:
        last.setdefault(each[1], each)
    shown = {"account": account, "form": form, "problem": problem, "done": done, "last": last}
    return _page("overview.html", base, **shown)


def app_password(base: str, name: str, password: str) -> bytes:
    """Return the page with a new app password, which is shown only once."""
    return _page("app_password.html", base, name=name, password=password)


def factor(base: str, form: str, secret: str, uri: str, problem: str) -> bytes:
    """Return the page with a new secret and a form for its first code."""
    picture = segno.make(uri, micro=False).svg_inline(scale=4, border=4, light="white")
    groups = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    # Segno's output contains only numbers, whatever the text is.
    shown = {"form": form, "secret": secret, "groups": groups, "uri": uri, "problem": problem}
    return _page("factor.html", base, picture=Markup(picture), **shown)  # noqa: S704


def recovery_codes(base: str, codes: Sequence[str]) -> bytes:
    """Return the page with the recovery codes, which are shown only once."""
    return _page("recovery_codes.html", base, codes=codes)


def refused(base: str, text: str) -> bytes:
    """Return the page for a refused request."""
    return _page("refused.html", base, text=text)


def _page(template: str, base: str, **values: object) -> bytes:
    return _templates().get_template(template).render(base=base, **values).encode()


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")


def _size(octets: int) -> str:
    return f"{octets / 1e9:.1f} GB" if octets >= 1e9 else f"{octets / 1e6:.1f} MB"
