"""An mbox is split into its messages, whatever program wrote it."""

from __future__ import annotations

import io
import mailbox
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.operations.mail_files.mbox import received, split
from postal_plexus.operations.mail_files.message import LONGEST_LINE, Found, Mail, read

DATED = b"From ann@x.example Fri Jan  1 10:00:00 2021\n"
LINES = st.lists(
    st.sampled_from(
        [b"", b"text", b"From me", b">From me", b">>From me", b"From x Fri Jan  1 10:00:00 2021"]
        + [b"From: x", b"a\0b", b"\xff\xfe", b".", b"Subject: z", b"x" * 200]
    ),
    max_size=12,
)


def mails(octets: bytes) -> list[bytes]:
    """Return the messages in an mbox."""
    return [b"".join(part.pieces) for part in split(io.BytesIO(octets))]


def taken(octets: bytes, **more: object) -> Mail:
    """Read one message."""
    return read(Found((), "x", io.BytesIO(octets), **more))  # type: ignore[arg-type]


def quoted(mail: bytes) -> bytes:
    """Return a message in mboxrd form."""
    return re.sub(rb"(?m)^(>*From )", rb">\1", mail)


@settings(max_examples=300)
@given(
    st.lists(LINES, max_size=5), st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", b"\n"])
)
def test_what_is_written_as_mboxrd_is_read_as_it_was(
    bodies: list[list[bytes]], end: bytes, last: bytes
) -> None:
    """With LF or CRLF, and with or without the last line end."""
    written = [
        end.join([b"Subject: %d" % number, b"", *body, b""]) for number, body in enumerate(bodies)
    ]
    octets = b"".join(DATED.replace(b"\n", end) + quoted(each) + end for each in written)
    assert written == mails(octets)
    # An empty line at the end is the mail's or the format's: nobody can know.
    found = mails(octets.removesuffix(end) + last)
    assert [each.rstrip() for each in written] == [each.rstrip() for each in found]


@settings(max_examples=200)
@given(st.lists(st.lists(st.sampled_from(["x", "From me", ">From", ""]), max_size=5), max_size=4))
def test_what_python_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[list[str]]
) -> None:
    """Python writes mboxo: quoted lines are restored, except for an original ">"."""
    path = tmp_path_factory.mktemp("mbox") / "mbox"
    box = mailbox.mbox(path)
    for body in bodies:
        box.add("Subject: x\n\n" + "\n".join(["begin", *body, "end"]) + "\n")
    box.close()
    found = [each.decode() for each in mails(path.read_bytes())] if bodies else []
    assert ["\n".join(["begin", *body, "end"]) + "\n" for body in bodies] == [
        each.partition("\n\n")[2] for each in found
    ]


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (b"", 0),
        (b"\n\n", 0),
        (b"Subject: no mbox\n\nFrom me\n", 0),
        (DATED, 1),
        (b"From \nSubject: a\n\nx", 1),
        (b"\xef\xbb\xbf" + DATED + b"A: b\n\nc\n", 1),
        (DATED + b"A: b\n\nc\n\nFrom x@y ???\nA: b\n\nd\n", 2),
        (DATED + b"A: b\n\nc\nFrom x@y Fri Jan  1 10:00:00 2021\nA: b\n\nd\n", 2),
        (DATED + b"A: b\n\nc\n\nFrom London\n\nwith love\n", 1),
        (DATED + b"A: b\n\nc\n\nFrom London, I wrote to you\nand again\n", 1),
        (DATED + b"A: b\n\nc\n\nFrom the last line", 1),
        (DATED + DATED + b"A: b\n\nc\n", 2),
        (b"From " + b"x" * 3 * LONGEST_LINE + b"\nA: b\n\nc\n", 1),
    ],
)
def test_where_a_mail_begins(octets: bytes, count: int) -> None:
    """At a `From ` line after an empty line, or with a date, that a header follows."""
    assert count == len(mails(octets))


@pytest.mark.parametrize(
    ("separator", "seconds"),
    [
        ("From x Thu Jan  1 00:00:01 1970", 1),
        ("From x Mon Jan 01 10:11:12 +0000 2024", 1704103872),
        ("From 12@xxx Mon Jan 01 10:11:12 2024 +0100", 1704100272),
        ("From x Fri, 1 Jan 2021 10:00:00 +0100", 1609491600),
        ("From x 2021-01-05T10:00:00Z", 1609840800),
        ('From "a b"@x Sat Jan  3 01:05:34 1996 remote from y', 820631134),
        ("From x Sat Jan  3 01:05:34 96", 820631134),
        ("From x ???", None),
        ("From x", None),
        ("From ", None),
        ("From - Mon Jan 01 10:11:12 2024", None),
    ],
)
def test_the_date_in_a_separator(separator: str, seconds: int | None) -> None:
    """The forms of many programs; without a readable date, the message's own header decides."""
    assert seconds == received(separator.encode())


@pytest.mark.parametrize(
    ("header", "flags", "keywords"),
    [
        ("", "", ()),
        ("Status: O\n", "", ()),
        ("Status: RO\nX-Status: AFTD\n", "DFRST", ()),
        (
            "X-Mozilla-Status: 1007\nX-Mozilla-Keys: $label1 a(b \n",
            "FRS",
            ("$Forwarded", "$label1"),
        ),
        ("X-Keywords: one two one\n", "", ("one", "two")),
        ("X-Mozilla-Status: zz\n", "", ()),
        ("X-Gmail-Labels: =?UTF-8?Q?Inbox,Ungelesen,Markiert?=\n", "F", ()),
    ],
)
def test_flags_of_an_mbox(header: str, flags: str, keywords: tuple[str, ...]) -> None:
    """Flags are read from the format's fields, which are not stored."""
    mail = taken(f"{header}Subject: x\n\nbody\n".encode(), is_mbox=True)
    assert (flags, keywords) == (mail.flags, mail.keywords)
    stored = mail.content.read()
    assert stored.endswith(b"Subject: x\n\nbody\n")
    assert b"tatus" not in stored


def test_a_mail_that_its_owner_deleted_is_told() -> None:
    """Thunderbird keeps deleted messages in the file until it is compacted."""
    assert taken(b"X-Mozilla-Status: 0009\n\nx\n", is_mbox=True).is_expunged


def test_the_date_is_that_of_the_arrival() -> None:
    """The separator's date, else the top Received, else Date, else the file's time."""
    received_field = b"Received: by x; Fri, 1 Jan 2021 10:00:00 +0100\nReceived: y; none\n"
    date = b"Date: Sat, 2 Jan 2021 10:00:00 +0000\n"
    assert 5 == taken(received_field + date + b"\n", date=5).date
    assert 1609491600 == taken(date + received_field + b"\n", else_date=7).date
    assert 1609581600 == taken(b"Received: by x; never\n" + date + b"\n", else_date=7).date
    assert 7 == taken(b"Date: Mon, 99 Foo 20021 99:99\n\n", else_date=7).date
    assert 7 == taken(b"Date: Fri, 1 Jan 1601 00:00:00 +0000\n\n", else_date=7).date


def test_the_name_is_of_the_content() -> None:
    """The name does not depend on flags, line ends, labels or the file's end."""
    mail = b"Subject: x\n\nbody\n\nmore\n"
    same = [
        mail,
        mail.replace(b"\n", b"\r\n"),
        b"Status: RO\n" + mail,
        b"X-Gmail-Labels: Work\nX-GM-THRID: 7\n" + mail,
        b"X-Gmail-Labels: Inbox,\n Work\n" + mail,
        b"From x Fri Jan  1 10:00:00 2021\n" + mail,
        mail.rstrip(b"\n"),
        mail + b"\n",
    ]
    assert 1 == len({taken(each).digest for each in same})
    other = [mail, mail.replace(b"\n\nmore", b"\nmore"), b"X: " + mail, mail.replace(b"b", b"B")]
    assert len(other) == len({taken(each).digest for each in other})


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 5))
def test_nothing_is_lost_of_any_octets(octets: bytes, times: int) -> None:
    """The stored content is the input with LF for CRLF, even if a long line is split anywhere."""
    body = octets * times
    stream = io.BytesIO(b"A: b\n\n" + body)
    mail = read(Found((), "x", iter(lambda: stream.readline(7), b"")))
    expected = (b"A: b\n\n" + body).replace(b"\r\n", b"\n")
    assert expected == mail.content.read()
    assert (len(expected), expected.count(b"\n")) == (mail.octets, mail.lines)


def test_a_large_mail_is_counted_and_not_kept(tmp_path: Path) -> None:
    """Content above 40 MB is not kept; a header of 1 MB is accepted."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"Subject: x\nX-Long: " + b"y" * (1 << 20) + b"\n\n")
        for _ in range(42):
            file.write(b"z" * (1 << 20))
    with path.open("rb") as file:
        mail = read(Found((), "x", iter(lambda: file.readline(LONGEST_LINE), b"")))
    assert mail.is_too_large
    assert path.stat().st_size == mail.octets
    assert mail.content.seek(0, 2) <= 40 << 20
