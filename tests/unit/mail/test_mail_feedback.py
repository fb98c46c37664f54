"""What SES says of sent mail, and the notice that a sender gets of it, read by an email parser."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.mail.feedback import Arrival, Feedback, FeedbackKind, Remark, read_event
from postal_plexus.mail.feedback_notice import render
from postal_plexus.mail.receipt import NotificationError

EVENTS = Path(__file__).parent / "events"
NOBODY_SAYS = ("could not be delivered", "unwanted", "Action: failed")


def event(kind: str, details: dict[str, Any], **mail: Any) -> str:
    """Return an event as SES publishes it."""
    names = {
        "Bounce": "bounce",
        "Complaint": "complaint",
        "DeliveryDelay": "deliveryDelay",
        "Reject": "reject",
        "Rendering Failure": "failure",
    }
    return json.dumps(
        {
            "eventType": kind,
            names.get(kind, "x"): {"timestamp": "2026-11-24T04:00:00.000Z", **details},
            "mail": {
                "timestamp": "2026-11-24T03:00:00.000Z",
                "messageId": "ses-1",
                "source": "Ann <ann@example.org>",
                "destination": ["x@else.example"],
                "headers": [{"name": "Message-ID", "value": "<own-1@laptop.example>"}],
                "commonHeaders": {"subject": "Our plan"},
                **mail,
            },
        }
    )


def read(body: str) -> Feedback:
    """Read an event that is one for the sender."""
    found = read_event(body)
    assert isinstance(found, Feedback)
    return found


def notice(body: str) -> Any:
    """Give the notice of an event, parsed; it has no defects and one line of each field."""
    feedback = read(body)
    mail = message_from_bytes(
        render(feedback, feedback.sender, "mail.example.org"), policy=policy.default
    )
    assert not mail.defects
    assert len(set(mail.keys())) == len(mail.keys())
    return mail


def text(mail: Any) -> str:
    """Give all that a notice says, to people and to programs."""
    return mail.as_string()


def person(address: str = "x@else.example", **more: str) -> dict[str, str]:
    """Return one recipient of an event."""
    return {"emailAddress": address, **more}


BOUNCE = {
    "bounceType": "Permanent",
    "feedbackId": "f-1",
    "reportingMTA": "dsn; a8-70.smtp-out.amazonses.com",
    "bouncedRecipients": [
        person(
            "gone@else.example", status="5.1.1", diagnosticCode="smtp; 550 5.1.1\r\nno such user"
        )
    ],
}


def test_a_bounce_becomes_a_delivery_status_notification() -> None:
    """RFC 3464, threaded to the mail that it speaks of, and never answered by a machine."""
    mail = notice(event("Bounce", BOUNCE))
    assert "multipart/report" == mail.get_content_type()
    assert "<own-1@laptop.example>" == mail["In-Reply-To"]
    assert ("Undelivered mail: Our plan", "auto-replied") == (
        mail["Subject"],
        mail["Auto-Submitted"],
    )
    human, machine = mail.iter_parts()
    assert "gone@else.example" in human.get_content()
    per_recipient = machine.get_payload()[1]
    assert ("rfc822; gone@else.example", "failed", "5.1.1") == (
        per_recipient["Final-Recipient"],
        per_recipient["Action"],
        per_recipient["Status"],
    )


def test_a_notice_of_a_forward_says_so() -> None:
    """The postmaster, who gets it, has not written the mail."""
    bounce = {"bounceType": "Permanent", "bouncedRecipients": [person()]}
    said = "an alias here"
    sealed = "postmaster+fwd-20000-0123456789abcdef0123@example.org"
    assert said in text(notice(event("Bounce", bounce, source=sealed)))
    assert said not in text(notice(event("Bounce", bounce)))


def test_an_automatic_answer_is_no_failure() -> None:
    """Out of office: SES calls it a transient bounce; the sender reads that nothing failed."""
    mail = notice((EVENTS / "out-of-office.json").read_text())
    assert "text/plain" == mail.get_content_type()
    assert "out of office" in mail.get_content()
    assert "partner@elsewhere.example" in mail.get_content()
    assert "<t08@example.org>" == mail["In-Reply-To"]
    assert not [said for said in NOBODY_SAYS if said in text(mail)]


def test_a_reject_is_told() -> None:
    """It has no recipients and no time of its own: all recipients of the mail have nothing."""
    mail = notice((EVENTS / "reject.json").read_text())
    assert "Undelivered mail: Offer" == mail["Subject"]
    assert "found a virus" in text(mail)
    assert "Final-Recipient: rfc822; partner@elsewhere.example\nAction: failed" in text(mail)


def test_a_complaint_for_the_suppression_list_is_a_failure() -> None:
    """A complaint from the suppression list means that the mail was not delivered."""
    mail = notice((EVENTS / "complaint-suppressed.json").read_text())
    assert "delivery-status" == mail["Content-Type"].params["report-type"]
    assert "suppression list" in text(mail)
    assert "its operator" in text(mail)
    assert "unwanted" not in text(mail)


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ({"bounceType": "Permanent", "bounceSubType": "General"}, FeedbackKind.FAILED),
        ({"bounceType": "Permanent", "bounceSubType": "NoEmail"}, FeedbackKind.FAILED),
        ({"bounceType": "Permanent", "bounceSubType": "Suppressed"}, FeedbackKind.FAILED),
        ({"bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList"}, FeedbackKind.FAILED),
        ({"bounceType": "Permanent", "bounceSubType": "FromTheFuture"}, FeedbackKind.FAILED),
        ({"bounceType": "Transient", "bounceSubType": "MailboxFull"}, FeedbackKind.FAILED),
        ({"bounceType": "Transient", "bounceSubType": "AttachmentRejected"}, FeedbackKind.FAILED),
        ({"bounceType": "Transient", "bounceSubType": "General"}, FeedbackKind.UNCERTAIN),
        ({"bounceType": "Transient", "bounceSubType": "FromTheFuture"}, FeedbackKind.UNCERTAIN),
        ({"bounceType": "Undetermined", "bounceSubType": "Undetermined"}, FeedbackKind.UNCERTAIN),
        ({"bounceType": "FromTheFuture"}, FeedbackKind.UNCERTAIN),
        ({}, FeedbackKind.UNCERTAIN),
    ],
)  # fmt: skip
def test_a_bounce_is_what_it_says(details: dict[str, str], kind: FeedbackKind) -> None:
    """By type and subtype where the recipients have no status; unknown ones claim nothing."""
    body = event("Bounce", {**details, "bouncedRecipients": [person()]})
    assert kind is read(body).kind
    said = text(notice(body))
    assert (kind is FeedbackKind.FAILED) == ("could not be delivered" in said)
    assert "unwanted" not in said


@pytest.mark.parametrize("bounce_type", ["Transient", "Undetermined", "FromTheFuture"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"action": "failed", "status": "4.4.7"}, FeedbackKind.FAILED),
        ({"status": "5.7.1", "diagnosticCode": "smtp; 550 no"}, FeedbackKind.FAILED),
        ({"action": "delayed", "status": "4.4.1"}, FeedbackKind.DELAYED),
        ({"action": "relayed", "status": "2.0.0"}, FeedbackKind.UNCERTAIN),
        ({"action": "delivered"}, FeedbackKind.UNCERTAIN),
    ],
)
def test_what_a_recipients_server_reports_decides(
    bounce_type: str, status: dict[str, str], kind: FeedbackKind
) -> None:
    """A transient bounce in which SES has given up is a failure; a relayed mail is none."""
    details = {"bounceType": bounce_type, "bounceSubType": "General"}
    found = read(event("Bounce", {**details, "bouncedRecipients": [person(**status)]}))
    assert kind is found.kind


def test_each_recipient_has_its_own_action() -> None:
    """Of two recipients of one event, one may be delayed only."""
    people = [person(action="failed", status="5.1.1"), person("y@else.example", action="delayed")]
    said = text(notice(event("Bounce", {"bounceType": "Transient", "bouncedRecipients": people})))
    assert "y@else.example\nAction: delayed\n" in said
    assert "x@else.example\nAction: failed\n" in said


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({}, "A recipient marked your mail as unwanted"),
        ({"complaintFeedbackType": "abuse"}, "A recipient marked your mail as unwanted"),
        ({"complaintFeedbackType": "not-spam"}, "is wanted after all"),
        ({"complaintFeedbackType": "virus"}, "found a virus"),
        ({"complaintFeedbackType": "auth-failure"}, "could not authenticate"),
        ({"complaintFeedbackType": "opt-out-of-the-future"}, "complained about your mail"),
        ({"complaintSubType": "FromTheFuture"}, "complained about your mail"),
        ({"complaintSubType": "OnTenantSuppressionList"}, "could not be delivered"),
        ({"complaintSubType": None}, "A recipient marked your mail as unwanted"),
    ],
)
def test_a_complaint_says_what_it_is(details: dict[str, Any], says: str) -> None:
    """RFC 5965 and SES's own subtypes; what is not known is not called unwanted."""
    said = text(notice(event("Complaint", {**details, "complainedRecipients": [person()]})))
    assert says in said
    assert ("unwanted" in says) == ("unwanted" in said)


def test_a_complaint_becomes_a_feedback_report() -> None:
    """RFC 5965; SES lists all recipients at the provider that complains."""
    people = [person(), person("y@else.example")]
    mail = notice(event("Complaint", {"feedbackId": "f", "complainedRecipients": people}))
    assert "feedback-report" == mail["Content-Type"].params["report-type"]
    assert "Feedback-Type: abuse\n" in text(mail)
    assert "One of these recipients marked" in text(mail)


def test_a_delay_is_told_as_one() -> None:
    """Still tried, until when; nothing failed."""
    details = {
        "delayType": "MailboxFull",
        "expirationTime": "2026-11-25T04:00:00.000Z",
        "delayedRecipients": [person(status="4.2.2")],
    }
    said = text(notice(event("DeliveryDelay", details)))
    assert "still being tried" in said
    assert "It is tried until 2026-11-25T04:00:00.000Z." in said
    assert "Action: delayed\nStatus: 4.2.2\n" in said
    assert not [wrong for wrong in NOBODY_SAYS if wrong in said]


def test_a_rendering_failure_is_told() -> None:
    """A mail of a template that was never made."""
    details = {"errorMessage": "Attribute 'name' is not present", "templateName": "t"}
    said = text(notice(event("Rendering Failure", details)))
    assert "from its template" in said
    assert "Attribute 'name' is not present" in said


def test_the_same_event_is_the_same_notice() -> None:
    """Identity and octets do not depend on when it is read; another event's differ."""
    one, same = read(event("Bounce", BOUNCE)), read(event("Bounce", BOUNCE))
    other = read(event("Bounce", {**BOUNCE, "feedbackId": "f-2"}))
    assert render(one, one.sender, "h.example") == render(same, same.sender, "h.example")
    assert one.feedback_id == same.feedback_id != other.feedback_id


def test_ids_are_those_that_journals_hold() -> None:
    """A new release does not tell again what the one before has told."""
    assert "echo-1f938ffac134153500398b2ceefb7c32" == read(event("Bounce", BOUNCE)).feedback_id


@pytest.mark.parametrize(
    "kind", ["Send", "Delivery", "Open", "Click", "Subscription", "OfTheFuture"]
)
def test_other_events_are_remarked(kind: str) -> None:
    """Other events concern no mailbox; the log has their kind and the mail's id."""
    assert Remark(kind, "ses-1") == read_event(event(kind, {}))


def test_a_delivery_tells_the_other_sides_words() -> None:
    """SES's delivery event: whose server took the mail, and with which reply. For the log only."""
    details = {
        "timestamp": "2026-11-24T04:00:00.000Z",
        "recipients": ["x@else.example", 7, "y@else.example"],
        "smtpResponse": "250 2.6.0 Message\nreceived",
    }
    body = json.loads(event("Delivery", {})) | {"delivery": details}
    assert Arrival(
        ses_id="ses-1",
        message_id="<own-1@laptop.example>",
        sender="ann@example.org",
        recipients=("x@else.example", "y@else.example"),
        reply="250 2.6.0 Message received",
        happened_at=1795492800.0,
    ) == read_event(json.dumps(body))


@pytest.mark.parametrize(
    "details", [{}, {"recipients": []}, {"recipients": ["x@y"], "timestamp": "then"}, [], None]
)
def test_a_delivery_that_tells_nothing_is_remarked(details: object) -> None:
    """Nobody's mail hangs on it, so it is no dead letter."""
    body = json.loads(event("Delivery", {})) | {"delivery": details}
    assert Remark("Delivery", "ses-1") == read_event(json.dumps(body))


@pytest.mark.parametrize("envelope", ["{}", '{{"Type": "Notification", "Message": "{}"}}'])
@pytest.mark.parametrize("end", ["", "\\n"])
def test_the_text_that_validates_a_topic_is_no_event(envelope: str, end: str) -> None:
    """SES sends it to the topic of a new event destination, with and without SNS's envelope."""
    said = "Successfully validated SNS topic for Amazon SES event publishing."
    body = envelope.format(said + end)
    assert Remark("topic validated", "") == read_event(body)


@pytest.mark.parametrize("body", ["nonsense", "", "{}", "[]", '{"Message": "nonsense"}'])
def test_what_is_no_event_is_an_error(body: str) -> None:
    """It goes to the dead letters."""
    with pytest.raises(NotificationError):
        read_event(body)


_VALUES = st.one_of(
    st.text(),
    st.none(),
    st.integers(),
    st.lists(
        st.dictionaries(
            st.sampled_from(["emailAddress", "action", "status", "diagnosticCode"]),
            st.one_of(st.text(), st.none(), st.integers()),
        ),
        max_size=3,
    ),
)
_NAMES = [
    "bouncedRecipients", "complainedRecipients", "delayedRecipients", "feedbackId", "timestamp",
    "bounceType", "bounceSubType", "complaintSubType", "complaintFeedbackType", "reason",
    "expirationTime", "reportingMTA",
]  # fmt: skip


@given(
    st.sampled_from(["Bounce", "Complaint", "DeliveryDelay", "Reject", "Rendering Failure", "New"]),
    st.dictionaries(st.sampled_from(_NAMES), _VALUES),
    st.dictionaries(
        st.sampled_from(["source", "destination", "headers", "commonHeaders", "timestamp"]),
        st.one_of(_VALUES, st.dictionaries(st.just("subject"), _VALUES)),
    ),
)
def test_arbitrary_events_never_crash(
    kind: str, details: dict[str, Any], mail: dict[str, Any]
) -> None:
    """A notice whose lines are ours, a remark, or a NotificationError."""
    try:
        found = read_event(event(kind, details, **mail))
    except NotificationError:
        return
    if isinstance(found, Feedback):
        head, _, _ = render(found, "ann@example.org", "mail.example.org").partition(b"\r\n\r\n")
        allowed = {b"From", b"To", b"Subject", b"Date", b"In-Reply-To", b"References",
                   b"Message-ID", b"Auto-Submitted", b"MIME-Version", b"Content-Type",
                   b"Content-Transfer-Encoding"}  # fmt: skip
        assert {line.split(b":")[0] for line in head.split(b"\r\n")} <= allowed
