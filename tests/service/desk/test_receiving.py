"""Mail from the world into the emulated S3 and SQS, over real sockets."""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from wire import await_true

if TYPE_CHECKING:
    from service.desk.account import MailAccount
    from service.desk.running import RunningDesk

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture(autouse=True)
def _rules(account: MailAccount) -> None:
    account.clear_rules()
    account.rule("people", ["ann@example.org", "ben@example.org"])


def connect(desk: RunningDesk) -> smtplib.SMTP:
    """Connect as a server of the world."""
    smtp = smtplib.SMTP("127.0.0.1", desk.settings.ports.ses_inbound, timeout=20)
    smtp.ehlo("client.elsewhere.example")
    return smtp


def send(desk: RunningDesk, sender: str, recipients: list[str], content: bytes) -> dict[str, Any]:
    """Hand a mail in byte for byte; smtplib would repair line ends."""
    refused: dict[str, Any] = {}
    with connect(desk) as smtp:
        assert 250 == smtp.mail(sender)[0]
        for one in recipients:
            reply = smtp.rcpt(one)
            if reply[0] != 250:
                refused[one] = reply
        assert 354 == smtp.docmd("DATA")[0]
        lines = content.replace(b"\r\n.", b"\r\n..")
        if lines.startswith(b"."):
            lines = b"." + lines
        smtp.send(lines + (b"" if not content or content.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, text = smtp.getreply()
        assert 250 == code, text
    return refused


def stored_content(account: MailAccount, notification: dict[str, Any]) -> bytes:
    """Return what is below the lines that SES put on top."""
    stored = account.stored(notification)
    last = stored.index(b"X-SES-RECEIPT: ")
    return stored[stored.index(b"\r\n", last) + 2 :]


def test_a_mail_is_stored_and_announced(account: MailAccount) -> None:
    """S3 has SES's lines, then the content; SQS has the envelope, the verdicts and the place."""
    content = b"From: World <w@elsewhere.example>\r\nTo: Ann <ann@example.org>\r\n\r\nhello\r\n"
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], content)
    (notification,) = account.notifications(1)
    message_id = notification["mail"]["messageId"]
    assert "Received" == notification["notificationType"]
    assert ["ann@example.org"] == notification["receipt"]["recipients"]
    assert "w@elsewhere.example" == notification["mail"]["source"]
    assert ["ann@example.org"] == notification["mail"]["destination"]
    assert {
        "type": "S3",
        "topicArn": account.topic,
        "bucketName": account.bucket,
        "objectKeyPrefix": "inbound/",
        "objectKey": f"inbound/{message_id}",
    } == notification["receipt"]["action"]
    assert {"status": "PASS"} == notification["receipt"]["spamVerdict"]
    assert {"status": "GRAY"} == notification["receipt"]["spfVerdict"]
    stored = account.stored(notification)
    assert stored.startswith(b"Return-Path: <w@elsewhere.example>\r\nReceived: from client.")
    assert content == stored_content(account, notification)


def test_an_unknown_recipient_is_refused_in_the_dialogue(account: MailAccount) -> None:
    """550 5.1.1 at RCPT for the unknown one; the known one of the same mail gets it."""
    refused = send(
        account.desk, "w@elsewhere.example", ["zoe@example.org", "ben@example.org"], b"\r\nx\r\n"
    )
    assert {"zoe@example.org"} == set(refused)
    assert (550, b"5.1.1") == (refused["zoe@example.org"][0], refused["zoe@example.org"][1][:5])
    (notification,) = account.notifications(1)
    assert ["ben@example.org"] == notification["receipt"]["recipients"]


def test_another_domain_is_refused(account: MailAccount) -> None:
    """A domain that is not a verified identity is refused, whatever the rules say."""
    account.rule("everyone", [])
    with connect(account.desk) as smtp:
        smtp.mail("w@elsewhere.example")
        assert 550 == smtp.rcpt("ann@unverified.example")[0]
        assert 250 == smtp.rcpt("anyone@example.org")[0]


def test_two_rules_give_two_objects_and_two_notifications(account: MailAccount) -> None:
    """Each notification lists its own rule's recipients; the mail has one id."""
    account.rule("domain", ["example.org"], prefix="second/", after="people")
    send(account.desk, "w@e.example", ["ann@example.org", "zoe@example.org"], b"\r\nx\r\n")
    found = account.notifications(2)
    by_key = {one["receipt"]["action"]["objectKeyPrefix"]: one for one in found}
    assert ["ann@example.org"] == by_key["inbound/"]["receipt"]["recipients"]
    assert ["ann@example.org", "zoe@example.org"] == by_key["second/"]["receipt"]["recipients"]
    assert 1 == len({one["mail"]["messageId"] for one in found})
    assert account.stored(by_key["inbound/"]) == account.stored(by_key["second/"])


def test_stop_ends_the_rule_set(account: MailAccount) -> None:
    """After a rule with Stop no further rule is run, also not for other recipients."""
    account.clear_rules()
    account.rule(
        "first",
        ["ann@example.org"],
        actions=[
            {"S3Action": {"BucketName": account.bucket, "TopicArn": account.topic}},
            {"StopAction": {"Scope": "RuleSet"}},
        ],
    )
    account.rule("second", ["ben@example.org"], after="first")
    send(account.desk, "w@e.example", ["ann@example.org", "ben@example.org"], b"\r\nx\r\n")
    (notification,) = account.notifications(1)
    assert ["ann@example.org"] == notification["receipt"]["recipients"]
    assert account.is_quiet()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x\r\n",
        b"no header at all\r\n",
        b"Subject: 8 bit \xff\xfe\r\n\r\n\x80\x81\r\n",
        b"Subject: nul\r\n\r\na\0b\r\n",
        b"Subject: bare\r\n\r\none\ntwo\rthree\n.\nfour\r\n",
        b"Subject: dots\r\n\r\n.\r..\n..\r\n...\r\n",
        b"." * 5 + b"\r\n",
        b"Subject: long\r\n\r\n" + b"x" * 3_000_000 + b"\r\n",
    ],
    ids=["empty", "tiny", "headless", "8bit", "nul", "bare", "dots", "dots first", "long line"],
)
def test_content_is_kept_byte_for_byte(account: MailAccount, content: bytes) -> None:
    """What is stored below SES's lines is what came over the wire."""
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], content)
    (notification,) = account.notifications(1)
    assert content == stored_content(account, notification)


def test_bare_line_feeds_do_not_end_a_mail(account: MailAccount) -> None:
    """LF.LF, LF.CRLF and CRLF.LF are content: no second mail can be smuggled in."""
    content = b"S: 1\r\n\r\na\n.\nb\n.\r\nc\r\n.\nMAIL FROM:<x@y.example>\r\n"
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], content)
    (notification,) = account.notifications(1)
    assert content == stored_content(account, notification)
    assert account.is_quiet()


def test_an_empty_envelope_sender_is_taken(account: MailAccount) -> None:
    """A bounce has no sender: `source` is empty and Return-Path is <>."""
    send(account.desk, "<>", ["ann@example.org"], b"Subject: bounce\r\n\r\nx\r\n")
    (notification,) = account.notifications(1)
    assert "" == notification["mail"]["source"]
    assert account.stored(notification).startswith(b"Return-Path: <>\r\n")


def test_a_mail_of_40_megabytes_is_taken(account: MailAccount) -> None:
    """The largest mail arrives whole."""
    line = b"x" * 76 + b"\r\n"
    head = b"Subject: big\r\n\r\n"
    content = head + line * ((40 * 1024 * 1024 - len(head)) // len(line))
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], content)
    (notification,) = account.notifications(1)
    assert content == stored_content(account, notification)


def test_more_than_40_megabytes_are_refused_with_552(account: MailAccount) -> None:
    """Too big by one byte: 552 after the content, or at once if the client says its size."""
    with connect(account.desk) as smtp:
        assert 552 == smtp.mail("w@e.example", [f"SIZE={40 * 1024 * 1024 + 1}"])[0]
        smtp.mail("w@e.example")
        smtp.rcpt("ann@example.org")
        smtp.docmd("DATA")
        smtp.send(b"x" * (40 * 1024 * 1024) + b"\r\n.\r\n")
        assert 552 == smtp.getreply()[0]
        assert 250 == smtp.noop()[0]
    assert account.is_quiet()


def test_gtube_is_spam_and_eicar_is_a_virus(account: MailAccount) -> None:
    """Both are delivered: SES never acts on its own verdicts."""
    for body, key in ((GTUBE, "spamVerdict"), (EICAR, "virusVerdict")):
        content = f"Subject: test\r\n\r\n{body}\r\n".encode()
        send(account.desk, "w@elsewhere.example", ["ann@example.org"], content)
        (notification,) = account.notifications(1)
        assert {"status": "FAIL"} == notification["receipt"][key]
    assert b"X-SES-Virus-Verdict: FAIL\r\n" in account.stored(notification)


def test_a_rule_without_scanning_says_disabled(account: MailAccount) -> None:
    """ScanEnabled false: spam and virus are DISABLED and no such header is written."""
    account.clear_rules()
    account.rule("unscanned", ["ann@example.org"], ScanEnabled=False)
    send(account.desk, "w@e.example", ["ann@example.org"], f"\r\n{GTUBE}\r\n".encode())
    (notification,) = account.notifications(1)
    assert {"status": "DISABLED"} == notification["receipt"]["spamVerdict"]
    assert b"X-SES-Spam-Verdict" not in account.stored(notification)


def test_starttls_is_offered(account: MailAccount) -> None:
    """The inbound server speaks TLS with a certificate of the desk's authority."""
    context = ssl.create_default_context(cafile=account.desk.layout.ca_file)
    context.check_hostname = False
    with connect(account.desk) as smtp:
        assert 220 == smtp.starttls(context=context)[0]
        smtp.ehlo()
        assert not smtp.has_extn("auth")


def test_a_rule_that_wants_tls_refuses_plain_text(account: MailAccount) -> None:
    """TlsPolicy Require: 530 at RCPT without TLS."""
    account.clear_rules()
    account.rule("tls", ["ann@example.org"], TlsPolicy="Require")
    with connect(account.desk) as smtp:
        smtp.mail("w@e.example")
        assert 530 == smtp.rcpt("ann@example.org")[0]


def test_an_sns_action_carries_the_content(account: MailAccount) -> None:
    """The SNS action publishes the mail itself."""
    account.clear_rules()
    account.rule("sns", ["ann@example.org"], actions=[{"SNSAction": {"TopicArn": account.topic}}])
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], b"Subject: s\r\n\r\nbody\r\n")
    (notification,) = account.notifications(1)
    assert "SNS" == notification["receipt"]["action"]["type"]
    assert notification["content"].endswith("Subject: s\r\n\r\nbody\r\n")


def test_a_header_action_adds_a_header(account: MailAccount) -> None:
    """The actions after an AddHeader action see the header."""
    account.clear_rules()
    account.rule(
        "header",
        ["ann@example.org"],
        actions=[
            {"AddHeaderAction": {"HeaderName": "X-Added", "HeaderValue": "yes"}},
            {"S3Action": {"BucketName": account.bucket, "TopicArn": account.topic}},
        ],
    )
    send(account.desk, "w@elsewhere.example", ["ann@example.org"], b"Subject: s\r\n\r\nbody\r\n")
    (notification,) = account.notifications(1)
    assert b"X-Added: yes\r\nSubject: s\r\n\r\nbody\r\n" == stored_content(account, notification)


def test_swaks_can_deliver(account: MailAccount) -> None:
    """A foreign client, over STARTTLS."""
    done = subprocess.run(
        [
            "swaks",
            "--server",
            f"127.0.0.1:{account.desk.settings.ports.ses_inbound}",
            "--from",
            "s@elsewhere.example",
            "--to",
            "ann@example.org",
            "--tls",
            "--header",
            "Subject: swaks",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout
    (notification,) = account.notifications(1)
    assert "swaks" == notification["mail"]["commonHeaders"]["subject"]


def test_a_client_that_vanishes_leaves_nothing(account: MailAccount) -> None:
    """A connection that ends inside DATA delivers nothing, and the server goes on."""
    with socket.create_connection(("127.0.0.1", account.desk.settings.ports.ses_inbound)) as raw:
        file = raw.makefile("rwb", buffering=0)
        file.readline()
        for line in (b"HELO x", b"MAIL FROM:<w@e.example>", b"RCPT TO:<ann@example.org>", b"DATA"):
            file.write(line + b"\r\n")
            file.readline()
        file.write(b"Subject: half")
    with connect(account.desk) as smtp:
        assert 250 == smtp.noop()[0]
    assert account.is_quiet()


def test_pipelined_commands_behind_the_content_are_answered(account: MailAccount) -> None:
    """What follows the final dot in the same packet is the next command."""
    with connect(account.desk) as smtp:
        smtp.mail("w@e.example")
        smtp.rcpt("ann@example.org")
        smtp.docmd("DATA")
        smtp.send(b"Subject: p\r\n\r\nx\r\n.\r\nNOOP\r\n")
        assert 250 == smtp.getreply()[0]
        assert 250 == smtp.getreply()[0]
    account.notifications(1)


@pytest.mark.parametrize(
    "head",
    [
        '"J\u00f6" \u2039j\u00f6@m\u00e4chine.example>'.encode(),
        b"a:" * 1000 + b"x@e.example" + b";" * 1000,
        b"(" * 5000,
        b"=?utf-7?q?+2AA-?= <x@e.example>",
        b"=?punycode?q?" + b"a" * 9000 + b"?= <x@e.example>",
        b'\x00\xff\xed\xa0\x80 <@@@>, "',
        b"\r\n\t" * 500,
    ],
)
def test_no_header_holds_a_mail_up(account: MailAccount, head: bytes) -> None:
    """Whatever To holds, a mail that was answered with 250 is announced and stored whole."""
    content = b"To: " + head + b"\r\nSubject: odd\r\n\r\nx\r\n"
    send(account.desk, "w@e.example", ["ann@example.org"], content)
    (notification,) = account.notifications(1)
    assert content == stored_content(account, notification)
    assert (
        "ses.publish_failure"
        not in account.desk.log().rpartition(notification["mail"]["messageId"])[2]
    )


def test_a_full_disk_delays_a_mail(account: MailAccount) -> None:
    """The object cannot be written: no notification, until it can; then the content is whole."""
    bucket = next(account.desk.layout.aws.rglob(account.bucket))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(bucket)], check=True, timeout=10
    )
    try:
        content = b"Subject: large\r\n\r\n" + b"x" * 70 * 14_000 + b"\r\n"
        send(account.desk, "w@e.example", ["ann@example.org"], content)
        await_true("a put that fails", lambda: "to the disk" in account.desk.log())
        assert account.is_quiet()
    finally:
        subprocess.run(["umount", "--lazy", str(bucket)], check=True, timeout=10)
    (notification,) = account.notifications(1)
    assert content == stored_content(account, notification)
