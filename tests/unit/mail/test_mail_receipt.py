"""Receipts: read from both body forms, and never a crash whatever the JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.mail.receipt import (
    NotificationError,
    Receipt,
    SetupNotification,
    read_notification,
)
from postal_plexus.mail.verdicts import Verdict


def notification(**changes: Any) -> dict[str, Any]:
    """Return a notification as SES publishes it; `changes` have paths with __ for a dot."""
    found: dict[str, Any] = {
        "notificationType": "Received",
        "mail": {
            "timestamp": "2026-11-24T04:00:00.000Z",
            "source": "a@b.c",
            "messageId": "0123abc",
            "destination": ["not-this@example.org"],
            "headersTruncated": False,
            "headers": [{"name": "Auto-Submitted", "value": "auto-replied"}],
        },
        "receipt": {
            "recipients": ["ann@example.org", "ben@example.net"],
            "spamVerdict": {"status": "FAIL"},
            "virusVerdict": {"status": "PASS"},
            "spfVerdict": {"status": "GRAY"},
            "dkimVerdict": {"status": "SOMETHING_NEW"},
            "action": {"type": "S3", "bucketName": "archive", "objectKey": "mail/1"},
        },
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = found
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[name]
        else:
            place[name] = value
    return found


def sns(inner: object) -> str:
    """Return the body that SNS sends without raw message delivery."""
    return json.dumps({"Type": "Notification", "MessageId": "x", "Message": json.dumps(inner)})


@pytest.mark.parametrize("wrap", [json.dumps, sns])
def test_both_body_forms_give_the_same_receipt(wrap: Any) -> None:
    """Raw message delivery or not: envelope, place, verdicts and time are SES's."""
    receipt = read_notification(wrap(notification()))
    assert isinstance(receipt, Receipt)
    assert ("0123abc", "archive", "mail/1") == (receipt.message_id, receipt.bucket, receipt.key)
    assert "a@b.c" == receipt.envelope.sender
    assert ("ann@example.org", "ben@example.net") == receipt.envelope.recipients
    assert (Verdict.FAIL, Verdict.PASS, Verdict.GRAY) == (
        receipt.verdicts.spam,
        receipt.verdicts.virus,
        receipt.verdicts.spf,
    )
    assert (Verdict.UNKNOWN, Verdict.UNKNOWN) == (receipt.verdicts.dkim, receipt.verdicts.dmarc)
    assert 1795492800.0 == receipt.accepted_at
    assert "auto-replied" == receipt.header("auto-submitted")


@pytest.mark.parametrize("source", ["", "<>", None])
def test_the_null_sender_is_the_empty_sender(source: str | None) -> None:
    """A bounce's sender, in any of its spellings."""
    receipt = read_notification(json.dumps(notification(mail__source=source)))
    assert isinstance(receipt, Receipt)
    assert "" == receipt.envelope.sender


def test_a_setup_notification_is_recognised() -> None:
    """SES publishes one for each rule that is made; it may have nothing else in it."""
    body = {"notificationType": "Received", "mail": {"messageId": "AMAZON_SES_SETUP_NOTIFICATION"}}
    assert isinstance(read_notification(sns(body)), SetupNotification)


def test_a_recipient_named_twice_comes_once() -> None:
    """The envelope has each recipient once."""
    twice = notification(receipt__recipients=["ann@example.org", "ann@example.org"])
    receipt = read_notification(json.dumps(twice))
    assert isinstance(receipt, Receipt)
    assert ("ann@example.org",) == receipt.envelope.recipients


@pytest.mark.parametrize("odd", ["jörg@x.example", "MAILER-DAEMON", "a>\r\nRSET", "", "a b@c", 7])
def test_odd_addresses_are_read_as_they_are(odd: object) -> None:
    """What our grammar does not know is no reason to lose a mail that others should have."""
    changed = notification(mail__source=odd, receipt__recipients=[odd, "ann@example.org"])
    receipt = read_notification(json.dumps(changed))
    assert isinstance(receipt, Receipt)
    assert ("" if odd == 7 else odd) == receipt.envelope.sender
    assert ("(int)" if odd == 7 else odd, "ann@example.org") == receipt.envelope.recipients


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ("{}", "neither a notification"),
        (json.dumps({"Message": "hello"}), "SNS's Message is not JSON"),
        (json.dumps(notification(notificationType="Bounce")), "type 'Bounce'"),
        (json.dumps(notification(receipt__action={"type": "SNS"})), "not stored in S3"),
        (json.dumps(notification(receipt__recipients=[])), "recipients is missing"),
        (json.dumps(notification(mail__messageId="a\r\nb")), "not an identifier"),
        (json.dumps(notification(mail__timestamp="yesterday")), "not a time"),
        (json.dumps(notification(mail__messageId=None)), "messageId is missing"),
        (json.dumps(notification(receipt__action__objectKey="\ud800")), "not text"),
    ],
)
def test_what_cannot_be_read_says_why(body: str, reason: str) -> None:
    """The reason is for the dead letters, so it names the fault."""
    with pytest.raises(NotificationError, match=reason):
        read_notification(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
PATHS = st.sampled_from(
    [
        "notificationType", "mail", "receipt", "mail__timestamp", "mail__source", "mail__messageId",
        "mail__headers", "mail__headersTruncated", "receipt__recipients", "receipt__spamVerdict",
        "receipt__action", "receipt__action__type", "receipt__action__objectKey",
        "receipt__action__bucketName", "receipt__dmarcPolicy",
    ]
)  # fmt: skip


@settings(max_examples=500)
@given(st.one_of(JSON.map(json.dumps), st.text()))
def test_arbitrary_bodies_never_crash(body: str) -> None:
    """Anything at all: a receipt or a NotificationError."""
    with contextlib.suppress(NotificationError):
        assert isinstance(read_notification(body), Receipt | SetupNotification)


@settings(max_examples=500)
@given(PATHS, JSON, st.booleans())
def test_one_field_of_any_value_never_crashes(path: str, value: object, wrapped: bool) -> None:
    """A sound notification with one arbitrary field, in either form."""
    changed = notification()
    *parents, name = path.split("__")
    place = changed
    for parent in parents:
        place = place[parent]
    place[name] = value
    with contextlib.suppress(NotificationError):
        receipt = read_notification(sns(changed) if wrapped else json.dumps(changed))
        assert isinstance(receipt, SetupNotification) or receipt.header("auto-submitted") in (
            "",
            "auto-replied",
        )
