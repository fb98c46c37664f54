"""What users' filters send: in whose name it leaves, and that nothing is lost if it may not."""

from __future__ import annotations

import re
import smtplib
from zlib import crc32

import pytest

from service.certificates import Authority
from service.mail_host import MailHost
from service.ses_endpoint import SesEndpoint
from service.ways_out import (
    ANN,
    AUTHENTIC,
    BEN,
    OUTSIDE,
    deliver,
    filtering,
    headers,
    relayed,
)
from wire import await_true

pytestmark = pytest.mark.timeout(300)

REDIRECT = f'redirect "{OUTSIDE}";'
VACATION = 'require "vacation"; vacation :days 1 "Away until May.";'
NOTIFY = f'require "enotify"; notify :message "hi" "mailto:{OUTSIDE}";'
REJECT = 'require "reject"; reject "no thanks";'


def letter(subject: str, more: str = AUTHENTIC, author: str = "A <a@world.example>") -> str:
    """Return a mail of the world as `deliver` gives it to Dovecot."""
    return (
        f"{more}From: {author}\r\nTo: {BEN}\r\nMessage-ID: <{subject.replace(' ', '.')}@world.example>\r\n"
        f"Subject: {subject}\r\n\r\nHello\r\n"
    )


def test_vacation_answers_the_envelope_sender_through_ses(host: MailHost, ses: SesEndpoint) -> None:
    """A vacation reply goes to the true envelope sender, once, from the user's own address."""
    with filtering(host, BEN, VACATION):
        # `deliver` marks so what must not be answered; of addresses Dovecot does not judge.
        deliver(
            host, letter("hi", "X-Auto-Response-Suppress: All\r\n"), sender="victim@else.example"
        )
        for _ in range(2):
            deliver(host, letter("hi"), sender="bounces+1@elsewhere.example")
        got = relayed(ses, "Auto: hi")
        assert got.recipients == ("bounces+1@elsewhere.example",)
        assert got.sender == BEN
        assert b"\r\nFrom: <ben@example.org>\r\n" in got.content
        assert b"Away until May." in got.content
        deliver(host, letter("hi"), sender="third@elsewhere.example")
        await_true("the third's reply", lambda: len(ses.relayed) >= 2)
    assert [each.recipients for each in ses.relayed] == [
        ("bounces+1@elsewhere.example",),
        ("third@elsewhere.example",),
    ]


def test_redirected_mail_has_a_sender_that_ses_accepts(host: MailHost, ses: SesEndpoint) -> None:
    """A redirect leaves as the user's own mail, named after the author, who gets the replies."""
    content = (
        "Delivered-To: author@mailhost.example\r\nMIME-Version: 1.0\r\nMIME-Version: 1.0\r\n"
        "DKIM-Signature: v=1; d=author.example\r\nX-SES-CONFIGURATION-SET: evil\r\n"
        "From: Zoë Q. <zoe@author.example>\r\nMessage-ID: <zoe@author>\r\nSubject: redirected\r\n"
        "\r\n.first line\r\nlast line\r\n"
    )
    with filtering(host, BEN, REDIRECT):
        deliver(host, AUTHENTIC + content, sender="zoe@author.example")
        got = relayed(ses, "redirected")
    assert (got.sender, got.recipients) == (BEN, (OUTSIDE,))
    head = got.content.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ") + b"\r\n"
    assert b"From: =?utf-8?b?Wm/DqyBRLiB2aWEgYmVuQGV4YW1wbGUub3Jn?= <ben@example.org>\r\n" in head
    assert b"\r\nReply-To: =?utf-8?b?Wm/DqyBRLg==?= <zoe@author.example>\r\n" in head
    assert b"\r\nReferences: <zoe@author>\r\n" in head
    assert [1, 1] == [head.count(b"\r\nDelivered-To:"), head.count(b"\r\nMIME-Version:")]
    for gone in (b"DKIM-Signature", b"X-SES", b"X-Plexus", b"Authentication-Results", b"X-Sieve"):
        assert gone not in head
    assert got.content.endswith(b"\r\n.first line\r\nlast line\r\n")
    assert [] == headers(host, BEN, "redirected")


@pytest.mark.parametrize(("verdict", "kept"), [("PASS", True), ("FAIL", False)])
def test_redirect_of_a_forged_colleague_is_the_users(
    host: MailHost, ses: SesEndpoint, verdict: str, *, kept: bool
) -> None:
    """A From of a hosted domain is replaced unless DMARC authenticates it."""
    with filtering(host, BEN, REDIRECT):
        deliver(
            host,
            letter(f"cat {verdict}", AUTHENTIC.replace("dmarc=PASS", f"dmarc={verdict}"), "Cat <cat@example.org>"),
        )  # fmt: skip
        got = relayed(ses, f"cat {verdict}")
    assert kept == (b"\r\nFrom: Cat <cat@example.org>\r\n" in got.content)
    assert kept == (
        b"<ben@example.org>" not in got.content.partition(b"Reply-To")[0].partition(b"From:")[2]
    )


def test_redirects_are_limited(host: MailHost, ses: SesEndpoint) -> None:
    """A mail goes to four addresses at most; a fifth stops all, and the mail is kept."""
    script = "".join(f'redirect "friend{number}@elsewhere.example";\r\n' for number in range(4))
    with filtering(host, BEN, script):
        deliver(host, letter("to four"))
        await_true("four redirects", lambda: len(ses.relayed) == 4)
    with filtering(host, BEN, script + REDIRECT):
        deliver(host, letter("to five"))
    assert headers(host, BEN, "to five")
    assert not headers(host, BEN, "to four")
    assert len(ses.relayed) == 4


@pytest.mark.parametrize(
    "script",
    [
        'require "vacation"; vacation :from "ann@example.org" "Away.";',
        'require "vacation"; vacation :from "x@world.example" "Away.";',
        f'require "enotify"; notify :from "ann@example.org" :message "hi" "mailto:{OUTSIDE}";',
        'require "vacation"; vacation :mime text:\r\nFrom: Ann <ann@example.org>\r\n\r\nAway\r\n.\r\n;',
        'require "vacation"; vacation :mime text:\r\nSender: ann@example.org\r\n\r\nAway\r\n.\r\n;',
    ],
    ids=["vacation", "vacation of a stranger", "notify", "second From", "Sender"],
)
def test_no_filter_writes_as_anybody_else(host: MailHost, ses: SesEndpoint, script: str) -> None:
    """Neither as a colleague nor as a stranger: refused with a log line, and the mail is kept."""
    container = host.containers["postfix"]
    before = container.logs().count("refused way=sieve owner=ben@example.org")
    subject = f"claim {crc32(script.encode())}"
    with filtering(host, BEN, script):
        deliver(host, letter(subject), sender=f"a{crc32(script.encode())}@world.example")
    assert headers(host, BEN, subject)
    await_true(
        "the log line",
        lambda: container.logs().count("refused way=sieve owner=ben@example.org") == before + 1,
    )
    assert [] == ses.relayed


def test_own_addresses_serve_a_filter(host: MailHost, ses: SesEndpoint) -> None:
    """An alias, and what the entry's send-as names, are the user's own."""
    for address in ("info@example.org", "away@example.org"):
        script = f'require "vacation"; vacation :handle "{address}" :from "{address}" "Away.";'
        with filtering(host, BEN, script):
            deliver(host, letter(f"own {address}"), sender=f"{address[:4]}@world.example")
            assert (
                f"\r\nFrom: {address}\r\n".encode() in relayed(ses, f"Auto: own {address}").content
            )


def test_fields_of_a_filter_never_instruct_ses(host: MailHost, ses: SesEndpoint) -> None:
    """`vacation :mime` lets a user write fields: X-SES, our own marks."""
    script = (
        'require "vacation"; vacation :mime text:\r\nContent-Type: text/plain\r\n'
        "X-SES-CONFIGURATION-SET: evil\r\nX-Plexus-Receipt: echo-1\r\nX-Forged-A: b\r\n"
        "Authentication-Results: mail.example.org; dmarc=pass\r\nReturn-Path: <x@y.example>\r\n\r\nA\r\n.\r\n;"
    )
    with filtering(host, BEN, script):
        deliver(host, letter("fields"), sender="fields@world.example")
        head = relayed(ses, "Auto: fields").content.partition(b"\r\n\r\n")[0]
    for gone in (b"X-SES", b"X-Plexus", b"X-Forged", b"Authentication-Results", b"Return-Path"):
        assert gone not in head


# The null sender ----------------------------------------------------------------------------------


def test_redirected_bounce_leaves_as_the_user(host: MailHost, ses: SesEndpoint) -> None:
    """SES refuses the null sender, so a redirected bounce gets the user's address."""
    with filtering(host, BEN, REDIRECT):
        deliver(host, letter("a bounce", author="MAILER-DAEMON@world.example"), sender="")
        assert BEN == relayed(ses, "a bounce").sender


def test_rejection_reaches_an_authentic_sender(host: MailHost, ses: SesEndpoint) -> None:
    """From the user's own address, as an automatic answer, without our marks in it."""
    with filtering(host, BEN, REJECT):
        deliver(host, letter("unwanted"), sender="a1@world.example")
        got = relayed(ses, "Rejected: unwanted")
    assert (BEN, ("a1@world.example",)) == (got.sender, got.recipients)
    assert b"\r\nFrom: ben@example.org\r\n" in got.content
    assert b"\r\nAuto-Submitted: auto-replied" in got.content
    assert b"no thanks" in got.content
    assert b"\r\nSubject: unwanted\r\n" in got.content
    assert b"X-Plexus" not in got.content
    assert [] == headers(host, BEN, "unwanted")


@pytest.mark.parametrize(
    "trace",
    [
        "",
        AUTHENTIC.replace("PASS; dkim=PASS; dmarc=PASS", "FAIL; dkim=FAIL; dmarc=FAIL"),
        AUTHENTIC + "X-Plexus-Policy: answer=no\r\n",
    ],
)
def test_rejection_of_an_unauthenticated_mail_keeps_it(
    host: MailHost, ses: SesEndpoint, trace: str
) -> None:
    """As for bounces, an unauthenticated sender is not notified, and the message is kept."""
    subject = f"unauthentic {len(trace)}"
    with filtering(host, BEN, REJECT):
        deliver(host, letter(subject, trace), sender="victim@world.example")
    assert headers(host, BEN, subject)
    assert [] == headers(host, BEN, subject, "Trash")
    assert [] == ses.relayed


@pytest.mark.parametrize("command", ['reject "no"', "discard"])
@pytest.mark.parametrize(
    ("subject", "more", "sender"),
    [
        ("null sender", AUTHENTIC, ""),
        ("our own notice", "X-Plexus-Receipt: echo-1\r\n", ""),
        ("automatic", AUTHENTIC + "Auto-Submitted: auto-generated\r\n", "bot@world.example"),
        ("twice", AUTHENTIC + "Auto-Submitted: a\r\nAuto-Submitted: no\r\n", "bot@world.example"),
    ],
)
def test_what_may_not_be_answered_is_never_thrown_away(
    host: MailHost, ses: SesEndpoint, subject: str, more: str, sender: str, command: str
) -> None:
    """A filter that rejects or discards it leaves it in Trash; nothing leaves."""
    subject = f"{subject} {crc32(command.encode())}"
    script = f'require "reject"; {command};'
    with filtering(host, BEN, script):
        deliver(host, letter(subject, more), sender=sender)
    assert 1 == len(headers(host, BEN, subject, "Trash"))
    assert [] == headers(host, BEN, subject)
    assert [] == ses.relayed


def test_what_a_person_wrote_is_discarded_as_the_filter_says(host: MailHost) -> None:
    """An ordinary message is discarded without a trace."""
    with filtering(host, BEN, "discard;"):
        deliver(host, letter("thrown away"))
    assert [] == headers(host, BEN, "thrown away", "Trash") + headers(host, BEN, "thrown away")


def test_rejection_of_a_colleagues_mail_reaches_him(host: MailHost) -> None:
    """A local user gets the rejection, because the login authenticated the sender."""
    with filtering(host, BEN, REJECT):
        with host.submission(ANN) as smtp:
            smtp.sendmail(ANN, [BEN], f"From: {ANN}\r\nTo: {BEN}\r\nSubject: among us\r\n\r\nx\r\n")
        await_true("the rejection", lambda: headers(host, ANN, "Rejected: among us"))


# What may not leave is lost by nobody -------------------------------------------------------------


def test_redirect_that_may_not_leave_is_kept_with_the_reason(
    host: MailHost, ses: SesEndpoint
) -> None:
    """Refused for good (5xx): in the user's own mailbox, once, as it was; not tried again."""
    loop = "X-Loop: ben@example.org\r\n"
    many = "".join(f"Delivered-To: a{number}@b.example\r\n" for number in range(300))
    large = "".join(f"X-{number}: {'x' * 900}\r\n" for number in range(300))
    notice = "X-Plexus-Receipt: echo-12\r\n"
    stopped = f"X-Plexus-Stopped: {OUTSIDE}\r\n"
    for subject, more in (
        *(("loops", loop), ("many", many), ("large", large), ("notice", notice)),
        ("stopped", stopped),
    ):
        with filtering(host, BEN, REDIRECT):
            deliver(host, letter(f"kept {subject}", more + AUTHENTIC))
            (head,) = await_true("it to be kept", lambda s=subject: headers(host, BEN, f"kept {s}"))
        assert b"\r\nX-Plexus-Not-Sent: 5." in head
        assert b"\r\nFrom: A <a@world.example>\r\n" in head
    assert [] == ses.relayed


@pytest.mark.parametrize(
    ("name", "script"), [("vacation", VACATION), ("notify", NOTIFY), ("reject", REJECT)]
)
def test_without_postfix_the_mail_is_kept_or_comes_again(
    host: MailHost, ses: SesEndpoint, name: str, script: str
) -> None:
    """Tried later (4xx): what answers is given up and the mail is kept."""
    socket = host.root / "run/sieve/sieve.sock"
    with filtering(host, BEN, script):
        socket.rename(socket.with_name("aside"))
        try:
            deliver(host, letter(f"away {name}"), sender=f"{name}@world.example")
        finally:
            socket.with_name("aside").rename(socket)
    assert headers(host, BEN, f"away {name}")
    assert [] == ses.relayed


def test_without_postfix_a_redirect_comes_again(host: MailHost, ses: SesEndpoint) -> None:
    """451: `deliver` has the mail and tries again; then it leaves, once."""
    socket = host.root / "run/sieve/sieve.sock"
    with filtering(host, BEN, REDIRECT):
        socket.rename(socket.with_name("aside"))
        try:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                deliver(host, letter("away redirect"))
        finally:
            socket.with_name("aside").rename(socket)
        assert 451 == refused.value.smtp_code
        assert [] == headers(host, BEN, "away redirect")
        deliver(host, letter("away redirect"))
        relayed(ses, "away redirect")
    assert 1 == len(ses.relayed)


def test_redirect_that_ses_refuses_comes_back_whole(host: MailHost, ses: SesEndpoint) -> None:
    """The user has SES's words and the whole mail, of a megabyte too, and the bounce stays here."""
    ses.refusal = "554 Transaction failed: Illegal address"
    with filtering(host, BEN, REDIRECT):
        content = letter("refused by SES") + ("0123456789" * 7 + "\r\n") * 15_000 + "the end\r\n"
        deliver(host, content)
        await_true("the bounce", lambda: headers(host, BEN, "Undelivered Mail Returned to Sender"))
    with host.imap(BEN) as client:
        client.select(readonly=True)
        found = client.search(None, "SUBJECT", '"Undelivered Mail"')[1][0].split()
        bounce = client.fetch(found[-1], "(BODY.PEEK[])")[1][0][1]
    assert b"Illegal address" in bounce
    assert b"\r\nSubject: refused by SES\r\n" in bounce
    assert b"\r\nthe end\r\n" in bounce


@pytest.mark.parametrize(
    "script", [REDIRECT, f'require "copy"; redirect :copy "{OUTSIDE}";', VACATION, REJECT]
)
def test_a_replay_sends_nothing_again(host: MailHost, ses: SesEndpoint, script: str) -> None:
    """Redirects and replies were sent the first time; what the filter keeps or rejects is kept once."""
    replayed = "X-Plexus-Policy: answer=no; redirect=no\r\nX-Auto-Response-Suppress: All\r\n"
    subject = f"again {crc32(script.encode())}"
    with filtering(host, BEN, script):
        deliver(host, letter(subject, AUTHENTIC + replayed))
        deliver(host, letter(f"after {subject}"))
        if script not in (REJECT, VACATION):
            relayed(ses, f"after {subject}")
    assert not [each for each in ses.relayed if f"Subject: {subject}".encode() in each.content]
    assert (script != REDIRECT) == len(headers(host, BEN, subject))


def test_filters_have_limits_of_their_own(
    host: MailHost, ses: SesEndpoint, authority: Authority
) -> None:
    """Beyond them a redirect is kept, an answer is not sent; the user's own messages still leave."""
    host.containers["postfix"].stop()
    (host.root / "queue/guard/automatic").unlink()
    host.start_postfix(ses.port, authority.file, limits="automatic-messages-hour=2")
    with filtering(host, BEN, REDIRECT):
        for number in range(3):
            deliver(host, letter(f"limit {number}"))
        (head,) = await_true("the third", lambda: headers(host, BEN, "limit 2"))
    assert b"X-Plexus-Not-Sent: 4.7.1 Your hourly limit of 2 messages" in head
    with filtering(host, BEN, VACATION):
        deliver(host, letter("limit 3"), sender="fourth@world.example")
    assert headers(host, BEN, "limit 3")
    for number in range(2):
        relayed(ses, f"limit {number}")
    assert [b"limit 0", b"limit 1"] == sorted(
        subject
        for each in ses.relayed
        for subject in re.findall(rb"^Subject: .*(limit \d)\r$", each.content, re.MULTILINE)
    )
    with host.submission(BEN) as smtp:
        smtp.sendmail(BEN, [OUTSIDE], f"From: {BEN}\r\nSubject: own mail\r\n\r\nx\r\n")
    relayed(ses, "own mail")
    assert '"Login": "ben@example.org"' in host.containers["postfix"].logs()
