"""Any header block through each way out: a mail that SES's documents allow, or a refusal."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from outgoing_model import (
    OUTSIDE,
    REDIRECTED,
    SENDERS,
    applied,
    fields_of,
    objections,
)

from outgoing_headers import HEADERS
from postal_plexus.mail.outgoing.mailboxes import decoded, phrase, read
from postal_plexus.mail.outgoing.rules import Edits, Mail, Refusal, decide

_WAYS = st.sampled_from(["submission", "forward", "sieve", "redirect"])


@settings(max_examples=300)
@given(way=_WAYS, header=HEADERS, null=st.booleans())
@example(way="submission", header=[("From", b"ann@example.org\n (")], null=False)
@example(way="forward", header=[("From", b'"' + b"\\" * 9)], null=True)
@example(way="forward", header=[("From", b".ann@example.org")], null=False)
@example(way="submission", header=[("Reply-To", b":;")], null=False)
@example(way="forward", header=[("To", b": ann@example.org;")], null=False)
@example(way="forward", header=[("Cc", b"a.b:;")], null=False)
def test_any_header_gives_what_ses_takes_or_a_refusal(
    way: str, header: list[tuple[str, bytes]], *, null: bool
) -> None:
    """By an independent reading of AWS's pages; and the edits are those that a milter can make."""
    prefix: list[tuple[str, str | bytes]] = []
    if way == "forward":
        prefix = [("X-Plexus-Forwarder", "out@example.org")]
    elif way == "redirect":
        prefix = list(REDIRECTED)
    owner = "ann@example.org" if way == "submission" else "ben@example.org"
    mail = Mail(
        "sieve" if way == "redirect" else way,
        owner,
        "" if null else owner,
        OUTSIDE,
        fields_of(*prefix, *header),
    )
    found = decide(mail, SENDERS)
    if isinstance(found, Refusal):
        assert found.code.startswith(("4", "5"))
        assert found.text
        assert (way == "redirect") == bool(found.owner)
        return
    assert isinstance(found, Edits)
    sender = mail.sender if found.sender is None else found.sender
    left = applied([(field.name, field.value) for field in mail.fields], found)
    assert [] == objections(left, sender)
    assert len(found.changes) <= 200


@settings(max_examples=500)
@given(st.text(max_size=300))
def test_any_name_is_a_phrase_and_is_read_back(name: str) -> None:
    """RFC 2047 words of at most 75 characters, in which no character is cut."""
    made = phrase(name)
    assert made.isascii()
    assert all(len(word) <= 75 for word in made.split() if word.startswith("=?utf-8?b?"))
    if not made:
        return
    (got,) = read(f"{made} <a@b.example>".encode()).mailboxes
    assert "a@b.example" == got.address
    if "=?" not in name and name.isprintable():
        assert " ".join(name.split())[:200].strip() == decoded(got.name).strip()


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_what_is_written_is_read_as_the_same(value: bytes) -> None:
    """Whatever came in: the list that is made of it is clean, or at least says the same again."""
    found = read(value)
    again = read(str(found).encode("ascii"))
    assert [(each.local, each.domain) for each in found.mailboxes] == [
        (each.local, each.domain) for each in again.mailboxes
    ]
    assert not again.faults


def test_reading_is_linear() -> None:
    """64 KB of any kind of bracket end within the test's time; squared they would take an hour."""
    for octets in (
        b"(",
        b"<",
        b":",
        b'"',
        b"a:",
        b"a,",
        b"<a@b.c>,",
        b"(a",
        b"\\",
        b"[",
        b"=?a?b?",
    ):
        assert read(octets * (64 * 1024 // len(octets))) is not None
