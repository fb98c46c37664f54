"""Addresses: RFC 5321's forms, subaddresses, and what we host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.directory.address import (
    Address,
    AddressError,
    envelope_parts,
    is_domain,
    is_hosted,
    without_subaddress,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@example.org", Address("ann", "example.org")),
        ("Ann.O'Neil@Example.ORG", Address("Ann.O'Neil", "example.org")),
        ("ann+list@example.org", Address("ann", "example.org", "list")),
        ("ann+a+b@example.org", Address("ann", "example.org", "a+b")),
        ("ann+@example.org", Address("ann", "example.org", "")),
        ("+list@example.org", Address("+list", "example.org")),
        ('"ann"@example.org', Address("ann", "example.org")),
        (r'"a \"b\" c+d"@example.org', Address('a "b" c', "example.org", "d")),
        ("a/b=c@xn--bcher-kva.example", Address("a/b=c", "xn--bcher-kva.example")),
        ('"a@b"@example.org', Address("a@b", "example.org")),
        ("x" * 64 + "@example.org", Address("x" * 64, "example.org")),
    ],
)
def test_parse(text: str, address: Address) -> None:
    """An address is taken apart: quotes fall away, the domain is in lower case."""
    assert address == Address.parse(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ann", "has no @"),
        ("", "has no @"),
        ("@example.org", "has nothing before the @"),
        ('""@example.org', "has nothing before the @"),
        (".ann@example.org", "dot before the @"),
        ("a..b@example.org", "dot before the @"),
        ("ann.@example.org", "dot before the @"),
        ("a b@example.org", "need quotes there: ' '"),
        ("a\nb@example.org", r"need quotes there: '\\n'"),
        ('"a\nb"@example.org', "need quotes"),
        ("jörg@example.org", "not ASCII"),
        ("x" * 65 + "@example.org", "more than 64"),
        ("ann@localhost", "two labels"),
        ("ann@[192.0.2.1]", "two labels"),
        ("ann@exa_mple.org", "two labels"),
        ("ann@example.org.", "two labels"),
        ("ann@-example.org", "two labels"),
        ("ann@bücher.example", "two labels"),
        ("ann@example.org\n", "two labels"),
        ("x" * 60 + "@" + ".".join(["y" * 60] * 4), "more than 254"),
    ],
)
def test_parse_refuses(text: str, what: str) -> None:
    """What is no address is refused with the reason."""
    with pytest.raises(AddressError, match=what):
        Address.parse(text)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        (("a+b", "example.org", None), "subaddress inside"),
        (("+a", "example.org", "b"), "subaddress inside"),
        (("a\r\nb", "example.org", None), "not printable"),
        (("a", "example.org", "b\0"), "not printable"),
        (("a", "Example.org", None), "domain name"),
    ],
)
def test_an_address_cannot_be_made_unsound(parts: tuple[str, str, str | None], what: str) -> None:
    """No Address holds what its text would not give back."""
    with pytest.raises(AddressError, match=what):
        Address(*parts)


_PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@given(_PRINTABLE, _PRINTABLE | st.none())
def test_text_and_address_round_trip(local_part: str, subaddress: str | None) -> None:
    """Every address that can be made is parsed back from its text."""
    try:
        address = Address(local_part, "example.org", subaddress)
    except AddressError:
        return
    assert address == Address.parse(str(address))


@given(st.text())
def test_parse_either_parses_or_says_why(text: str) -> None:
    """Any text is an address or an AddressError, and an address that was parsed is stable."""
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert address == Address.parse(str(address))


@pytest.mark.parametrize(
    ("recipient", "parts"),
    [
        ("Ann@Example.Org", ("ann", None, "example.org")),
        ("ann+List@example.org", ("ann", "List", "example.org")),
        ('"Ann"@example.org', ("ann", None, "example.org")),
        ('"ann+a b"@example.org', ("ann", None, "example.org")),
        ("ann+a..b@example.org", ("ann", None, "example.org")),
        ("ann+a\r\nDATA@example.org", ("ann", None, "example.org")),
        ("ann+" + "x" * 61 + "@example.org", ("ann", None, "example.org")),
        ("ann+" + "x" * 60 + "@example.org", ("ann", "x" * 60, "example.org")),
        ("ann@example.org.", ("ann", None, "example.org")),
        ("<ann@example.org>", ("ann", None, "example.org")),
        ("@a.example,@b.example:ann@example.org", ("ann", None, "example.org")),
        ("Ann@Bücher.example", ("ann", None, "xn--bcher-kva.example")),
        ("jörg@example.org", ("jörg", None, "example.org")),
        ("ann", ("", None, "ann")),
        ("", ("", None, "")),
        # U+212A, the Kelvin sign, is in lower case an ASCII k: somebody else.
        ("\u212aate@example.org", ("\u212aate", None, "example.org")),
    ],
)
def test_envelope_parts(recipient: str, parts: tuple[str, str | None, str]) -> None:
    """A recipient is read leniently: a subaddress that cannot be written again is dropped."""
    assert parts == envelope_parts(recipient)


@pytest.mark.parametrize(
    "text", ["ann@example.org", "o'brien@example.org", "a.b-c_d=e@example.org", "{x}$y|z@a.example"]
)
def test_hosted(text: str) -> None:
    """What may name a mailbox: any dot-string in lower case ..."""
    assert is_hosted(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ann@example.org",
        "ann+x@example.org",
        "a/b@example.org",
        "#ann@example.org",
        "-ann@example.org",
        ".@example.org",
        "..@example.org",
        "a:b@example.org",
        "a b@example.org",
        "a\nb@example.org",
        '"ann"@example.org',
        "ann@Example.org",
        "ann@example.org\n",
        "ann@example",
        "@example.org",
        "x" * 65 + "@example.org",
    ],
)
def test_not_hosted(text: str) -> None:
    """... without what would mean something else in a path, in a table or in an address."""
    assert not is_hosted(text)


def test_domain_length() -> None:
    """A domain has at most 253 characters and 63 a label (RFC 1035)."""
    label = "x" * 63
    assert is_domain(".".join([label, label, label, "x" * 61]))
    assert not is_domain(".".join([label, label, label, "x" * 62]))
    assert not is_domain("x" * 64 + ".example")


def test_without_subaddress() -> None:
    """The mailbox of a delivered address is what stands before the plus sign."""
    assert "ann@example.org" == without_subaddress("ann+a+b@example.org")
    assert "ann@example.org" == without_subaddress("ann@example.org")
