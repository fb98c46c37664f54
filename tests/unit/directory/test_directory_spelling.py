# ruff: noqa: RUF001 (scripts of the world)
"""What people type for an international domain leads to the name that is kept, and to no other."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_domain
from postal_plexus.directory.spelling import dovecot_domains, u_labels

DOMAINS = (
    "example.org",
    "straße.example",
    "strasse.example",
    "bücher.example",
    "ệǖ.example",
    "σίσυφος.example",
    "почта.example",
    "例え.テスト",
    "ガラス.example",
    "नेटवर्क.example",
    "நெட்.example",
    "شبكة.example",
    "نامه\u200cای.example",  # ZWNJ, which IDNA 2008 allows there
    "क्\u200dष.example",  # ZWJ
)
KEPT = tuple(kept_domain(domain) for domain in DOMAINS)
TABLE = dovecot_domains(KEPT)


def looked_up(typed: str, table: str = TABLE) -> str | None:
    """Return what passwords.lua makes of it: ASCII in lower case, then the table line by line."""
    domain = "".join(each.lower() if each.isascii() else each for each in typed)
    for line in table.splitlines():
        kind, from_, to = line.split("\t")
        if kind == "spelling":
            domain = domain.replace(from_, to)
        elif domain == from_:
            return to
    return None


def in_capitals(text: str) -> str:
    """Return the text with each letter's capital, where it has one."""
    return "".join(each.upper() if len(each.upper()) == 1 else each for each in text)


def wide(text: str) -> str:
    """ASCII as wide as an input method for Chinese or Japanese writes it."""
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


@pytest.mark.parametrize("domain", [each for each in DOMAINS if not each.isascii()])
def test_every_way_of_typing_it_leads_to_the_same_name(domain: str) -> None:
    """As IDNA 2008 with the mappings of UTS 46 has it: case, normalization, width, kinds of dots."""
    for form in ("NFC", "NFD"):
        for typed in (domain, in_capitals(domain), domain.title(), wide(domain)):
            spelled = unicodedata.normalize(form, typed)
            try:
                right = kept_domain(spelled)
            except AddressError:
                continue
            wanted = right if right in KEPT and not u_labels(right).isascii() else None
            assert wanted == looked_up(spelled), spelled
    for dot in "。．｡":
        assert kept_domain(domain) == looked_up(domain.replace(".", dot))


def test_domains_that_only_look_alike_stay_apart() -> None:
    """ß is not ss, a final sigma is no other sigma, and a joiner counts (IDNA 2008)."""
    assert looked_up("strasse.example") is None  # ASCII is found without the table
    assert looked_up("STRASSE.example") is None
    assert kept_domain("straße.example") == looked_up("STRAẞE.example")
    assert looked_up("σίσυφοσ.example") is None
    assert looked_up("نامهای.example") is None
    assert looked_up("क्ष.example") is None
    assert looked_up("bücher.example.org") is None


@given(st.from_regex(r"xn--[a-z0-9-]{0,20}[a-z0-9]", fullmatch=True))
def test_labels_that_are_no_punycode_break_nothing(label: str) -> None:
    """The table is a text of three fields a line, whatever the directory holds."""
    for line in dovecot_domains((f"{label}.example",)).encode().decode().split("\n")[:-1]:
        assert 3 == len(line.split("\t"))


def test_a_stack_without_such_domains_has_an_empty_table() -> None:
    """Then nothing is loaded or looked up."""
    assert dovecot_domains(("example.org", "example.net")) == ""


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_whatever_is_typed_leads_nowhere_else(label: str) -> None:
    """A text that the table knows is that domain to the library too, or no domain at all to it."""
    found = looked_up(f"{label}.example")
    try:
        kept = kept_domain(f"{label}.example")
    except AddressError:
        return
    assert found is None or found == kept


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_sound_domain_is_found_as_it_is(label: str) -> None:
    """Whatever a stack may have as a domain, its users type it as it is written."""
    try:
        kept = kept_domain(f"{label}.example")
    except AddressError:
        return
    shown = u_labels(kept)
    if not shown.isascii():
        assert kept == looked_up(shown, dovecot_domains((kept,)))
        assert kept == looked_up(unicodedata.normalize("NFD", shown), dovecot_domains((kept,)))
