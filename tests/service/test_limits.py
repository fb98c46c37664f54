"""The limits of one client on a small host, and the replies beyond them."""

from __future__ import annotations

import contextlib
import imaplib
import smtplib
import socket
from collections.abc import Iterator

import pytest

from service.crowds import Strangers
from service.mail_host import PASSWORD, MailHost
from service.managesieve import ManageSieve
from service.ses_endpoint import SesEndpoint
from wire import await_true

pytestmark = pytest.mark.timeout(300)

ANN = "ann@example.org"
BEN = "ben@example.org"
# Of login-limits.c and dovecot.conf: a user's sessions, and imap processes.
SESSIONS, PROCESSES = 24, 26
OUTSIDE = "someone@elsewhere.example"


def connected(host: MailHost, port: int, open_ones: contextlib.ExitStack) -> smtplib.SMTP | str:
    """Return a client that has begun and stays, or the refusal it was greeted with."""
    try:
        return open_ones.enter_context(host.submission(port=port))
    except smtplib.SMTPConnectError as refusal:
        return f"{refusal.smtp_code} {refusal.smtp_error.decode()}"


# Run beside Postfix: for it that is another address than this machine's.
NEIGHBOUR = """
import smtplib, ssl, sys
port, trusting = int(sys.argv[1]), ssl._create_unverified_context()
if port == 465:
    client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=trusting)
else:
    client = smtplib.SMTP("127.0.0.1", port, timeout=20)
    client.starttls(context=trusting)
print(client.noop()[0])
"""


@pytest.mark.parametrize("port", [465, 587])
def test_fourth_submission_connection_of_an_address_has_to_wait(host: MailHost, port: int) -> None:
    """421 4.7.0; other addresses are served; as soon as one ends the next is."""
    with contextlib.ExitStack() as open_ones:
        first = [connected(host, port, open_ones) for _ in range(3)]
        assert all(isinstance(each, smtplib.SMTP) for each in first), first
        refusal = str(connected(host, port, open_ones))
        assert refusal.startswith("421 4.7.0 ")
        assert "too many connections" in refusal
        other = host.containers["postfix"].exec("python3", "-c", NEIGHBOUR, str(port))
        assert other.strip() == "250"
    with host.submission(ANN, port=port) as smtp:
        assert smtp.noop()[0] == 250


@pytest.mark.parametrize(("port", "how"), [(465, "tls"), (587, "starttls")])
def test_submission_is_served_by_ipv6_and_an_ipv6_network_is_one_address(
    host: MailHost, port: int, how: str
) -> None:
    """The log has the client's own address; a fourth connection of a /64 is refused, another's is served."""
    near = [f"2001:db8:2:{port}::{number}" for number in range(1, 5)]
    far = f"2001:db8:2:{port + 1}::1"
    expected = dict.fromkeys([*near[:3], far], 1)
    with Strangers(host, port, how, [*near, far]) as strangers:
        await_true("the fourth to be refused", lambda: strangers.still_open() == expected)
    logs = host.containers["postfix"].logs
    assert f"connect from unknown[{near[0]}]" in logs()
    refused = f"Connection concurrency limit exceeded: 4 from unknown[{near[3]}]"
    await_true("the log to say so", lambda: refused in logs())


def test_silence_at_465_stops_neither_587_nor_465_for_long(host: MailHost) -> None:
    """With two hundred connections that say nothing, 587 serves everybody, and 465 others within seconds."""
    with Strangers(host, 465, "rush", ["127.0.3.1"] * 200) as strangers:
        assert strangers.tried == 200
        with host.submission(ANN, port=587) as smtp:
            assert smtp.noop()[0] == 250
        with host.submission(ANN, port=465) as smtp:
            assert smtp.noop()[0] == 250


def test_a_handshake_without_end_ends(host: MailHost) -> None:
    """A handshake of one octet per half second is ended; four of them would block all of 465."""
    with Strangers(host, 465, "drip", ["127.0.3.2"] * 4) as strangers:
        assert strangers.tried == 4
        await_true("all to be closed", lambda: not strangers.still_open())
    with host.submission(ANN, port=465) as smtp:
        assert smtp.noop()[0] == 250


def test_client_that_talks_nonsense_is_sent_away(host: MailHost) -> None:
    """After six errors 421 4.7.0, and the connection ends."""
    with host.submission() as smtp:
        assert [500] * 6 == [smtp.docmd("NONSENSE")[0] for _ in range(6)]
        code, text = smtp.getreply()
        assert (421, b"4.7.0") == (code, text[:5])
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.getreply()


def test_more_than_a_thousand_recipients_are_too_many(host: MailHost) -> None:
    """452 4.5.3 to the one that is too many (RFC 5321, 4.5.3.1.10)."""
    with host.submission(ANN) as smtp:
        smtp.mail(ANN)
        for number in range(1000):
            assert smtp.rcpt(f"r{number}@elsewhere.example")[0] == 250
        code, text = smtp.rcpt(OUTSIDE)
        assert (452, b"4.5.3") == (code, text[:5])


def test_headers_without_end_are_refused(host: MailHost, ses: SesEndpoint) -> None:
    """256 KB of headers together are enough: 552 5.3.4; a large one of 90 KB passes."""
    head = f"From: {ANN}\r\nSubject: heads\r\n"
    with host.submission(ANN) as smtp:
        large = "".join(f"X-{number}: {'x' * 900}\r\n" for number in range(100))
        assert {} == smtp.sendmail(ANN, [OUTSIDE], f"{head}{large}\r\nHello\r\n")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail(ANN, [OUTSIDE], f"{head}{large * 3}\r\nHello\r\n")
    assert (552, b"5.3.4") == (refused.value.smtp_code, refused.value.smtp_error[:5])
    await_true("the first to arrive", lambda: ses.relayed)
    assert [b"X-299" in each.content for each in ses.relayed] == [False]


def test_commands_are_cut_off_at_two_kilobytes(host: MailHost) -> None:
    """What is beyond is never kept, so a path that long has no end: 501 (RFC 5321, 4.5.3.1.4)."""
    with host.submission(ANN) as smtp:
        assert smtp.docmd(f"MAIL FROM:<{'x' * 3000}@example.org>")[0] == 501
        assert smtp.mail(ANN)[0] == 250


@contextlib.contextmanager
def imap_sessions(host: MailHost, count: int, user: str = ANN) -> Iterator[list[imaplib.IMAP4_SSL]]:
    """Provide this number of sessions of a user (ann), each with a mailbox open."""
    with contextlib.ExitStack() as open_ones:
        sessions = [open_ones.enter_context(host.imap(user)) for _ in range(count)]
        for session in sessions:
            assert session.select()[0] == "OK"
        yield sessions


def test_twenty_fifth_imap_session_of_a_user(host: MailHost) -> None:
    """NO [LIMIT]; other users are not concerned, and one that ends makes room."""
    with imap_sessions(host, 23), host.imap(ANN) as last:
        for _ in range(3):
            with pytest.raises(imaplib.IMAP4.error, match=r"\[LIMIT\] The user has 24 sessions"):
                host.imap(ANN)
        with host.imap(BEN) as other:
            assert other.noop()[0] == "OK"
        last.logout()
        with host.imap(ANN) as again:
            assert again.noop()[0] == "OK"


def test_a_thief_with_many_addresses_leaves_processes_to_others(host: MailHost) -> None:
    """Forty addresses with one password have 24 sessions together; a quarter of the processes stays for others."""
    sources = [f"127.0.4.{number}" for number in range(1, 41)]
    with Strangers(host, 993, f"user={ANN}", sources) as thief:
        assert sum(thief.still_open().values()) == SESSIONS
        with imap_sessions(host, PROCESSES - SESSIONS, BEN) as others:
            assert ["OK"] * len(others) == [each.noop()[0] for each in others]
        assert sum(thief.still_open().values()) == SESSIONS
        with pytest.raises(imaplib.IMAP4.error, match=r"\[LIMIT\]"):
            host.imap(ANN)
        assert "24 connections kicked" in host.containers["dovecot"].exec("doveadm", "kick", ANN)
    with host.imap(ANN) as client:
        assert client.noop()[0] == "OK"


def test_fifth_filter_editor_of_a_user(host: MailHost) -> None:
    """A user can have four of ManageSieve's ten processes."""
    port = host.containers["dovecot"].port(4190)
    first = [ManageSieve(port, host.tls(), ANN, PASSWORD) for _ in range(4)]
    with pytest.raises(AssertionError, match="The user has 4 sessions already"):
        ManageSieve(port, host.tls(), ANN, PASSWORD)
    ManageSieve(port, host.tls(), BEN, PASSWORD).close()
    first.pop().close()
    await_true("room for the next", lambda: not is_refused(host, port))
    for each in first:
        each.close()


def is_refused(host: MailHost, port: int) -> bool:
    """Return whether ann has no room for one more editor."""
    try:
        ManageSieve(port, host.tls(), ANN, PASSWORD).close()
    except AssertionError:
        return True
    return False


def test_imap_lines_without_end(host: MailHost) -> None:
    """64 KB a line: BAD for a user; for a stranger a few KB, and then BYE."""
    with host.imap(ANN) as client:
        client.select(readonly=True)
        with pytest.raises(imaplib.IMAP4.error, match="BAD.*Too long argument"):
            client.search(None, "SUBJECT", f'"{"x" * 100_000}"')
    port = host.containers["dovecot"].port(993)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        host.tls().wrap_socket(plain) as stranger,
    ):
        assert stranger.recv(1000).startswith(b"* OK")
        stranger.sendall(b"a LOGIN " + b"x" * 5000)
        assert stranger.recv(1000).startswith(b"* BYE Input buffer full")
