"""Content is never interpreted as commands, by submission, the containers' socket, or a filter.

A mail that could end itself early would be followed by commands of its author's choice, and what these
send leaves with our name and signature.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from service.mail_host import MailHost
from service.ses_endpoint import SesEndpoint
from service.ways_out import OUTSIDE, filtering, inject
from wire import await_true

pytestmark = pytest.mark.timeout(300)

VICTIM = "victim@elsewhere.example"
HIDDEN = (
    f"MAIL FROM:<cat@example.org>\r\nRCPT TO:<{VICTIM}>\r\nDATA\r\n"
    "From: Cat <cat@example.org>\r\nSubject: smuggled\r\n\r\nNobody wrote this.\r\n.\r\n"
).encode()
# By BDAT a mail has its length, so that what is hidden needs no end of its own.
HIDDEN_CHUNK = (
    f"MAIL FROM:<cat@example.org>\r\nRCPT TO:<{VICTIM}>\r\nBDAT 39 LAST\r\n"
    "From: Cat <cat@example.org>\r\n\r\nHello.\r\n"
).encode()
# What some server somewhere takes for the end of a mail, after "line" and before a command.
ENDS = [
    *(b"\r\n.\r\n", b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r"),
    *(b"\r\n.\x00\r\n", b"\r\n\x00.\r\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\r.\n\r"),
    *(b"\x0b.\x0b", b"\x85.\x85", b"\xc2\x85.\xc2\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x8d\x8a.\x8d\x8a"),
    *(b"\r\n..\r\n", b"\r\n.\r\n.\r\n"),
]  # fmt: skip


def contents(author: str = "ann@example.org") -> Iterator[tuple[str, bytes]]:
    """(subject, content) with each end in the header and in the body, and both kinds of commands."""
    for number, end in enumerate(ENDS):
        for hidden in (HIDDEN, HIDDEN_CHUNK):
            kind = "chunk" if hidden is HIDDEN_CHUNK else "lines"
            head = f"Message-ID: <{number}@world.example>\r\nFrom: {author}\r\n".encode()
            subject = f"head {number} {kind}"
            yield (
                subject,
                b"".join(
                    (
                        head,
                        b"Subject: ",
                        subject.encode(),
                        b"\r\nX-Note: a line",
                        end,
                        hidden,
                        f"\r\nEnd of {subject}\r\n".encode(),
                    )
                ),
            )
            subject = f"body {number} {kind}"
            yield (
                subject,
                b"".join(
                    (
                        head,
                        b"Subject: ",
                        subject.encode(),
                        b"\r\n\r\nA line",
                        end,
                        hidden,
                        f"\r\nEnd of {subject}\r\n".encode(),
                    )
                ),
            )


def stuffed(content: bytes) -> bytes:
    """Dot-stuff lines that end in CRLF, as for DATA (RFC 5321, section 4.5.2)."""
    return (b"." if content.startswith(b".") else b"") + content.replace(b"\r\n.", b"\r\n..")


def hand_over(
    client: smtplib.SMTP, sender: str, recipient: str, content: bytes, *, chunked: bool
) -> bool:
    """Send a raw mail; return whether it was accepted. Fail on unexpected output afterwards."""
    assert client.docmd("MAIL", f"FROM:<{sender}> BODY=8BITMIME")[0] == 250
    assert client.docmd("RCPT", f"TO:<{recipient}>")[0] == 250
    assert client.sock is not None
    if chunked:
        client.sock.sendall(b"BDAT %d LAST\r\n" % len(content) + content)
    else:
        assert client.docmd("DATA")[0] == 354
        client.sock.sendall(stuffed(content) + b"\r\n.\r\n")
    taken = client.getreply()[0]
    assert taken // 100 in (2, 5)
    # Had a part of the content been a command, its reply would be here instead of this one.
    assert client.docmd("VRFY")[0] in (501, 502)
    client.rset()
    return taken // 100 == 2


def only_outer_ones_left(ses: SesEndpoint, taken: int) -> None:
    """Check that each accepted mail left once, to its own recipient, and nothing else did."""
    await_true("all to leave", lambda: len(ses.relayed) >= taken)
    assert taken == len(ses.relayed)
    assert {(OUTSIDE,)} == {each.recipients for each in ses.relayed}


@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("way", ["submission", "inject"])
def test_no_content_is_a_command(
    host: MailHost, ses: SesEndpoint, way: str, *, chunked: bool
) -> None:
    """Bare CR and LF, NUL, 8-bit line ends, dots: content in header and body, by DATA and by BDAT."""
    # Two users, since each may submit a hundred messages an hour.
    author = "ben@example.org" if chunked else "ann@example.org"
    client = host.submission(author) if way == "submission" else inject(host)
    if way == "submission":
        client.ehlo()
    taken = 0
    for _, given in contents(author):
        content = (
            b"X-Plexus-Forwarder: " + author.encode() + b"\r\n" + given
            if way == "inject"
            else given
        )
        taken += hand_over(client, author, OUTSIDE, content, chunked=chunked)
    client.quit()
    assert taken > len(ENDS)
    only_outer_ones_left(ses, taken)


def test_no_content_is_a_command_by_way_of_a_filter(host: MailHost, ses: SesEndpoint) -> None:
    """A stranger's mail to a user whose filter redirects leaves as one mail, its lines as content."""
    with filtering(host, "ben@example.org", f'redirect "{OUTSIDE}";'):
        with host.lmtp() as lmtp:
            lmtp.ehlo()
            number = 0
            for number, (_, content) in enumerate(contents(), 1):
                unique = content.replace(b"@world", b".%d@world" % number, 1)
                assert hand_over(lmtp, "a@world.example", "ben@example.org", unique, chunked=True)
        only_outer_ones_left(ses, number)


def test_header_line_keeps_its_dot_by_way_of_a_filter(host: MailHost, ses: SesEndpoint) -> None:
    """A line that begins with a dot leaves with it, and one more dot is not there."""
    with filtering(host, "ben@example.org", f'redirect "{OUTSIDE}";'):
        with host.lmtp() as lmtp:
            content = b"From: a@world.example\r\n.Name: x\r\nSubject: dots\r\n\r\n.y\r\n..z\r\n"
            assert lmtp.sendmail("a@world.example", ["ben@example.org"], content) == {}
        await_true("it to leave", lambda: ses.relayed)
        assert b"\r\n.Name: x\r\n" in ses.relayed[0].content
        assert ses.relayed[0].content.endswith(b"\r\n.y\r\n..z\r\n")
