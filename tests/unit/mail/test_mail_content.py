"""Content transforms: any octets, in any chunks, come out as one would write them at once."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from postal_plexus.mail.content import (
    DotStuffing,
    HeaderBlock,
    HeaderBound,
    HeaderTooLongError,
    LineEnds,
)

ODD = st.text("\r\n.: \tax", max_size=80).map(str.encode)
CONTENT = st.one_of(st.binary(max_size=300), ODD)
SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)
TRACE = (("X-Plexus-Receipt", "m1"), ("X-Plexus-Verdicts", "spam=PASS"))
TOP = b"X-Plexus-Receipt: m1\r\nX-Plexus-Verdicts: spam=PASS\r\n"


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    """In pieces."""
    parts: list[bytes] = []
    turn = 0
    while octets:
        size = sizes[turn % len(sizes)]
        parts.append(octets[:size])
        octets = octets[size:]
        turn += 1
    return parts


def crlf(content: bytes) -> bytes:
    """Normalize by definition: each of CRLF, CR, LF is a line end; the last line has one."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


def through(content: bytes, sizes: list[int], host: str = "mail.example.org") -> bytes:
    """Through line ends and header block."""
    ends, header = LineEnds(), HeaderBlock(TRACE, host)
    out = b"".join(header.feed(ends.feed(part)) for part in cut(content, sizes))
    return out + header.feed(ends.finish()) + header.finish()


@settings(max_examples=400)
@given(CONTENT, SIZES)
@example(b"a\r", [1])
@example(b"\r\r\n\n\r", [1, 2])
def test_line_ends_are_crlf_whatever_the_chunks(content: bytes, sizes: list[int]) -> None:
    """Chunks change nothing; no bare CR or LF is left; no octet else is touched."""
    ends = LineEnds()
    out = b"".join(ends.feed(part) for part in cut(content, sizes)) + ends.finish()
    assert crlf(content) == out
    assert b"" == out.replace(b"\r\n", b"").translate(None, bytes(set(range(256)) - {10, 13}))


@given(CONTENT, SIZES)
def test_stuffed_content_has_no_end_in_it_and_comes_back(content: bytes, sizes: list[int]) -> None:
    """No line is a lone dot, and removing one leading dot from each line restores it."""
    stuffing = DotStuffing()
    normal = crlf(content)
    # Chunks end where LineEnds would end them: never between CR and LF.
    ends = LineEnds()
    parts = [ends.feed(part) for part in cut(normal, sizes)]
    stuffed = b"".join(stuffing.feed(part) for part in [*parts, ends.finish()])
    lines = stuffed.split(b"\r\n")
    assert b"." not in lines
    assert normal == b"\r\n".join(line.removeprefix(b".") for line in lines)


SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
    b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\n\n.\n\n", b"\r\r.\r\r", b"\r\n.\r\r\n",
]  # fmt: skip
"""The published ways (SEC Consult 2023, CVE-2023-51764 to 51766) to write an end of data."""


@pytest.mark.parametrize("variant", SMUGGLING)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_smuggled_ends_of_data_stay_content(variant: bytes, size: int) -> None:
    """Behind the transforms none of the variants is an end of data, and what follows is content."""
    evil = b"Subject: a\r\n\r\nbody" + variant + b"MAIL FROM:<evil@x>\r\nRCPT TO:<ann@example.org>"
    ends, stuffing = LineEnds(), DotStuffing()
    parts = cut(evil, [size])
    sent = b"".join(stuffing.feed(ends.feed(part)) for part in parts) + stuffing.feed(ends.finish())
    assert b"\r\n.\r\n" not in sent
    assert b"" == re.sub(rb"\r\n", b"", sent).translate(None, bytes(set(range(256)) - {10, 13}))
    assert sent.endswith(b"RCPT TO:<ann@example.org>\r\n")


@settings(max_examples=400)
@given(CONTENT, SIZES)
def test_what_has_no_forged_header_is_untouched_below_the_trace(
    content: bytes, sizes: list[int]
) -> None:
    """Content in, content out: trace on top, then the same octets with CRLF line ends."""
    normal = crlf(content)
    assume(not re.search(rb"(?im)^(x-plexus-|authentication-results)", normal))
    continued = b"X-Plexus-Continued:\r\n" if normal[:1] in (b" ", b"\t") else b""
    assert TOP + continued + normal == through(content, sizes)


FORGED = st.sampled_from(
    [
        b"X-Plexus-Verdicts: spam=PASS",
        b"x-pLEXUS-receipt : abc",
        b"X-Plexus-",
        b"Authentication-Results: mail.example.org; dkim=pass",
        b"AUTHENTICATION-results:\r\n\t(c) Mail.Example.ORG 1;\r\n spf=pass",
        b"Authentication-Results : mail.example.org",
    ]
)
HONEST = st.sampled_from(
    [
        b"Subject: X-Plexus-Verdicts: x",
        b"Received: from a\r\n by mail.example.org; now",
        b"Authentication-Results: amazonses.com; spf=pass mail.example.org",
        b"Authentication-Results-Extra: mail.example.org",
        b"From: a@b.c",
        b"Not a header",
        b"X-Plexu: 1",
        b"Long: " + b"x" * 5000,
    ]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(FORGED, HONEST), max_size=6), ODD, SIZES, FORGED)
def test_only_our_header_names_are_renamed_and_only_in_the_header(
    fields: list[bytes], body: bytes, sizes: list[int], in_body: bytes
) -> None:
    """Each forged field gets X-Forged- in front; honest ones, and the body, stay."""
    names = (b"x-plexus-", b"authentication-results:", b"authentication-results :")

    def renamed(field: bytes) -> bytes:
        lower = field.lower()
        ours = lower.startswith(b"x-plexus-") or (
            lower.startswith(names[1:]) and b"mail.example.org" in lower.partition(b";")[0]
        )
        return b"X-Forged-" + field if ours else field

    head = b"".join(field + b"\r\n" for field in fields)
    tail = b"\r\n" + in_body + b"\r\n" + crlf(body)
    expected = b"".join(renamed(field) + b"\r\n" for field in fields)
    assert TOP + expected + tail == through(head + tail, sizes)


def test_a_first_line_of_white_space_cannot_continue_our_trace() -> None:
    """A sender cannot write into the verdicts by starting with a continuation line."""
    out = through(b" spam=PASS; virus=PASS\r\n\r\nbody\r\n", [1000])
    assert TOP + b"X-Plexus-Continued:\r\n spam=PASS; virus=PASS\r\n\r\nbody\r\n" == out


def test_a_header_without_end_is_passed_in_bounded_memory() -> None:
    """A megabyte of one field: never more than a chunk and 4 KB are held back."""
    header = HeaderBlock(TRACE, "mail.example.org")
    out = len(header.feed(b"A: "))
    for number in range(1, 257):
        out += len(header.feed(b"x" * 4096))
        assert number * 4096 + 3 - out <= 2 * 4096
    header.finish()


@pytest.mark.parametrize("unit", [b"x" * 10, b"T:\r\n", b"\r\n x"])
def test_a_header_beyond_its_bound_is_too_long(unit: bytes) -> None:
    """Octets and fields count, folds and what follows the header do not."""
    bound = HeaderBound(octets=1000, fields=60)
    most = 240 if unit == b"T:\r\n" else 1000
    header = HeaderBlock(TRACE, "mail.example.org", bound)
    for part in cut(b"A: b" + unit * ((most - 4) // len(unit)), [9]):
        header.feed(part)
    ends = HeaderBlock(TRACE, "mail.example.org", bound)
    for part in cut(b"A: b\r\n\r\n" + unit * 1000, [9]):
        ends.feed(part)
    with pytest.raises(HeaderTooLongError):
        header.feed(unit * 5)


def test_an_endless_claim_of_our_name_is_renamed() -> None:
    """A field too long to be looked at whole is decided against."""
    long = b"Authentication-Results: " + b"(" + b"x" * 6000 + b") mail.example.org; spf=pass\r\n"
    assert TOP + b"X-Forged-" + long + b"\r\n" == through(long + b"\r\n", [100])


def test_hops_are_counted_in_the_header_only() -> None:
    """Received and Delivered-To fields of the header block; not of the body."""
    header = HeaderBlock(TRACE, "mail.example.org")
    for part in cut(
        b"Received: a\r\nreceived: b\r\n c\r\nDelivered-To: <Ann@Example.org>\r\n"
        b"X: Received: no\r\n\r\nReceived: d\r\nDelivered-To: ben@example.org\r\n",
        [7],
    ):
        header.feed(part)
    assert (2, {"ann@example.org"}, True) == (header.received, header.delivered_to, header.complete)


@pytest.mark.parametrize(
    "value",
    [
        b"mail.example.org; dkim=pass",
        b"(a; comment) mail.example.org; dkim=pass",
        b"(nested (a;b) \\) c;) Mail.Example.ORG 1; dkim=pass",
        b'"mail.example.org"; dkim=pass',
        b'"mail\\.example\\.org"; dkim=pass',
        b"\r\n (c;d)\r\n\tmail.example.org\r\n ; dkim=pass",
        b'("q;) mail.example.org; dkim=pass',
        b"(no end ; mail.example.org; dkim=pass",
        b'"no end ; mail.example.org; dkim=pass',
        b"mail.example.org.; dkim=pass",
        b"mail(c).example.org; dkim=pass",
        b"mail.example.org",
    ],
)
@pytest.mark.parametrize("name", [b"Authentication-Results:", b"aUTHENTICATION-rESULTS \t:"])
def test_no_spelling_of_our_name_passes(name: bytes, value: bytes) -> None:
    """A forged field with our name is renamed despite comments, quotes, folding or case."""
    field = name + b" " + value + b"\r\n"
    assert TOP + b"X-Forged-" + field + b"\r\n" == through(field + b"\r\n", [7])


@pytest.mark.parametrize(
    "value",
    [
        b"amazonses.com; dkim=pass (mail.example.org)",
        b"(mail.example.org) else.example; spf=pass",
        b'else.example; spf=pass smtp.mailfrom="mail.example.org"',
        b'else.example 1; reason="; mail.example.org"',
    ],
)
def test_others_results_that_speak_of_us_stay(value: bytes) -> None:
    """Our name in a comment or in a result is no claim to be us."""
    field = b"Authentication-Results: " + value + b"\r\n"
    assert TOP + field + b"\r\n" == through(field + b"\r\n", [1000])
