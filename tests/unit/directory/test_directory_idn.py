"""Domain names in any script: kept as A-labels, shown as U-labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.directory.address import Address, AddressError
from postal_plexus.directory.idn import kept_address, kept_domain, shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Example.ORG", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("straße.example", "xn--strae-oqa.example"),
    ],
)
def test_kept_domain(text: str, kept: str) -> None:
    """One domain is kept in one form, however it was typed."""
    assert kept == kept_domain(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "domain name"),
        ("localhost", "single word"),
        ("example.org.", "ends in a dot"),
        ("exa_mple.org", "domain name"),
        ("a..example", "domain name"),
        ("-a.example", "domain name"),
        ("xn--zzzzzzzzz.example", "domain name"),
        ("[192.0.2.1]", "domain name"),
        ("x" * 64 + ".example", "domain name"),
        ("\u2488com.example", "domain name"),
        ("y" * 10_000, "domain name"),
    ],
)
def test_not_a_domain(text: str, what: str) -> None:
    """What cannot be in the DNS is refused with the reason."""
    with pytest.raises(AddressError, match=what):
        kept_domain(text)


@given(st.text())
def test_any_text_is_a_domain_or_refused(text: str) -> None:
    """Only AddressError comes of a text, and what is kept is kept the same again."""
    try:
        kept = kept_domain(text)
    except AddressError:
        return
    assert kept == kept_domain(kept)
    assert kept == kept_domain(shown(kept))


def test_kept_address() -> None:
    """The domain of an address may be in any script, its local part stays to the letter."""
    assert Address("Ann", "xn--bcher-kva.example", "x") == kept_address("Ann+x@Bücher.example")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ann@xn--bcher-kva.example", "ann@bücher.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("ann@example.org", "ann@example.org"),
        ("ann@xn--zzzzzzzzz.example", "ann@xn--zzzzzzzzz.example"),
    ],
)
def test_shown(text: str, seen: str) -> None:
    """A person reads the name in its script; what is none is shown as it is."""
    assert seen == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "192.0.2",
        "0x7f.1",
        "example.0x7f",
        "127.1",
        "192\uff0e0\uff0e2\uff0e1",
        "mail.1",
    ],
)
def test_an_ipv4_address_is_no_domain(text: str) -> None:
    """In no spelling that something might connect to; numbers before the last label are names."""
    with pytest.raises(AddressError):
        kept_domain(text)
    assert kept_domain("163.com") == "163.com"
    assert kept_domain("example.x0") == "example.x0"
