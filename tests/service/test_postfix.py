"""The postfix image with real clients, Dovecot and a scripted SES endpoint."""

from __future__ import annotations

import re
import smtplib
import socket
from email import message_from_bytes

import pytest

from corpus import SES_LIMIT, mail_of
from postal_plexus.maintenance.mailbox_hold import hold
from service.mail_host import HOSTNAME, PASSWORD, STACK, MailHost
from service.postfix_letters import await_subject, mail, queue
from service.ses_endpoint import SesEndpoint
from service.ways_out import OUTSIDE, inject, relayed
from wire import await_true

pytestmark = pytest.mark.timeout(600)

# 64 KB below SES's 40 MB: room for the fields that a mail gets on its way.
SUBMISSION_LIMIT = SES_LIMIT - 64 * 1024


@pytest.mark.parametrize("port", [465, 587])
def test_mail_outside_goes_to_ses(host: MailHost, ses: SesEndpoint, port: int) -> None:
    """A submitted mail reaches SES through verified TLS with the SMTP user's password."""
    with host.submission("ann@example.org", port=port) as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("Ann <ann@example.org>", f"out {port}"))
    got = relayed(ses, f"out {port}")
    assert ("ann@example.org", (OUTSIDE,)) == (got.sender, got.recipients)


def test_the_log_has_no_subject_and_a_queue_id_of_its_own(host: MailHost, ses: SesEndpoint) -> None:
    """The log contains no subjects; queue ids are long and never reused."""
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "not for the log"))
    relayed(ses, "not for the log")
    said = host.containers["postfix"].logs()
    assert "not for the log" not in said
    assert re.search(rf"[0-9A-Za-z]{{13,}}: to=<{re.escape(OUTSIDE)}>.*status=sent", said)


def test_the_guard_loads_nothing_dear(host: MailHost) -> None:
    """What the guard has loaded stays in memory as long as Postfix runs."""
    program = "import sys, submission_guard; print(*sys.modules)"
    loaded = host.containers["postfix"].exec("python3", "-c", program).split()
    assert "Milter" in loaded
    assert not {"dataclasses", "json", "pathlib", "socket", "typing"} & set(loaded)


def test_clients_network_stays_private(host: MailHost, ses: SesEndpoint) -> None:
    """Outgoing messages contain neither the client's address nor its own claim of it; User-Agent stays."""
    more = "X-Originating-IP: [192.168.1.7]\r\nX-Client-IP: 10.0.0.9\r\nUser-Agent: Any 1.0\r\n"
    with host.submission("ann@example.org") as smtp:
        smtp.ehlo("laptop-of-ann")
        smtp.login("ann@example.org", PASSWORD)
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "private", more))
    content = relayed(ses, "private").content
    head = content.partition(b"\r\n\r\n")[0]
    for private in (b"laptop-of-ann", b"Originating"):
        assert private not in head
    assert not re.findall(rb"\b\d{1,3}(?:\.\d{1,3}){3}\b", head)
    assert b"\r\nUser-Agent: Any 1.0\r\n" in head
    assert b"Message-I" in head
    assert b"\r\nDate: " in head


def test_local_mail_takes_the_short_way(host: MailHost, ses: SesEndpoint) -> None:
    """Mailbox, subaddress, alias and catch-all of our own are delivered by LMTP, not by SES."""
    recipients = ["ben@example.org", "ben+x@example.org", "anything@example.net"]
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", recipients, mail("ann@example.org", "local"))
        smtp.sendmail("ann@example.org", ["info@example.org"], mail("ann@example.org", "alias"))
    for address in ("ann@example.org", "ben@example.org"):
        await_subject(host, address, "local")
        await_subject(host, address, "alias")
    assert ses.relayed == []


def test_local_mail_says_which_address_it_came_to(host: MailHost) -> None:
    """Each reader learns the own address, whatever leads there, and no blind recipient another's."""
    text = mail("ann@example.org", "whence").replace(OUTSIDE, "undisclosed-recipients:;")
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", ["sales@example.net", "info@example.org"], text)
    expected = {
        "ann@example.org": {b"sales@example.net", b"info@example.org"},
        "ben@example.org": {b"info@example.org"},
    }

    def originals(address: str) -> set[bytes]:
        with host.imap(address) as client:
            client.select(readonly=True)
            found: set[bytes] = set()
            for uid in client.uid("SEARCH", "SUBJECT", "whence")[1][0].split():
                head = client.uid("FETCH", uid, "(BODY.PEEK[HEADER])")[1][0][1]
                (original,) = re.findall(rb"^X-Original-To: (.*)\r$", head, re.MULTILINE)
                found.add(original)
            return found

    for address, addresses in expected.items():
        await_true(f"{address} to know", lambda to=address, all_=addresses: originals(to) == all_)


def test_local_mail_waits_while_a_task_holds_the_mailbox(host: MailHost) -> None:
    """Dovecot's LMTP defers mail for a held mailbox; IMAP continues."""
    postfix = host.containers["postfix"]
    held, free = "ben@example.org", "ann@example.org"
    holds = host.root / "run/dovecot/holds"
    with hold(held, holds):
        with host.lmtp() as lmtp:
            lmtp.ehlo()
            lmtp.mail("s@elsewhere.example")
            assert [(451, True), (250, False)] == [
                (code, b"emporary" in text) for code, text in map(lmtp.rcpt, (held, free))
            ]
        with host.imap(held) as client:
            assert "OK" == client.select()[0]
        with host.submission(free) as smtp:
            smtp.sendmail(free, [held], f"From: {free}\r\nSubject: held\r\n\r\n")
        await_true("it to wait", lambda: "451" in postfix.exec("postqueue", "-p"))
    postfix.exec("postqueue", "-f")
    await_subject(host, held, "held")


def test_alias_to_the_outside_is_relayed(host: MailHost, ses: SesEndpoint) -> None:
    """An alias with a foreign destination goes out under the user's own sender."""
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", ["away@example.org"], mail("ann@example.org", "away"))
    assert relayed(ses, "away").recipients == (OUTSIDE,)


def test_unknown_local_recipient_is_refused_at_once(host: MailHost) -> None:
    """550 5.1.1 in the dialogue, so that a typing mistake is seen at once."""
    with (
        host.submission("ann@example.org") as smtp,
        pytest.raises(smtplib.SMTPRecipientsRefused) as refused,
    ):
        smtp.sendmail("ann@example.org", ["nobody@example.org"], mail("ann@example.org", "x"))
    code, text = refused.value.recipients["nobody@example.org"]
    assert (code, text[:6]) == (550, b"5.1.1 ")


@pytest.mark.parametrize(
    "sender",
    [
        "ann@example.org",
        "ANN@example.org",
        "ann+shop@example.org",
        "info@example.org",
        "x@example.net",
    ],
)
def test_own_addresses_may_be_sent_from(host: MailHost, ses: SesEndpoint, sender: str) -> None:
    """A user sends as the mailbox, a subaddress, an alias, or what the catch-all takes."""
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail(sender, [OUTSIDE], mail(f'"Ann, of Example" <{sender}>', f"as {sender}"))
    assert relayed(ses, f"as {sender}").sender.lower() == sender.lower()


@pytest.mark.parametrize("sender", ["away@example.org", "Away+x@example.org"])
def test_an_address_of_the_send_as_list_may_be_sent_from(
    host: MailHost, ses: SesEndpoint, sender: str
) -> None:
    """Only the owner of the list may use it in envelope and From, though it has no mailbox."""
    with host.submission("ben@example.org") as smtp:
        smtp.sendmail(sender, [OUTSIDE], mail(sender, f"listed {sender}"))
    assert relayed(ses, f"listed {sender}").sender == sender
    with host.submission("ann@example.org") as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(sender, [OUTSIDE], mail("ann@example.org", "not listed"))
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("ann@example.org", [OUTSIDE], mail(sender, "not listed"))


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("ben@example.org", (553, b"5.7.1")),
        (OUTSIDE, (553, b"5.7.1")),
        ("nobody@example.org", (553, b"5.7.1")),
        ("ann", (504, b"5.5.2")),
    ],
)
def test_foreign_envelope_sender_is_refused(
    host: MailHost, sender: str, code: tuple[int, bytes]
) -> None:
    """A user cannot send with another user's envelope sender."""
    with (
        host.submission("ann@example.org") as smtp,
        pytest.raises(smtplib.SMTPRecipientsRefused) as refused,
    ):
        smtp.sendmail(sender, [OUTSIDE], mail("ann@example.org", "forged"))
    reply, text = refused.value.recipients[OUTSIDE]
    assert code == (reply, text[:5])


@pytest.mark.parametrize(
    "headers",
    [
        "From: ben@example.org",
        "From: Ann <ben@example.org>",
        "From: ann@example.org, ben@example.org",
        "From: ann@example.org\r\nFrom: ben@example.org",
        "From: ben@example.org\r\nFrom: ann@example.org",
        "From: ann@example.org <ceo@elsewhere.example>",
        "From: ann@example.org\r\nSender: ben@example.org",
        "From: (ann@example.org) ben@example.org",
        "From: ann@example.org;ben@example.org",
        "From: =?utf-8?q?ann=40example=2Eorg?= <ben@example.org>",
        "From:",
        "From: Ann",
        "From: undisclosed:;",
        'From: "ann@example.org" <ben@example.org>',
        "To: x@example.org\r\nFrom : ben@example.org",
        "fROM: ben@example.org",
        "From: Ann\r\n <ben@example.org>",
        "From: ann@\x00example.org",
        "From: ann@ex\u0430mple.org",
    ],
)
def test_foreign_from_header_is_refused(host: MailHost, ses: SesEndpoint, headers: str) -> None:
    """A user cannot write as another, whatever the header's form; nothing reaches SES."""
    content = f"{headers}\r\nSubject: forged\r\n\r\nHello\r\n".encode()
    with host.submission("ann@example.org") as smtp:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail("ann@example.org", [OUTSIDE], content)
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.7.1")
    assert ses.relayed == []


def test_mail_without_from_gets_the_envelope_sender(host: MailHost, ses: SesEndpoint) -> None:
    """A script that forgets From sends as the sender that was checked."""
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], b"Subject: no from\r\n\r\nHello\r\n")
    assert b"\r\nFrom: ann@example.org\r\n" in relayed(ses, "no from").content


def test_forged_marks_lose_their_name(host: MailHost) -> None:
    """A user cannot set the headers that Sieve trusts."""
    more = "X-Plexus-Verdicts: spam=FAIL\r\n"
    more += 'Authentication-Results:\r\n (c) "mail.example.org"; dmarc=pass\r\n'
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", ["ben@example.org"], mail("ann@example.org", "mark", more))
    await_subject(host, "ben@example.org", "mark")
    with host.imap("ben@example.org") as client:
        client.select(readonly=True)
        content = client.fetch("*", "(BODY.PEEK[])")[1][0][1]
    assert b"\r\nX-Forged-X-Plexus-Verdicts: spam=FAIL\r\n" in content
    assert b"\r\nX-Plexus-Verdicts" not in content
    assert b"Authentication-Results" not in content


@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r"])
def test_a_smuggled_mail_stays_content(host: MailHost, ses: SesEndpoint, end: bytes) -> None:
    """Only CRLF.CRLF ends a mail: what a user hides behind another end never is a mail of its own."""
    inner = b"MAIL FROM:<ben@example.org>\r\nRCPT TO:<ben@example.org>\r\nDATA\r\nhidden"
    head = b"From: ann@example.org\r\nSubject: outer " + end.hex().encode()
    with host.submission("ann@example.org") as smtp:
        smtp.mail("ann@example.org")
        smtp.rcpt(OUTSIDE)
        assert smtp.docmd("DATA")[0] == 354
        assert smtp.sock is not None
        smtp.sock.sendall(head + b"\r\n\r\nbefore" + end + inner + b"\r\n.\r\n")
        assert smtp.getreply()[0] == 250
        assert smtp.noop()[0] == 250
    assert b"hidden" in relayed(ses, f"outer {end.hex()}").content
    assert len(ses.relayed) == 1


@pytest.mark.parametrize("recipient", [OUTSIDE, "ann@example.org"])
def test_nothing_is_taken_without_a_login(host: MailHost, recipient: str) -> None:
    """Neither relay nor local mail: 530, and the reason."""
    with host.submission() as smtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        smtp.sendmail("ann@example.org", [recipient], mail("ann@example.org", "relay"))
    code, text = refused.value.recipients[recipient]
    assert (code, b"Authentication required" in text) == (530, True)


def test_no_login_without_tls(host: MailHost) -> None:
    """On 587 neither AUTH nor MAIL works before STARTTLS."""
    port = host.containers["postfix"].port(587)
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")
        assert smtp.docmd("AUTH", "PLAIN AGFubgBhbm4=")[0] in {503, 530}
        assert smtp.mail("ann@example.org")[0] == 530


def test_wrong_password_is_refused(host: MailHost) -> None:
    """535, and the failure is in the log with the client's address."""
    with host.submission() as smtp, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        smtp.login("ann@example.org", "guess")
    assert refused.value.smtp_code == 535
    await_true(
        "a log line",
        lambda: (
            "SASL PLAIN authentication failed" in host.containers["postfix"].logs()
            or "SASL LOGIN authentication failed" in host.containers["postfix"].logs()
        ),
    )


def test_greeting_names_limit_but_no_software(host: MailHost) -> None:
    """The greeting has the mail host's name, the 40 MB limit, and no product or version."""
    port = host.containers["postfix"].port(587)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        greeting = plain.recv(1000)
    assert greeting == f"220 {HOSTNAME} ESMTP\r\n".encode()
    with host.submission() as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["size"] == str(SUBMISSION_LIMIT)


def test_largest_mail_passes_within_the_memory_limit(host: MailHost, ses: SesEndpoint) -> None:
    """The largest mail goes to SES and to a mailbox in 64 MB of memory; a larger one gets 552."""
    content = mail_of(SUBMISSION_LIMIT).replace(
        b"world@elsewhere.example", b"ann+0123456@example.org"
    )
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE, "ben@example.org"], content)
    assert content[-1_000_000:] in relayed(ses, "large").content
    await_subject(host, "ben@example.org", "large")
    with host.submission("ann@example.org") as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("ann@example.org", [OUTSIDE], content + b"x")
        assert refused.value.smtp_code == 552
    assert host.containers["postfix"].inspect("{{.State.OOMKilled}}") == "false"


def test_many_recipients_are_split_for_ses(host: MailHost, ses: SesEndpoint) -> None:
    """120 recipients reach SES in messages of at most 50, each recipient once."""
    recipients = [f"r{number}@elsewhere.example" for number in range(120)]
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", recipients, mail("ann@example.org", "many"))
    await_true(
        "all to be relayed", lambda: sum(len(each.recipients) for each in ses.relayed) >= 120
    )
    assert max(len(each.recipients) for each in ses.relayed) <= 50
    assert sorted(each for mail in ses.relayed for each in mail.recipients) == sorted(recipients)


def test_refusal_by_ses_comes_back_readable(host: MailHost, ses: SesEndpoint) -> None:
    """What SES refuses for good comes back to the user, with SES's words, from the mail host."""
    ses.refusal = "554 Message rejected: Email address is not verified."
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", "unwanted"))
    await_subject(host, "ann@example.org", "Undelivered Mail Returned to Sender")
    with host.imap("ann@example.org") as client:
        client.select(readonly=True)
        content = client.fetch("*", "(BODY.PEEK[])")[1][0][1]
    assert b"Email address is not verified" in content
    sender = message_from_bytes(content)["From"]
    assert sender == f"Mail Delivery System <MAILER-DAEMON@{HOSTNAME}>"


@pytest.mark.parametrize(
    "reply",
    [
        "454 Throttling failure: Maximum sending rate exceeded.",
        "454 Throttling failure: Daily message quota exceeded.",
        "421 Too many concurrent SMTP connections; please try again later.",
        "451 Temporary service failure",
    ],
)
def test_throttling_by_ses_keeps_the_mail(host: MailHost, ses: SesEndpoint, reply: str) -> None:
    """The mail stays in the queue, with SES's words, and goes out once when SES takes it."""
    ses.refusal = reply
    container = host.containers["postfix"]
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", [OUTSIDE], mail("ann@example.org", f"patience {reply}"))
    await_true("the mail to wait", lambda: reply[4:] in queue(container))
    ses.refusal = None
    container.exec("postqueue", "-f")
    relayed(ses, f"patience {reply}")
    await_true("an empty queue", lambda: "Mail queue is empty" in queue(container))
    assert len(ses.relayed) == 1


def test_changed_directory_is_followed_without_a_restart(host: MailHost) -> None:
    """A new alias works within seconds, and is gone within seconds, while a session goes on."""
    with host.submission("ann@example.org") as old:
        aliases = [
            *STACK["aliases"],
            {"address": "team@example.org", "destinations": ["ben@example.org"]},
        ]
        host.write_directory(STACK | {"aliases": aliases})

        def taken() -> bool:
            with host.submission("ann@example.org") as smtp:
                smtp.mail("ann@example.org")
                return smtp.rcpt("team@example.org")[0] == 250

        await_true("the new alias", taken, 10)
        # An open session keeps the tables that it began with; it is not cut off.
        old.sendmail("ann@example.org", ["info@example.org"], mail("ann@example.org", "still"))
    await_subject(host, "ben@example.org", "still")
    host.write_directory()
    await_true("the alias's end", lambda: not taken(), 10)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("postfix-virtual-domains", ""),
        ("postfix-virtual-mailboxes", "ann@example.org"),
        ("postfix-sender-logins", "half a li\nann@example.org\n"),
    ],
)
def test_broken_directory_changes_nothing(host: MailHost, table: str, text: str) -> None:
    """An empty or malformed file is refused with a log line; the last good maps keep working."""
    container = host.containers["postfix"]
    before = container.logs().count("refused the directory's files")
    host.write_table(table, text)
    await_true(
        "the refusal", lambda: container.logs().count("refused the directory's files") > before, 10
    )
    subject = f"despite {table}"
    with host.submission("ann@example.org") as smtp:
        smtp.sendmail("ann@example.org", ["info@example.org"], mail("ann@example.org", subject))
    await_subject(host, "ben@example.org", subject)
    host.write_directory()


def test_injected_mail_may_not_use_foreign_senders(host: MailHost) -> None:
    """SES would refuse it, so it is refused at once."""
    with inject(host) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        smtp.sendmail(OUTSIDE, [OUTSIDE], mail(OUTSIDE, "injected"))
    assert refused.value.recipients[OUTSIDE][0] == 554


# Failures ---------------------------------------------------------------------------------------
