"""The notice of a mail that is held, and its release."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification

from postal_plexus.mail.envelope import RawEnvelope
from postal_plexus.mail.held import held_id, release, render_held
from postal_plexus.mail.receipt import NotificationError, Receipt, read_notification
from postal_plexus.mail.verdicts import Verdict, Verdicts

NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)
MAIL = Accepted(
    "m1", "a@b.c", ("ann@example.org",), "archive", "mail/m1", verdicts={"virus": "FAIL"}
)


def receipt(sender: str) -> Receipt:
    """Return a held mail of that sender."""
    envelope = RawEnvelope(sender, ("ann@example.org",))
    return Receipt("m1", envelope, "archive", "mail/m1", Verdicts(), 1_795_492_800.0)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_release_is_read_from_both_body_forms(wrapped: bool) -> None:
    """The same mail without the virus; the verdict is ours to change, and nothing else is."""
    body = notification(MAIL, NOW)
    letter = in_sns_envelope(body, "sns-1", NOW) if wrapped else body
    held, released = read_notification(letter), read_notification(release(letter))
    assert isinstance(held, Receipt)
    assert isinstance(released, Receipt)
    assert (Verdict.FAIL, Verdict.GRAY) == (held.verdicts.virus, released.verdicts.virus)
    assert held == replace(released, verdicts=held.verdicts)
    assert release(letter) == release(release(letter))
    with pytest.raises(NotificationError):
        release("nonsense")


def test_no_sender_can_release_a_mail() -> None:
    """Only the notification's own field counts, not what the mail says; and only its own word."""
    body = json.loads(notification(MAIL, NOW))
    body["mail"]["plexusRelease"] = body["receipt"]["plexusRelease"] = "virus"
    body["mail"]["headers"] = [{"name": "plexusRelease", "value": "virus"}]
    for odd in (None, True, ["virus"], "VIRUS"):
        found = read_notification(json.dumps({**body, "plexusRelease": odd}))
        assert isinstance(found, Receipt)
        assert Verdict.FAIL is found.verdicts.virus


@pytest.mark.parametrize(
    "sender", ["a@b.c", "", "x\r\nBcc: y@z\r\n\r\n<b>", "ü" * 9000, "\u202egpj"]
)
def test_a_notice_is_a_sound_mail_whoever_the_sender_is(sender: str) -> None:
    """One line of each field, the sender on one line, the same octets each time."""
    octets = render_held(receipt(sender), "ann@example.org", "mail.example.org")
    assert octets == render_held(receipt(sender), "ann@example.org", "mail.example.org")
    mail = message_from_bytes(octets, policy=policy.default)
    assert not mail.defects
    assert "<held-m1@mail.example.org>" == mail["Message-ID"]
    assert held_id(receipt(sender)) == "held-m1"
    assert "auto-generated" == mail["Auto-Submitted"]
    assert mail["Bcc"] is None
    assert all(len(line) < 998 and b"\n" not in line for line in octets.split(b"\r\n"))
    assert "    id:     m1" in mail.get_content()
