"""Incoming mail: by SMTP into SES, and from Dovecot by IMAP, byte for byte."""

from __future__ import annotations

import uuid

import pytest

from corpus import MEGABYTE, SES_LIMIT, cpython_mails, edge_mails, mail_of, wire
from system.desk import Desk
from wire import RefusedError


def tagged(content: bytes) -> tuple[str, bytes]:
    """Return the content below a unique trace header, and its value for a search."""
    mark = uuid.uuid4().hex
    return mark, b"X-Mark: " + mark.encode() + b"\r\n" + content


@pytest.mark.parametrize("name", sorted(cpython_mails()))
def test_cpythons_mails_arrive_as_sent(desk: Desk, name: str) -> None:
    """Each message of CPython's email tests is the same by IMAP as it was by SMTP."""
    mark, content = tagged(cpython_mails()[name])
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "X-Mark", mark)
        stored = mailbox.content(uid)
    assert wire(content) == stored[-len(wire(content)) :]


@pytest.mark.parametrize("name", sorted(edge_mails()))
def test_odd_mails_arrive_as_sent(desk: Desk, name: str) -> None:
    """Messages with unusual bytes arrive unchanged, with CRLF line ends."""
    content = edge_mails()[name]
    sender = f"{uuid.uuid4().hex}@elsewhere.example"
    desk.receive(sender, [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "Return-Path", sender)
        stored = mailbox.content(uid)
    expected = wire(content)
    if name == "forged verdict":
        expected = expected.replace(b"X-Plexus-Verdicts", b"X-Forged-X-Plexus-Verdicts")
        assert 1 == stored.count(b"\r\nX-Plexus-Verdicts:")
    assert expected == stored[-len(expected) :]


def test_nul_bytes_are_kept(desk: Desk) -> None:
    """NUL survives delivery; IMAP itself must show it as 0x80 (RFC 3501, section 4.3.1)."""
    mark, content = tagged(b"Subject: nul\r\n\r\na\0b\0\0c\r\n")
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "X-Mark", mark)
        stored = mailbox.content(uid)
    assert content.replace(b"\0", b"\x80") == stored[-len(content) :]


def test_a_mail_of_40_megabytes_passes_within_the_memory_limits(desk: Desk) -> None:
    """The largest message that SES accepts arrives complete, and no container is killed."""
    mark, _ = tagged(b"")
    content = b"X-Mark: " + mark.encode() + b"\r\n" + mail_of(SES_LIMIT - 42)
    before = desk.started()
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "X-Mark", mark, timeout=90)
        stored = mailbox.content(uid)
    assert content == stored[-len(content) :]
    assert before == desk.started()


def test_more_than_40_megabytes_are_refused(desk: Desk) -> None:
    """SES refuses a message over its limit during the session, with 552."""
    with pytest.raises(RefusedError) as refusal:
        desk.receive("world@elsewhere.example", [desk.ann], mail_of(SES_LIMIT + MEGABYTE))
    assert 552 == refusal.value.code


def test_an_empty_envelope_sender_is_kept(desk: Desk) -> None:
    """A bounce arrives with Return-Path <>, so that no program replies to it."""
    mark, content = tagged(b"Subject: a bounce\r\n\r\nsorry\r\n")
    desk.receive("", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "X-Mark", mark)
        assert b"Return-Path: <>" in mailbox.content(uid)


def test_fifty_recipients_with_mixed_fates(desk: Desk) -> None:
    """Each known recipient gets the message once; unknown ones are refused during the session."""
    mark, content = tagged(b"Subject: to many\r\n\r\nhello\r\n")
    unknown = [f"nobody{number}@example.org" for number in range(24)]
    subaddresses = [f"ann+{number}@example.org" for number in range(23)]
    recipients = [desk.ann, desk.ben, "info@example.org", *unknown, *subaddresses]
    assert 50 == len(recipients)
    refused = desk.receive("world@elsewhere.example", recipients, content)
    assert set(unknown) == set(refused)
    assert {550} == {refusal.code for refusal in refused.values()}
    with desk.mailbox(desk.ben) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))


@pytest.mark.parametrize(
    ("recipient", "reader"),
    [
        ("ann@EXAMPLE.org", "ann@example.org"),
        ("Ann+lists@example.org", "ann@example.org"),
        ("info@example.org", "ben@example.org"),
        ("whoever@example.net", "ann@example.org"),
    ],
    ids=["case", "subaddress", "alias", "catch-all"],
)
def test_the_directory_decides_who_reads(desk: Desk, recipient: str, reader: str) -> None:
    """Case, subaddress, alias and catch-all lead to the mailbox that the stack file specifies."""
    mark, content = tagged(b"Subject: by directory\r\n\r\nhello\r\n")
    assert {} == desk.receive("world@elsewhere.example", [recipient], content)
    with desk.mailbox(reader) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))


def test_verdicts_arrive_in_a_header(desk: Desk) -> None:
    """SES's verdicts are in one header field above everything that the sender wrote."""
    mark, content = tagged(b"X-Plexus-Verdicts: spam=FAIL\r\nSubject: v\r\n\r\nhello\r\n")
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        (uid,) = mailbox.await_mail("HEADER", "X-Mark", mark)
        stored = mailbox.content(uid)
    assert 1 == stored.count(b"\r\nX-Plexus-Verdicts:")
    assert b"\r\nX-Plexus-Verdicts: spam=PASS" in stored
