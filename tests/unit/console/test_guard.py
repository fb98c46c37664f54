"""Access control of the console."""

from __future__ import annotations

import pytest

from postal_plexus.console.guard import Keys, Refusal, refusal

KEYS = Keys("a-token", 8025)
OURS = {"host": "127.0.0.1:8025", "cookie": f"x=1; {KEYS.cookie}={KEYS.session}"}
POSTED = {**OURS, "origin": "http://127.0.0.1:8025"}


def test_the_session_may_look() -> None:
    """Under both names of this machine, with and without Fetch Metadata."""
    for more in ({}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        assert None is refusal(KEYS, "GET", OURS | more, "")
    assert None is refusal(KEYS, "GET", OURS | {"host": "LOCALHOST:8025"}, "")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"host": "evil.example:8025"}, Refusal.HOST),
        ({"host": "127.0.0.1"}, Refusal.HOST),
        ({"host": "127.0.0.1:8026"}, Refusal.HOST),
        ({"host": "127.0.0.1:8025.evil.example"}, Refusal.HOST),
        ({"host": "127.0.0.1:8025, evil.example"}, Refusal.HOST),
        ({"host": ""}, Refusal.HOST),
        ({"cookie": ""}, Refusal.STRANGER),
        ({"cookie": f"{KEYS.cookie}=a-token"}, Refusal.STRANGER),
        ({"cookie": f"plexus-console-8026={KEYS.session}"}, Refusal.STRANGER),
        ({"cookie": f"{KEYS.cookie}={KEYS.form}"}, Refusal.STRANGER),
        ({"cookie": f"{KEYS.cookie}={Keys('another', 8025).session}"}, Refusal.STRANGER),
        ({"cookie": "\x00=;;;\udcff"}, Refusal.STRANGER),
        ({"sec-fetch-site": "cross-site"}, Refusal.SITE),
        ({"sec-fetch-site": "same-site"}, Refusal.SITE),
    ],
)
def test_others_may_not(changed: dict[str, str], why: Refusal) -> None:
    """Other host names (DNS rebinding), sessions, and web sites, also on other ports, are refused."""
    assert why is refusal(KEYS, "GET", OURS | changed, "")
    assert why is refusal(KEYS, "POST", POSTED | changed, KEYS.form)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_changes_something_comes_from_our_own_form(method: str) -> None:
    """A change requires both our origin and the form's token."""
    assert None is refusal(KEYS, method, POSTED, KEYS.form)
    assert Refusal.FORM is refusal(KEYS, method, POSTED, "")
    assert Refusal.FORM is refusal(KEYS, method, POSTED, KEYS.session)
    assert Refusal.FORM is refusal(KEYS, method, OURS, KEYS.form)
    for origin in (
        "null",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8025",
        "http://evil.example",
    ):
        assert Refusal.FORM is refusal(KEYS, method, POSTED | {"origin": origin}, KEYS.form)


def test_the_token_is_in_no_page() -> None:
    """Neither pages nor cookies reveal the token, nor each other's values."""
    assert 3 == len({KEYS.token, KEYS.session, KEYS.form})
    assert KEYS.opens("a-token")
    for wrong in ("", "a-toke", "a-token ", KEYS.session, "é"):
        assert not KEYS.opens(wrong)
