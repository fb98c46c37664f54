"""Find the report in a message or a file: XML or JSON, plain, gzipped or zipped.

RFC 7489, section 7.2.1.1 (DMARC: application/gzip, or zip in practice), and RFC 8460, section 5.3
(TLS: application/tlsrpt+gzip or +json). Reporters use various types and file names, so the
content's first octets decide.
"""

from __future__ import annotations

import email
import email.policy
import io
import zipfile
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The largest real reports have some MB; anything that unpacks to more is not a report, or an
# attack.
LARGEST = 32 * 1024 * 1024
MOST_MEMBERS = 20
MOST_PARTS = 200
# Some reporters gzip a zip; deeper nesting is not supported.
_LAYERS = 2


class ReportError(Exception):
    """A report cannot be parsed; the text says why."""


def documents(octets: bytes) -> Iterator[bytes]:
    """Return the XML and JSON documents in a message, an archive or a plain file.

    Raises:
        ReportError: an archive is broken, encrypted or too large when unpacked.
    """
    if _kind(octets) is None:
        yield from _of_mail(octets)
    else:
        yield from _unpacked(octets)


def _of_mail(octets: bytes) -> Iterator[bytes]:
    message = email.message_from_bytes(octets, policy=email.policy.compat32)
    for number, part in enumerate(message.walk()):
        if number >= MOST_PARTS:
            raise ReportError(f"more than {MOST_PARTS} parts in one message")
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield from _unpacked(content)


def _kind(octets: bytes) -> str | None:
    """Return the kind of a content by its first octets, or None if it is not a report."""
    if octets.startswith(b"\x1f\x8b"):
        return "gzip"
    if octets.startswith(b"PK\x03\x04"):
        return "zip"
    start = octets[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<?xml", b"<feedback")) or octets[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "xml"
    return "json" if start.startswith(b"{") else None


def _unpacked(octets: bytes, layers: int = _LAYERS) -> Iterator[bytes]:
    """Return a document itself, or the documents in at most `layers` archives around them."""
    kind = _kind(octets)
    if kind in {"xml", "json"}:
        yield octets
    elif kind is not None and layers:
        for member in [_gunzip(octets)] if kind == "gzip" else _unzip(octets):
            yield from _unpacked(member, layers - 1)


def _gunzip(octets: bytes) -> bytes:
    """Unpack the first member of a gzip file; some reporters append line ends."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = unpacker.decompress(octets, LARGEST + 1)
    except zlib.error as error:
        raise ReportError(f"the gzip archive is broken ({error})") from error
    if not unpacker.eof and len(found) <= LARGEST:
        raise ReportError("the gzip archive is cut off")
    return _bounded(found)


def _unzip(octets: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            if len(members) > MOST_MEMBERS:
                raise ReportError(f"more than {MOST_MEMBERS} files in one archive")
            left = LARGEST
            for member in members:
                # The size in a header may be wrong, so read no more than the limit.
                with archive.open(member) as packed:
                    found = packed.read(left + 1)
                left -= len(_bounded(found, left))
                yield found
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise ReportError(f"the zip archive is broken ({error})") from error
    except (RuntimeError, NotImplementedError) as error:
        # Encrypted, or compressed with a method that Python does not support.
        raise ReportError(f"the zip archive cannot be unpacked ({error})") from error


def _bounded(octets: bytes, most: int = LARGEST) -> bytes:
    if len(octets) > most:
        raise ReportError(f"the archive unpacks to more than {LARGEST // 1024**2} MB")
    return octets
