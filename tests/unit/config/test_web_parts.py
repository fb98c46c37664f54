"""The addresses of what the web container serves."""

from postal_plexus.config.web_parts import LABELS, addresses, at_origin


def test_what_is_on_has_an_address_and_nothing_else() -> None:
    """Webmail's is its own name where it has one; the others are found under the mail host's."""
    host = "mail.example.org"
    assert {} == addresses((), host)
    assert {"account": "https://mail.example.org/account/"} == addresses(["account"], host)
    everything = addresses(("account", "calendars", "webmail"), host, "webmail.example.org")
    assert list(LABELS) == list(everything)
    assert "https://webmail.example.org/" == everything["webmail"]
    assert "https://mail.example.org/dav/" == everything["calendars"]


def test_a_desk_has_them_at_its_own_port() -> None:
    """The paths stay."""
    found = addresses(("account", "webmail"), "mail.example.org", "webmail.example.org")
    assert {
        "webmail": "https://localhost:8443/",
        "account": "https://localhost:8443/account/",
    } == at_origin(found, "localhost:8443")
