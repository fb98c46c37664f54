"""SES's SMTP endpoint over real sockets: sign-in, refusals, the simulator, loop back, outbox."""

from __future__ import annotations

import json
import smtplib
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from awsdesk.ses.verdicts import EICAR
from service.desk.test_receiving import send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.desk.account import MailAccount

HOST = "email-smtp.us-east-1.amazonaws.com"
MAIL = b"From: Ann <ann@example.org>\r\nTo: %s\r\nSubject: %s\r\n\r\nhello\r\n"


@pytest.fixture(autouse=True)
def _rules(account: MailAccount) -> Iterator[None]:
    account.clear_rules()
    account.rule("people", ["ann@example.org"])
    account.notifications(1, setup=True)
    yield
    (account.desk.layout.ses / "faults.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def user(account: MailAccount) -> tuple[str, str]:
    """Provide a user that may send."""
    return account.smtp_user()


def connect(account: MailAccount) -> smtplib.SMTP:
    """Connect to the STARTTLS port, checking the certificate for SES's own name."""
    context = ssl.create_default_context(cafile=account.desk.layout.ca_file)
    smtp = smtplib.SMTP("127.0.0.1", account.desk.settings.ports.ses_smtp, timeout=20)
    smtp._host = HOST  # noqa: SLF001 - what smtplib checks the certificate for
    smtp.ehlo()
    assert not smtp.has_extn("auth")
    smtp.starttls(context=context)
    smtp.ehlo()
    return smtp


def submit(
    account: MailAccount, user: tuple[str, str], recipients: list[str], content: bytes, **more: Any
) -> tuple[int, str]:
    """Hand a mail in and give SES's reply."""
    with connect(account) as smtp:
        smtp.login(*user)
        assert 250 == smtp.mail(more.get("sender", "ann@example.org"))[0]
        for one in recipients:
            assert 250 == smtp.rcpt(one)[0]
        code, text = smtp.data(content)
    return code, text.decode()


def outbox(account: MailAccount, message_id: str) -> tuple[dict[str, Any], bytes]:
    """Give the envelope and content of a mail that left."""
    (envelope,) = [
        one
        for path in account.desk.layout.outbox.glob("*.json")
        if (one := json.loads(path.read_text()))["message_id"] == message_id
    ]
    content = Path(account.desk.layout.outbox / envelope["content"]).read_bytes()
    return envelope, content


def test_a_mail_to_the_world_lands_in_the_outbox(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """250 Ok with the id; Message-ID and Date are SES's, the envelope is in the JSON."""
    content = b"Message-ID: <mine@x>\r\nDate: never\r\nBcc: secret@x.example\r\n" + MAIL % (
        b"f@e.example",
        b"out",
    )
    code, text = submit(account, user, ["f@e.example", "g@e.example"], content)
    assert (250, "Ok") == (code, text[:2])
    message_id = text.split()[1]
    envelope, left = outbox(account, message_id)
    assert ["f@e.example", "g@e.example"] == envelope["recipients"]
    assert "ann@example.org" == envelope["sender"]
    assert f"{message_id}@amazonses.com" == envelope["return_path"]
    assert f"\r\nMessage-ID: <{message_id}@email.amazonses.com>\r\nDate: ".encode() in left
    assert left.endswith(MAIL % (b"f@e.example", b"out"))
    assert b"secret@" not in left


def test_nobody_sends_without_signing_in(account: MailAccount) -> None:
    """530 before AUTH, 530 before STARTTLS, 535 for a wrong password and for an AWS secret."""
    with connect(account) as smtp:
        assert 530 == smtp.mail("ann@example.org")[0]
    with smtplib.SMTP("127.0.0.1", account.desk.settings.ports.ses_smtp) as smtp:
        smtp.ehlo()
        assert 530 == smtp.mail("ann@example.org")[0]
    key, _ = account.smtp_user()
    for name, password in ((key, "wrong"), (account.desk.settings.root_key_id, "x"), ("", "")):
        with connect(account) as smtp, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.login(name, password)
        assert 535 == refused.value.smtp_code


def test_the_tls_port_speaks_tls_from_the_start(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """Port 465's stand-in, by a foreign client."""
    done = subprocess.run(
        [
            "swaks",
            "--server",
            f"127.0.0.1:{account.desk.settings.ports.ses_smtps}",
            "--tls-on-connect",
            "--auth",
            "LOGIN",
            "--auth-user",
            user[0],
            "--auth-password",
            user[1],
            "--from",
            "ann@example.org",
            "--to",
            "f@e.example",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize(
    ("sender", "header"),
    [("x@unverified.example", "ann@example.org"), ("ann@example.org", "x@unverified.example")],
    ids=["envelope", "header"],
)
def test_an_unverified_sender_is_refused(
    account: MailAccount, user: tuple[str, str], sender: str, header: str
) -> None:
    """554 names the identity and the region, for the envelope sender as for From."""
    content = f"From: {header}\r\n\r\nx\r\n".encode()
    code, text = submit(account, user, ["f@e.example"], content, sender=sender)
    assert 554 == code
    assert text.startswith("Message rejected: Email address is not verified.")
    assert text.endswith("failed the check in region US-EAST-1: x@unverified.example")


def test_fifty_recipients_are_taken_and_no_more(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """The 51st makes the whole mail fail, after its content, as in SES."""
    many = [f"r{number}@e.example" for number in range(51)]
    content = MAIL % (b"r1@e.example", b"many")
    assert 250 == submit(account, user, many[:50], content)[0]
    assert (554, "Transaction failed: Recipient count exceeds 50.") == submit(
        account, user, many, content
    )


def test_a_users_policy_limits_whom_it_sends_as(account: MailAccount) -> None:
    """A policy on ses:FromAddress is asked; the refusal names user, action and identity."""
    limited = account.smtp_user(
        {
            "Effect": "Allow",
            "Action": "ses:SendRawEmail",
            "Resource": "*",
            "Condition": {"StringEquals": {"ses:FromAddress": "ben@example.org"}},
        }
    )
    ben = b"From: ben@example.org\r\n\r\nx\r\n"
    assert 250 == submit(account, limited, ["f@e.example"], ben)[0]
    code, text = submit(account, limited, ["f@e.example"], MAIL % (b"f@e.example", b"denied"))
    assert (554, True) == (code, "is not authorized to perform `ses:SendRawEmail'" in text)
    assert "identity/example.org" in text


def test_a_field_given_twice_and_a_missing_from_are_refused(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """554 Transaction failed, with SES's words."""
    twice = b"Subject: a\r\nSubject: b\r\n" + MAIL % (b"f@e.example", b"c")
    assert "Duplicate header 'Subject'" in submit(account, user, ["f@e.example"], twice)[1]
    assert "Missing final '@domain'" in submit(account, user, ["f@e.example"], b"\r\nx\r\n")[1]


def test_more_than_40_megabytes_are_refused(account: MailAccount, user: tuple[str, str]) -> None:
    """552."""
    content = MAIL % (b"f@e.example", b"big") + b"x" * (40 * 1024 * 1024)
    assert (552, "Message is too long.") == submit(account, user, ["f@e.example"], content)


def test_the_null_sender_is_refused(account: MailAccount, user: tuple[str, str]) -> None:
    """501 at MAIL FROM:<>."""
    with connect(account) as smtp:
        smtp.login(*user)
        assert 501 == smtp.mail("<>")[0]


def test_our_own_domain_loops_back_through_the_rules(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """It arrives as mail that SES relayed: SPF passes, the envelope sender is SES's."""
    code, text = submit(account, user, ["ann@example.org"], MAIL % (b"ann@example.org", b"loop"))
    assert 250 == code
    (notification,) = account.notifications(1)
    assert f"{text.split()[1]}@amazonses.com" == notification["mail"]["source"]
    assert {"status": "PASS"} == notification["receipt"]["spfVerdict"]


def test_an_unknown_recipient_of_ours_bounces_to_the_sender(
    account: MailAccount, user: tuple[str, str]
) -> None:
    """Without a feedback topic the bounce comes by mail, with the null sender."""
    submit(account, user, ["zoe@example.org"], MAIL % (b"zoe@example.org", b"lost"))
    (notification,) = account.notifications(1)
    assert ["ann@example.org"] == notification["receipt"]["recipients"]
    assert "" == notification["mail"]["source"]
    report = account.stored(notification)
    assert b"Final-Recipient: rfc822; zoe@example.org\r\nAction: failed\r\n" in report


@pytest.fixture(scope="module")
def events(account: MailAccount) -> str:
    """Provide a configuration set whose events go to the module's topic."""
    account.sesv2.create_configuration_set(ConfigurationSetName="events")
    account.sesv2.create_configuration_set_event_destination(
        ConfigurationSetName="events",
        EventDestinationName="topic",
        EventDestination={
            "Enabled": True,
            "MatchingEventTypes": ["BOUNCE", "COMPLAINT", "DELIVERY", "REJECT"],
            "SnsDestination": {"TopicArn": account.topic},
        },
    )
    return "events"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("success", ["Delivery"]),
        ("bounce", ["Bounce"]),
        ("complaint", ["Complaint", "Delivery"]),
        ("bounce+label", ["Bounce"]),
        ("ooto", ["Bounce", "Delivery"]),
    ],
)
def test_the_simulator_makes_events(
    account: MailAccount, user: tuple[str, str], events: str, name: str, expected: list[str]
) -> None:
    """Each address has the outcome it is documented for, in the configuration set's events."""
    to = f"{name}@simulator.amazonses.com"
    content = f"X-SES-CONFIGURATION-SET: {events}\r\n".encode() + MAIL % (to.encode(), b"sim")
    code, text = submit(account, user, [to], content)
    assert 250 == code
    found = [
        one for one in account.events(len(expected)) if one["mail"]["messageId"] == text.split()[1]
    ]
    assert expected == sorted(one["eventType"] for one in found)
    assert [["events"]] * len(found) == [
        one["mail"]["tags"]["ses:configuration-set"] for one in found
    ]


def test_a_mail_with_a_virus_is_rejected(
    account: MailAccount, user: tuple[str, str], events: str
) -> None:
    """SES takes it and sends it to nobody; the event has no recipients of its own."""
    content = f"X-SES-CONFIGURATION-SET: {events}\r\n".encode() + MAIL % (b"f@e.example", b"v")
    eicar = EICAR.replace(rb"\P", b"\\P")
    code, text = submit(account, user, ["f@e.example"], content + eicar + b"\r\n")
    assert 250 == code
    (found,) = account.events(1)
    assert ("Reject", {"reason": "Bad content"}) == (found["eventType"], found["reject"])
    assert text.split()[1] == found["mail"]["messageId"]
    assert not [*account.desk.layout.outbox.glob(f"*{text.split()[1]}*")]


def test_a_new_event_destination_gets_a_plain_text(account: MailAccount, events: str) -> None:
    """It is no JSON; a topic that does not let SES publish is refused."""
    destination = {
        "Enabled": True,
        "MatchingEventTypes": ["BOUNCE"],
        "SnsDestination": {"TopicArn": account.topic},
    }
    account.sesv2.update_configuration_set_event_destination(
        ConfigurationSetName=events, EventDestinationName="topic", EventDestination=destination
    )
    answer = account.sqs.receive_message(QueueUrl=account.queue, WaitTimeSeconds=5)
    (one,) = answer["Messages"]
    account.sqs.delete_message(QueueUrl=account.queue, ReceiptHandle=one["ReceiptHandle"])
    assert "Successfully validated SNS topic for Amazon SES event publishing." in one["Body"]
    destination["SnsDestination"] = {"TopicArn": account.topic + "-none"}
    with pytest.raises(ClientError, match="BadRequest"):
        account.sesv2.update_configuration_set_event_destination(
            ConfigurationSetName=events, EventDestinationName="topic", EventDestination=destination
        )


def test_bounces_are_mailed_unless_forwarding_is_off_and_an_event_tells(
    account: MailAccount, user: tuple[str, str], events: str
) -> None:
    """Once, by mail or by event."""

    def mailed(configuration_set: str) -> int:
        fields = f"X-SES-CONFIGURATION-SET: {configuration_set}\r\n" if configuration_set else ""
        content = fields.encode() + MAIL % (b"zoe@example.org", b"lost")
        assert 250 == submit(account, user, ["zoe@example.org"], content)[0]
        return len(account.notifications(0 if configuration_set else 1))

    assert 1 == mailed("")
    account.sesv2.put_email_identity_feedback_attributes(
        EmailIdentity="example.org", EmailForwardingEnabled=False
    )
    try:
        assert 1 == mailed("")
        assert 0 == mailed(events)
    finally:
        account.sesv2.put_email_identity_feedback_attributes(
            EmailIdentity="example.org", EmailForwardingEnabled=True
        )


def test_injected_faults_make_ses_fail(account: MailAccount, user: tuple[str, str]) -> None:
    """A reply for every mail, a rate, a refused connection."""
    file = account.desk.layout.ses / "faults.json"
    content = MAIL % (b"f@e.example", b"fault")
    file.write_text('{"smtp_reply": "454 Throttling failure: Daily message quota exceeded"}')
    assert 454 == submit(account, user, ["f@e.example"], content)[0]
    file.write_text('{"max_send_rate": 1}')
    replies = [submit(account, user, ["f@e.example"], content)[0] for _ in range(3)]
    assert 250 == replies[0]
    file.write_text('{"max_send_rate": 0}')
    assert (454, "Throttling failure: Maximum sending rate exceeded.") == submit(
        account, user, ["f@e.example"], content
    )
    file.write_text('{"greeting": "421 Too many concurrent SMTP connections"}')
    with smtplib.SMTP("127.0.0.1", account.desk.settings.ports.ses_smtp) as smtp:
        assert 421 == smtp.ehlo()[0]


def test_send_bounce_answers_a_received_mail(account: MailAccount) -> None:
    """A report to the envelope sender in the outbox; each documented check refuses."""
    mail = b"Message-ID: <orig@e>\r\nSubject: bad\r\n\r\nx\r\n"
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], mail)
    (notification,) = account.notifications(1)
    bounced = [{"Recipient": "ann@example.org", "BounceType": "ExceededQuota"}]
    asked = {
        "OriginalMessageId": notification["mail"]["messageId"],
        "BounceSender": "mailer-daemon@example.org",
        "BouncedRecipientInfoList": bounced,
    }
    message_id = account.ses.send_bounce(**asked)["MessageId"]
    envelope, report = outbox(account, message_id)
    assert (["w@elsewhere.example"], "") == (envelope["recipients"], envelope["return_path"])
    assert b"Status: 5.2.2\r\n" in report
    assert b"In-Reply-To: <orig@e>\r\n" in report
    # boto3 would try again until it is let through.
    once = account.desk.client("ses", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ClientError) as refused:
        once.send_bounce(**asked)
        once.send_bounce(**asked)
    assert "Throttling" == refused.value.response["Error"]["Code"]
    for change in (
        {"OriginalMessageId": "unknown"},
        {"BounceSender": "x@unverified.example"},
    ):
        time.sleep(1.1)
        with pytest.raises(ClientError) as refused:
            account.ses.send_bounce(**{**asked, **change})
        assert "MessageRejected" == refused.value.response["Error"]["Code"]
