"""Bodies with lines over 998 octets: re-encoded part by part, and read back as they were."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.mail.outgoing.recoding import LongestLine, recoded, survey

PLAIN = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


def again(mail: bytes, size: int = 1000) -> bytes:
    """Return the mail as it leaves, taken in chunks of a size."""
    head, _, body = mail.partition(b"\r\n\r\n")
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    found = survey(head + b"\r\n", chunks)
    if not found.needed:
        return mail
    new = b"".join(recoded(head + b"\r\n", chunks, found))
    if found.top_encoding:
        lines = [
            each for each in head.split(b"\r\n")
            if not each.lower().startswith(b"content-transfer-encoding")
        ]  # fmt: skip
        lines.append(b"Content-Transfer-Encoding: " + found.top_encoding.encode())
        head = b"\r\n".join(lines)
    assert len(new) <= found.octets * 1.1 + 200
    return head + b"\r\n\r\n" + new


def longest(mail: bytes) -> int:
    measured = LongestLine()
    for at in range(0, len(mail), 7):
        measured.feed(mail[at : at + 7])
    assert measured.octets >= max(map(len, mail.split(b"\r\n")))
    return max(map(len, mail.split(b"\r\n")))


def parts(mail: bytes) -> list[bytes]:
    """Return each leaf's content, decoded."""
    return [
        part.get_payload(decode=True)
        for part in message_from_bytes(mail, policy=policy.SMTP).walk()
        if not part.is_multipart()
    ]


@pytest.mark.parametrize("size", [1, 60, 998, 5000, 70_000])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße-" * 900, "base64"),
        ("word " * 900 + "ä", "quoted-printable"),
        ("=" * 2000, "base64"),
        ("x" * 40_000 + " \r\n.\r\n..\r\nFrom me\r\n", "quoted-printable"),
    ],
    ids=["umlauts", "words", "equals", "forty thousand"],
)
def test_a_long_line_of_text_is_read_back_as_it_was(text: str, encoding: str, size: int) -> None:
    """Whatever the chunks; the last line end too."""
    mail = PLAIN + b"\r\n" + text.encode() + b"\r\nEnd\r\n"
    new = again(mail, size)
    assert 998 >= longest(new)
    assert f"Content-Transfer-Encoding: {encoding}".encode() in new
    assert [text.encode() + b"\r\nEnd\r\n"] == parts(new)


def test_only_the_part_with_the_long_line_changes() -> None:
    """In a multipart: its header gets the encoding, the others stay octet for octet."""
    mail = EmailMessage(policy=policy.SMTP)
    mail.set_content("plain\r\n")
    mail.add_alternative("<p>x</p>\r\n", subtype="html")
    mail.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream")
    octets = mail.as_bytes().replace(b"<p>x</p>", b"<p>" + b"x " * 900 + b"</p>")
    new = again(octets)
    assert 998 >= longest(new)
    assert parts(octets) == parts(new)
    assert 1 == new.count(b"quoted-printable")
    assert new.startswith(octets.partition(b"<p>")[0][:200])


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_what_is_encoded_already_gets_shorter_lines(encoding: str) -> None:
    """A broken program's base64 or quoted-printable in one line."""
    import base64
    import quopri

    content = ("Grüße, " * 600).encode()
    if encoding == "base64":
        body = base64.b64encode(content)
    else:
        body = quopri.encodestring(content).replace(b"=\n", b"")
    head = (
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    mail = head.encode() + body + b"\r\n"
    new = again(mail)
    assert 998 >= longest(new)
    assert content == parts(new)[0].rstrip(b"\r\n")


LONG = PLAIN + b"\r\n" + b"long " * 300 + b"\r\n"


@pytest.mark.parametrize(
    ("kind", "inside", "after", "broken"),
    [
        ("signed", LONG, b"", True),
        ("signed", b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + LONG + b"--c--\r\n", b"", True),
        ("signed", PLAIN + b"\r\nshort\r\n", LONG, False),
        ("mixed", LONG, b"", False),
        ("encrypted", LONG, b"", False),
    ],
    ids=["part", "part of a part", "beside it", "not signed", "encrypted"],
)  # fmt: skip
def test_a_signature_that_would_break_is_known(
    kind: str, inside: bytes, after: bytes, broken: bool
) -> None:
    """Of OpenPGP and S/MIME alike: what stands in a multipart/signed is opaque (RFC 1847)."""
    about = b"Content-Type: multipart/mixed; boundary=a\r\n"
    signature = b"--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
    header = f"Content-Type: multipart/{kind}; micalg=pgp-sha256; boundary=b\r\n\r\n".encode()
    signed = b"--b\r\n" + inside + signature
    body = b"--a\r\n" + header + signed + (b"--a\r\n" + after if after else b"") + b"--a--\r\n"
    assert broken == survey(about, [body]).breaks_signature
    assert survey(about, [body]).needed == (broken or bool(after) or kind != "signed")
    if not after:
        assert broken == survey(header.rstrip() + b"\r\n", [signed]).breaks_signature


def test_an_attached_mail_is_encoded_inside() -> None:
    """RFC 2046, 5.2.1: message/rfc822 itself may not be."""
    inner = b"Subject: inner\r\n" + PLAIN + b"\r\n" + b"\xc3\xa4 " * 900 + b"\r\n"
    outer = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n'
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"--b--\r\nepilogue\r\n"
    )
    new = again(outer)
    assert 998 >= longest(new)
    assert b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" in new
    assert new.endswith(b"--b--\r\nepilogue\r\n")
    assert parts(outer) == parts(new)


_LINES = st.sampled_from(
    [
        *(b"--b", b"--b--", b"--c", b"--c--", b"", b"Content-Type: text/plain", b"x: y"),
        *(b'Content-Type: multipart/mixed; boundary="c"', b"Content-Type: message/rfc822"),
        *(b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable"),
        *(b"\xc3\xa4" * 700, b"a" * 998, b"a" * 999, b"=41" * 500, b"=\xff\r" * 400, b" " * 1200, b"."),
    ]
)  # fmt: skip


@settings(max_examples=500)
@given(lines=st.lists(_LINES, max_size=30), size=st.integers(1, 3000), top=st.booleans())
def test_any_structure_is_walked_and_loses_nothing(
    lines: list[bytes], size: int, *, top: bool
) -> None:
    """Both passes see the same parts; without a long line not an octet changes."""
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n' if top else PLAIN
    body = b"\r\n".join([*lines, b""])
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    found = survey(head, chunks)
    new = b"".join(recoded(head, chunks, found))
    if not found.needed:
        assert body == new
    else:
        assert b"".join(recoded(head, [body], found)) == new


def test_a_line_of_forty_megabytes_takes_little_memory() -> None:
    """In pieces of 16 KB, both ways."""
    chunks = [b"y" * 65_536] * 160
    found = survey(PLAIN, chunks)
    octets = sum(map(len, recoded(PLAIN, iter(chunks), found)))
    assert 160 * 65_536 < octets < found.octets * 1.1
