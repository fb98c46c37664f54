"""Mail that users send: submitted to Postfix by real clients, relayed through SES."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
import uuid
from email import message_from_bytes

import pytest

from corpus import SES_LIMIT, mail_of
from receiving_server import Findings, examine, resolver_at
from system.desk import Desk, letter
from wire import await_true


@pytest.mark.parametrize("port_name", ["submissions", "submission"])
def test_swaks_sends_to_the_world(desk: Desk, port_name: str) -> None:
    """A message submitted with swaks on 465 and on 587 leaves through SES."""
    mark = uuid.uuid4().hex
    host, port = desk.endpoint(port_name)
    tls = "--tls-on-connect" if port_name == "submissions" else "--tls"
    run = subprocess.run(
        ["swaks", "--server", host, "--port", str(port), tls, "--tls-verify", "--tls-ca-path"]
        + [desk.ca_file, "--auth", "PLAIN", "--auth-user", desk.ann, "--auth-password"]
        + [desk.password(desk.ann), "--from", desk.ann, "--to", "friend@elsewhere.example"]
        + ["--header", f"Subject: mark {mark}", "--body", "hello"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    sent = desk.await_outbox(mark)
    assert ["friend@elsewhere.example"] == sent.recipients
    assert desk.ann == sent.sender


def test_a_user_writes_to_another_domain_of_the_stack(desk: Desk) -> None:
    """Mail between our own mailboxes is delivered by LMTP, and nothing goes to the outbox."""
    mark = uuid.uuid4().hex
    desk.submit(desk.ann, desk.ben, mark)
    with desk.mailbox(desk.ben) as mailbox:
        assert 1 == len(mailbox.await_mail("SUBJECT", mark))
    assert not desk.outbox(mark)


def test_a_user_may_send_as_an_alias_that_is_theirs(desk: Desk) -> None:
    """The alias info@ leads to ann, so ann may send as info@."""
    mark = uuid.uuid4().hex
    with desk.submission(desk.ann) as client:
        client.send_message(letter("info@example.org", "friend@elsewhere.example", mark))
    assert "info@example.org" == desk.await_outbox(mark).sender


@pytest.mark.parametrize("sender", ["ben@example.org", "boss@elsewhere.example"])
def test_nobody_sends_as_someone_else(desk: Desk, sender: str) -> None:
    """An envelope sender that is not the user's is refused during the session."""
    message = letter(sender, "friend@elsewhere.example", uuid.uuid4().hex)
    refusals = (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused)
    with desk.submission(desk.ann) as client, pytest.raises(refusals) as refusal:
        client.send_message(message)
    assert "553" in str(refusal.value)


def test_no_mail_without_a_login(desk: Desk) -> None:
    """Postfix relays nothing without a login."""
    host, port = desk.endpoint("submission")
    context = ssl.create_default_context(cafile=desk.ca_file)
    with smtplib.SMTP(host, port, timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        replies = [client.mail(desk.ann)[0], client.rcpt("friend@elsewhere.example")[0]]
    assert {530, 554} & set(replies)


def test_a_wrong_password_is_refused(desk: Desk) -> None:
    """The reply is 535, without further details."""
    host, port = desk.endpoint("submissions")
    context = ssl.create_default_context(cafile=desk.ca_file)
    with smtplib.SMTP_SSL(host, port, context=context, timeout=60) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.login(desk.ann, "not the password")
    assert 535 == refusal.value.smtp_code


def test_a_mail_to_sixty_recipients_is_split_for_ses(desk: Desk) -> None:
    """SES accepts 50 recipients per message, so it is split; all sixty get it."""
    mark = uuid.uuid4().hex
    friends = [f"friend{number}@elsewhere.example" for number in range(60)]
    with desk.submission(desk.ann) as client:
        client.send_message(letter(desk.ann, "many@elsewhere.example", mark), to_addrs=friends)

    def served() -> bool:
        return set(friends) == {to for sent in desk.outbox(mark) for to in sent.recipients}

    await_true("sixty recipients in the outbox", served)


def test_a_large_mail_is_sent(desk: Desk) -> None:
    """30 MB pass Postfix and SES; more than 40 MB is refused at submission."""
    mark = uuid.uuid4().hex
    with desk.submission(desk.ann) as client:
        content = mail_of(30 * 1024 * 1024, sender=desk.ann, subject=f"mark {mark}")
        client.sendmail(desk.ann, ["friend@elsewhere.example"], content)
        with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
            client.sendmail(
                desk.ann, ["friend@elsewhere.example"], mail_of(SES_LIMIT + 1024 * 1024)
            )
    assert 552 == refusal.value.smtp_code
    assert desk.await_outbox(mark, timeout=60)


@pytest.mark.filterwarnings("ignore:please use dns.resolver.resolve:DeprecationWarning")
@pytest.mark.parametrize("sender", ["ann@example.org", "sales@example.net"])
def test_a_sent_mail_is_authentic_to_the_world(desk: Desk, sender: str) -> None:
    """DKIM of the domain and of Amazon, SPF of the MAIL FROM domain and DMARC pass, by the zones
    that the program wrote; a changed body breaks DKIM, another address SPF, both DMARC."""
    mark = uuid.uuid4().hex
    with desk.submission(desk.ann) as client:
        client.send_message(letter(sender, "friend@elsewhere.example", mark))
    sent = desk.await_outbox(mark)
    domain = sender.partition("@")[2]
    assert f"bounce.{domain}" == sent.return_path.partition("@")[2]
    assert bytes(sent.content).startswith(b"DKIM-Signature: ")
    address = str(message_from_bytes(sent.content)["X-SES-Outgoing"]).partition("-")[2]
    resolver = resolver_at(*desk.endpoint("dns"))

    def found(content: bytes, address: str = address) -> Findings:
        return examine(resolver, content, sent.return_path, address, "smtp-out.amazonses.com")

    assert Findings({domain: True, "amazonses.com": True}, "pass", "pass") == found(sent.content)
    changed = sent.content.replace(b"Hello from a desk", b"Hello from a thief")
    assert Findings({domain: False, "amazonses.com": False}, "pass", "pass") == found(changed)
    stolen = found(changed, "198.51.100.7")
    assert ("fail", "fail, none") == (stolen.spf, stolen.dmarc)  # the stack's policy is none


def test_a_bounce_of_the_simulator_is_no_loss(desk: Desk) -> None:
    """A message to success@simulator.amazonses.com is accepted and does not go to the outbox."""
    mark = uuid.uuid4().hex
    desk.submit(desk.ann, "success@simulator.amazonses.com", mark)
    await_true("Postfix's queue to be empty", lambda: not desk.postfix_queue())
    assert not desk.outbox(mark)


def test_what_ses_says_of_a_mail_reaches_its_sender_once(desk: Desk) -> None:
    """A bounce and an automatic reply give one notice each; SES mails no second bounce."""
    mark = uuid.uuid4().hex
    for name in ("bounce", "ooto"):
        desk.submit(desk.ann, f"{name}@simulator.amazonses.com", f"{mark} {name}")
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("SUBJECT", mark, "SUBJECT", "Undelivered"))
        assert 1 == len(mailbox.await_mail("SUBJECT", mark, "SUBJECT", "machine"))
        after = f"Subject: {mark} after\r\n\r\nx\r\n".encode()
        desk.receive("world@elsewhere.example", [desk.ann], after)
        mailbox.await_mail("SUBJECT", mark, "SUBJECT", "after")
        assert [] == mailbox.search("SUBJECT", "Failure", "FROM", "MAILER-DAEMON@amazonses.com")
        assert 3 == len(mailbox.search("SUBJECT", mark))


def test_while_ses_throttles_mails_wait_and_none_is_lost(desk: Desk) -> None:
    """SES refuses connections, then accepts few messages a second: all arrive, each once."""
    mark = uuid.uuid4().hex
    faults = desk.directory / "ses" / "faults.json"
    try:
        faults.write_text('{"greeting": "421 Too many concurrent SMTP connections"}')
        desk.submit(desk.ann, "world@elsewhere.example", f"{mark} refused")
        await_true("a mail that waits", lambda: "Too many concurrent" in desk.postfix_queue())
        assert [] == desk.outbox(mark)
        faults.write_text('{"max_send_rate": 2}')
        for number in range(6):
            desk.submit(desk.ann, "world@elsewhere.example", f"{mark} slow {number}")
        await_true("the rate's refusal", lambda: "Maximum sending rate" in desk.postfix_queue())
        await_true("an empty queue", lambda: is_flushed(desk), timeout=60)
    finally:
        faults.unlink(missing_ok=True)
    assert 7 == len(desk.outbox(mark))


def is_flushed(desk: Desk) -> bool:
    """Return whether nothing waits in Postfix; what does is tried again at once."""
    desk.engine("exec", desk.container("postfix"), "postqueue", "-f")
    return desk.postfix_queue() == ""
