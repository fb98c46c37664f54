"""Reports are found in messages and archives, and hostile ones are bounded."""

from __future__ import annotations

import gzip
import io
import zipfile
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.reports import attachments, dmarc, tls
from postal_plexus.reports.attachments import LARGEST, ReportError, documents

XML = b"<?xml version='1.0'?><feedback/>"


def gzipped(content: bytes) -> bytes:
    """Compressed, without the time: the tests' names come of it, and every worker has the same."""
    return gzip.compress(content, mtime=0)


def zipped(*members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"{number}.xml", member)
    return buffer.getvalue()


def mailed(content: bytes, subtype: str = "octet-stream") -> bytes:
    message = EmailMessage()
    message.set_content("A report.")
    message.add_attachment(content, "application", subtype, filename="a!b!1!2.xml.gz")
    return message.as_bytes()


@pytest.mark.parametrize(
    "octets",
    [
        XML,
        b"\xef\xbb\xbf" + XML,
        gzipped(XML),
        gzipped(XML) + b"\r\n",
        zipped(XML),
        gzipped(zipped(XML)),
        zipped(gzipped(XML)),
        mailed(gzipped(XML)),
        mailed(zipped(XML), "x-wrong-type"),
    ],
    ids=lambda _: "packed",  # what is packed says when: two workers would see two tests
)
def test_a_report_is_found_however_it_is_packed(octets: bytes) -> None:
    """Receivers send XML, gzip, zip, both at once, and wrong content types."""
    assert [XML] == [each.removeprefix(b"\xef\xbb\xbf") for each in documents(octets)]


def test_a_mail_without_a_report_has_none() -> None:
    """An ordinary message, and an empty one, are no error."""
    assert [] == list(documents(b"Subject: hello\r\n\r\nNothing to see.\r\n"))
    assert [] == list(documents(b""))


@pytest.mark.parametrize(
    "octets",
    [
        gzipped(b"<?xml " + bytes(LARGEST)),
        zipped(b"<?xml " + bytes(LARGEST)),
        zipped(*(b"<?xml " + bytes(LARGEST // 4) for _ in range(5))),
        gzipped(gzipped(b"<?xml " + bytes(LARGEST))),
        zipped(*[XML] * 21),
        gzipped(XML)[:-9],
        zipped(XML)[:-30],
    ],
    ids=lambda _: "packed",
)
def test_bombs_and_broken_archives_end_in_an_error(octets: bytes) -> None:
    """Above the limit of octets or of files, or cut off."""
    with pytest.raises(ReportError):
        list(documents(octets))


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x1f\x8b", b"PK\x03\x04", b"<?xml ", b"{"]))
def test_any_octets_are_read_or_refused(octets: bytes, start: bytes) -> None:
    """A stranger's octets give reports, nothing, or a ReportError."""
    try:
        for document in attachments.documents(start + octets):
            read = tls.read if document.lstrip()[:1] == b"{" else dmarc.read
            read(document)
    except ReportError:
        pass
