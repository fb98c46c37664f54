"""What leaves by submission, by an alias and from Postfix itself, through real Postfix to an SES endpoint."""

from __future__ import annotations

import re
import smtplib
import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from outgoing_headers import header_blocks
from service.any_header import FILTERS, WAYS, kept, marks, sent
from service.certificates import Authority
from service.mail_host import STACK, MailHost
from service.ses_endpoint import SesEndpoint
from service.ways_out import ANN, AUTHENTIC, BEN, OUTSIDE, filtering, forward, headers, relayed
from wire import await_true

pytestmark = pytest.mark.timeout(300)


def submit(
    host: MailHost, content: str | bytes, *to: str, sender: str = ANN, login: str = ANN
) -> None:
    """Submit a user's mail."""
    content = content.encode() if isinstance(content, str) else content
    with host.submission(login) as smtp:
        smtp.sendmail(sender, list(to) or [OUTSIDE], content)


def test_forward_of_a_forwarded_mail_leaves(host: MailHost, ses: SesEndpoint) -> None:
    """A second Delivered-To, two MIME-Version, List-Unsubscribe-Post twice: each leaves once."""
    forward(
        host,
        AUTHENTIC
        + "Return-Path: <a@world.example>\r\nDelivered-To: away@example.org\r\n"
        + "Delivered-To: author@mailhost.example\r\nMIME-Version: 1.0\r\nMIME-Version: 1.0\r\n"
        + "List-Unsubscribe-Post: a\r\nList-Unsubscribe-Post: a\r\nX-SES-SOURCE-ARN: evil\r\n" * 2
        + "From: A <a@world.example>\r\nSubject: t01\r\n\r\nx\r\n",
    )
    head = relayed(ses, "t01").content.partition(b"\r\n\r\n")[0]
    assert [b"away@example.org"] == re.findall(rb"(?m)^Delivered-To: (.*?)\r?$", head)
    for name in (b"Delivered-To", b"MIME-Version", b"List-Unsubscribe-Post"):
        assert 1 == len(re.findall(rb"(?m)^" + name + b":", head))
    assert b'\r\nFrom: "A via away@example.org" <away@example.org>\r\n' in head
    assert b"X-SES" not in head
    assert b"X-Plexus" not in head


@pytest.mark.parametrize("owner", ["", "a@world.example"])
def test_nothing_leaves_without_an_owner(host: MailHost, ses: SesEndpoint, owner: str) -> None:
    """On the socket of `deliver` only what it says is an alias's."""
    with pytest.raises(smtplib.SMTPDataError) as refused:
        forward(host, "From: a@world.example\r\nSubject: nobody's\r\n\r\nx\r\n", owner)
    assert 550 == refused.value.smtp_code
    assert [] == ses.relayed


def test_twenty_thousand_fields_end_nothing(host: MailHost, ses: SesEndpoint) -> None:
    """They are refused, or removed in linear time, and Postfix continues."""
    many = "X-SES-A: b\r\n" * 20_000
    forward(host, f"{many}From: a@world.example\r\nSubject: many instructions\r\n\r\nx\r\n")
    assert b"X-SES" not in relayed(ses, "many instructions").content
    many = "Delivered-To: a@b.example\r\n" * 9_000
    with pytest.raises(smtplib.SMTPDataError) as refused:
        forward(host, f"{many}From: a@world.example\r\nSubject: many others\r\n\r\nx\r\n")
    assert refused.value.smtp_code == 550


def test_same_text_again_and_again_is_a_loop(host: MailHost, ses: SesEndpoint) -> None:
    """Where the other side writes a new header each time: the 21st within an hour is refused."""
    for number in range(20):
        forward(host, f"From: a@b.example\r\nSubject: again {number}\r\n\r\nround and round\r\n")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        forward(host, "From: a@b.example\r\nSubject: again 20\r\n\r\nround and round\r\n")
    assert b"5.4.6" in refused.value.smtp_error
    await_true("the twenty", lambda: len(ses.relayed) == 20)


def test_a_long_list_of_addresses_leaves_whole_or_is_refused(
    host: MailHost, ses: SesEndpoint
) -> None:
    """Postfix gives a milter 60,000 octets of a field, and cuts it after 100 KB, without a word."""
    for form, count in (("user{:06d}@world.example", 2_000), ("u{:04d}@b.example", 3_000)):
        to = ",\r\n ".join(form.format(number) for number in range(count))
        mail = f"From: {ANN}\r\nTo: {{}}\r\nSubject: to {count}\r\n\r\nx\r\n"
        submit(host, mail.format(to))
        assert count == relayed(ses, f"to {count}").content.count(form[-10:].encode())
        for times in (2, 6):
            with pytest.raises(smtplib.SMTPDataError) as refused:
                submit(host, mail.format(",\r\n ".join([to] * times)))
            assert 552 == refused.value.smtp_code


def test_smtputf8_is_not_offered(host: MailHost) -> None:
    """It is not offered, because SES would refuse such a message after our 250."""
    with host.submission(ANN) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("smtputf8")
        assert 555 == smtp.docmd("MAIL", f"FROM:<{ANN}> SMTPUTF8")[0]


def test_read_receipt_leaves_as_the_user(host: MailHost, ses: SesEndpoint) -> None:
    """An MDN has the null sender (RFC 8098), which SES refuses."""
    submit(host, f"From: {ANN}\r\nSubject: read\r\n\r\nx\r\n", sender="")
    assert ANN == relayed(ses, "read").sender


def test_long_line_leaves_encoded(host: MailHost, ses: SesEndpoint) -> None:
    """It is encoded, and reads the same outside and in a local mailbox."""
    text = "Grüße-" * 900
    submit(
        host,
        f"From: {ANN}\r\nSubject: long\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n",
        OUTSIDE,
        BEN,
    )
    content = relayed(ses, "long").content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    read = message_from_bytes(content, policy=policy.default)
    assert text == read.get_content().strip()
    await_true("ben's copy", lambda: headers(host, BEN, "long"))


def test_a_signature_still_verifies_or_is_refused(
    host: MailHost, ses: SesEndpoint, authority: Authority
) -> None:
    """Signed dots, blanks and 8-bit text leave unchanged; a line to be re-encoded is refused."""
    certificate, key = authority.issue("ann.example.org")

    def openssl(*words: str | Path, given: bytes) -> bytes:
        done = subprocess.run(
            ["openssl", "cms", *words], input=given, capture_output=True, check=True
        )
        return done.stdout

    def signed(text: str) -> bytes:
        part = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        more = ("-sign", "-signer", certificate, "-inkey", key, "-binary")
        whole = openssl(*more, given=part + text.encode())
        head = f"From: {ANN}\r\nSubject: signed {len(text)}\r\n".encode()
        return head + re.sub(rb"\r?\n", b"\r\n", whole)

    text = f".\r\n..dots \r\nFrom me\r\nGrüße \t\r\n{'x' * 998}\r\n"
    submit(host, signed(text))
    left = relayed(ses, f"signed {len(text)}").content
    read = openssl("-verify", "-noverify", "-CAfile", authority.file, given=left)
    assert read.endswith(text.encode())
    with pytest.raises(smtplib.SMTPDataError) as refused:
        submit(host, signed("Grüße " * 300 + "\r\n"))
    assert 554 == refused.value.smtp_code
    assert b"quoted-printable" in refused.value.smtp_error
    # What an alias sends on arrives, if only with a broken signature.
    forward(host, signed("Grüße " * 301 + "\r\n"))
    left = relayed(ses, f"signed {301 * 6 + 2}").content
    assert max(map(len, left.split(b"\r\n"))) <= 998


@pytest.fixture(scope="module")
def neighbours(host: MailHost) -> Iterator[None]:
    """Add mailboxes beside ann's catch-all of example.net, and in an international domain."""
    password = STACK["mailboxes"][0]["password-hash"]
    more = [
        {"address": address, "password-hash": password}
        for address in ("dan@example.net", "eva@straße.example")
    ]
    host.write_directory(
        STACK
        | {
            "domains": [*STACK["domains"], "straße.example"],
            "mailboxes": [*STACK["mailboxes"], *more],
        }
    )

    def known() -> bool:
        with host.submission(ANN) as smtp:
            smtp.mail(ANN)
            there = smtp.rcpt("eva@xn--strae-oqa.example")[0] == 250
            smtp.rset()
            smtp.mail("dan@example.net")
            return there and smtp.rcpt(OUTSIDE)[0] == 553

    await_true("the directory to be followed", known)
    yield
    host.write_directory()


QUOTED = [
    *(
        "dan",
        '"dan"',
        '"DAN"',
        '"dan+x"',
        r'"d\an"',
        '"dan "',
        '" dan"',
        '"dan+"',
        "dan(x)",
        r"d\an",
    ),
    *("@a.example:dan", "dan ", '""dan', 'da"n"', '"da"n', '"dan"+x'),
]


@pytest.mark.usefixtures("neighbours")
def test_a_quoted_address_is_the_same_mailbox(host: MailHost, ses: SesEndpoint) -> None:
    """A quoted spelling of another user's address belongs to that user, not to the catch-all's owner."""
    for local in QUOTED:
        address = f"{local}@example.net"
        with host.submission(ANN) as smtp:
            smtp.docmd("MAIL", f"FROM:<{address}>")
            smtp.docmd("RCPT", f"TO:<{OUTSIDE}>")
            code = smtp.docmd("DATA")[0]
            if code == 354:
                smtp.send(f"From: {ANN}\r\nSubject: envelope\r\n\r\nx\r\n.\r\n")
                code = smtp.getreply()[0]
            assert code in {501, 503, 550, 553, 554}, (address, code)
        with pytest.raises(smtplib.SMTPDataError):
            submit(host, f"From: {address}\r\nSubject: header\r\n\r\nx\r\n")
    with host.submission(ANN) as smtp:
        for local in ("dan", '"DAN"', '"dan+x"', r'"d\an"'):
            content = f"From: {ANN}\r\nSubject: to {local}\r\n\r\nx\r\n"
            assert {} == smtp.sendmail(ANN, [f"{local}@example.net"], content)
    for local in ("dan", '"DAN"', '"dan+x"', r'"d\an"'):
        await_true(local, lambda subject=f"to {local}": headers(host, "dan@example.net", subject))
        assert [] == headers(host, ANN, f"to {local}")
    assert [] == ses.relayed


@pytest.mark.usefixtures("neighbours")
def test_a_from_in_unicode_is_the_users_own(host: MailHost, ses: SesEndpoint) -> None:
    """As typed, composed or not; it leaves in A-labels. Another's domain that looks like it does not."""
    eva = "eva@xn--strae-oqa.example"
    for number, domain in enumerate(("straße.example", "STRAßE.example", "xn--strae-oqa.EXAMPLE")):
        content = f"From: Eva <eva@{domain}>\r\nSubject: street {number}\r\n\r\nx\r\n".encode()
        submit(host, content, sender=eva, login=eva)
        sent = message_from_bytes(relayed(ses, f"street {number}").content)
        assert f"Eva <{eva}>" == sent["From"].lower().replace("eva <", "Eva <")
    with pytest.raises(smtplib.SMTPDataError):
        submit(host, "From: eva@strasse.example\r\n\r\nx\r\n", sender=eva, login=eva)


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [("eva@straße.example", 501, b"xn--"), ("jö@example.org", 553, b"Only ASCII is taken")],
)
def test_an_envelope_in_unicode_is_told_how_to_write_it(
    host: MailHost, path: str, code: int, says: bytes
) -> None:
    """As sender and as recipient, in UTF-8 and Latin-1: SES takes none, so none is taken first."""
    for octets in (path.encode(), path.encode("latin-1")):
        for sender, recipient in ((octets, OUTSIDE.encode()), (ANN.encode(), octets)):
            with host.submission(ANN) as smtp:
                smtp.sock.sendall(b"MAIL FROM:<%b>\r\n" % sender)
                said = smtp.getreply()
                if said[0] == 250:
                    smtp.sock.sendall(b"RCPT TO:<%b>\r\n" % recipient)
                    said = smtp.getreply()
                assert (code, True) == (said[0], says in said[1]), said


def test_resent_from_is_no_from(host: MailHost, ses: SesEndpoint) -> None:
    """Postfix adds no From to what is sent again; the user's own is added."""
    submit(host, "Resent-From: x@y.example\r\nSubject: again\r\n\r\nx\r\n", OUTSIDE, BEN)
    assert b"\r\nFrom: ann@example.org\r\n" in relayed(ses, "again").content
    (copy,) = await_true("ben's copy", lambda: headers(host, BEN, "again"))
    assert b"\r\nFrom: ann@example.org\r\n" in copy


def test_conversation_with_somebody_outside_is_one_thread(host: MailHost, ses: SesEndpoint) -> None:
    """Two of us and one outside: his answer names SES's id, and joins everybody's copy."""
    own, ses_id = "<a1@laptop.example.org>", "<0100-1@email.amazonses.com>"
    content = f"From: {ANN}\r\nMessage-ID: {own}\r\nSubject: plan\r\n\r\nx\r\n"
    with host.imap(ANN) as client:
        client.append("Sent", None, None, content.encode())
    submit(host, content, OUTSIDE, BEN, "info@example.org")
    left = message_from_bytes(relayed(ses, "plan").content, policy=policy.default)
    await_true("the copies", lambda: headers(host, BEN, "plan") and headers(host, ANN, "plan"))
    answer = (
        f"From: friend@elsewhere.example\r\nMessage-ID: <f1@elsewhere.example>\r\nSubject: other\r\n"
        f"In-Reply-To: {ses_id}\r\nReferences: {left['References']} {ses_id}\r\n\r\nx\r\n"
    )
    for address in (ANN, BEN):
        with host.lmtp() as lmtp:
            lmtp.sendmail("friend@elsewhere.example", [address], answer)
        with host.imap(address) as client:
            client.select("INBOX")
            found = client.search(None, "OR", "SUBJECT", "plan", "SUBJECT", "other")[1][0].split()
            for kind in ("REFERENCES", "REFS"):
                threads = client.thread(kind, "UTF-8", "OR SUBJECT plan SUBJECT other")[1][0]
                depths = [
                    threads[:end].count(b"(") - threads[:end].count(b")")
                    for end in range(len(threads))
                ]
                assert 1 == depths.count(0), threads
                assert set(re.findall(rb"\d+", threads)) == set(found)


def test_notice_of_postfix_that_would_leave_stays_here(host: MailHost, ses: SesEndpoint) -> None:
    """The bounce for an address that leads outside goes to who may send as it, or to the first mailbox."""
    ses.refusal = "554 Transaction failed: Illegal address"
    submit(
        host,
        "From: away@example.org\r\nSubject: by away\r\n\r\nx\r\n",
        sender="away@example.org",
        login=BEN,
    )
    await_true("ben's", lambda: headers(host, BEN, "Undelivered Mail Returned to Sender"))
    before = len(headers(host, ANN, "Undelivered Mail Returned to Sender"))
    forward(host, "From: a@world.example\r\nSubject: refused forward\r\n\r\nx\r\n")
    await_true(
        "the operator's",
        lambda: len(headers(host, ANN, "Undelivered Mail Returned to Sender")) > before,
    )
    assert "Mail queue is empty" in await_true(
        "an empty queue",
        lambda: "empty" in (said := host.containers["postfix"].exec("postqueue", "-p")) and said,
    )


def test_guard_stays_small(host: MailHost) -> None:
    """What is loaded stays in memory as long as Postfix runs, so it loads nothing dear."""
    program = "import sys, submission_guard; print(*sys.modules)"
    loaded = host.containers["postfix"].exec("python3", "-c", program).split()
    assert "postal_plexus.mail.outgoing.rules" in loaded
    assert not {"dataclasses", "email", "json", "pathlib", "socket", "typing"} & set(loaded)


def test_any_header_is_taken_by_ses_or_somebody_is_told(host: MailHost, ses: SesEndpoint) -> None:
    """Forty headers; SES refuses nothing, and each mail has left, or is kept, or was refused at once.

    The pure property (`test_any_header_gives_what_ses_takes_or_a_refusal`) tries thousands; these show
    that Dovecot and Postfix hand over what the rules think they do.
    """
    taken: dict[str, list[str]] = {way: [] for way in WAYS}
    refused: dict[str, list[str]] = {way: [] for way in WAYS}
    blocks = list(enumerate(header_blocks(40)))
    for place, way in enumerate(WAYS):

        def send(way: str = way, place: int = place) -> None:
            for number, header in blocks[place :: len(WAYS)]:
                mark = f"{way}-{number}"
                (taken if sent(host, way, mark, header) else refused)[way].append(mark)

        if way in FILTERS:
            with filtering(host, BEN, FILTERS[way]):
                send()
        else:
            send()
    assert all(taken.values()), "each way lets some pass"
    assert refused["submission"]
    await_true(
        "an empty queue",
        lambda: "empty" in host.containers["postfix"].exec("postqueue", "-p"),
    )
    left = [mark for mail in ses.relayed for mark in marks(mail.content)]
    here = kept(host)
    assert [] == ses.refused
    for mark in taken["submission"] + taken["forward"]:
        assert 1 == left.count(mark)
    for mark in taken["redirect"]:
        assert (mark in left) != (mark in here)
        assert mark in left or b"\r\nX-Plexus-Not-Sent: " in here[mark]
    for mark in taken["vacation"]:
        assert mark in here, "the mail itself is kept, answered or not"
    for mark in taken["reject"]:
        assert (mark in left) != (mark in here)
