"""The header block of a forward: a mail that an alias of ours sends on to an address outside.

SES refuses a From that is not ours, and rightly: the forward is our mail. So From becomes the
alias, with the author in the display name and in Reply-To; what the author's signature or a former
hop vouched for is left out; and Delivered-To names the alias, which is how a loop is known.

Pure. A block that has no fields at all is a header block too.
"""

import base64
import re

# SES takes instructions from X-SES-*, and refuses a second Return-Path; a DKIM signature over the
# old From could only fail; Sender and Bcc speak of the mail that ended here.
_LEFT_OUT = (b"return-path", b"dkim-signature", b"sender", b"bcc", b"from")
_FOR_SES = b"x-ses-"
_SAFE_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_LONGEST_NAME = 60


def split_fields(block: bytes) -> list[bytes]:
    """The block's fields, each with its continuation lines and line end. CRLF line ends."""
    fields: list[bytes] = []
    for line in block.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += line + b"\r\n"
        elif line:
            fields.append(line + b"\r\n")
    return fields


def field_name(field: bytes) -> bytes:
    """In lower case; b"" for a line that is no field."""
    name, colon, _ = field.partition(b":")
    return name.strip().lower() if colon else b""


def forward_header(fields: list[bytes], forwarder: str, author: str) -> bytes:
    """The fields of the forward, without the blank line.

    `forwarder` is the alias, `author` the envelope sender, for a mail that names no From.
    """
    kept: list[bytes] = []
    written_by = b""
    replies = False
    for field in fields:
        name = field_name(field)
        if name == b"from" and not written_by:
            written_by = field.partition(b":")[2].strip()
        if name in _LEFT_OUT or name.startswith(_FOR_SES):
            continue
        replies = replies or name == b"reply-to"
        kept.append(field)
    if not written_by:
        written_by = f"<{author}>".encode() if author else b""
    top = [
        f"Delivered-To: {forwarder}\r\n".encode(),
        f"From: {_phrase(written_by, forwarder)} <{forwarder}>\r\n".encode(),
    ]
    if written_by and not replies:
        top.append(b"Reply-To: " + written_by + b"\r\n")
    return b"".join(top + kept)


def _phrase(written_by: bytes, forwarder: str) -> str:
    """The display name: who wrote it, via whom (RFC 5322 phrase, RFC 2047 where it must be)."""
    from email.utils import parseaddr  # noqa: PLC0415  (2 MB that only forwards need)

    try:
        text = written_by.decode()
    except UnicodeDecodeError:
        text = written_by.decode("latin-1")
    text = re.sub(r"\s+", " ", text)
    name, address = parseaddr(text)
    name = (name or address or "unknown")[: _LONGEST_NAME * 4]
    via = f'"via {forwarder}"'
    if "=?" in name and _SAFE_PHRASE.fullmatch(name):
        return f"{name} {via}"  # encoded words stay as they are
    name = "".join(char for char in name if char.isprintable())[:_LONGEST_NAME]
    if name.isascii():
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" {via}'
    words = [name[start : start + 14] for start in range(0, len(name), 14)]
    encoded = (base64.b64encode(word.encode("utf-8", "replace")).decode() for word in words)
    return " ".join([*(f"=?utf-8?b?{word}?=" for word in encoded), via])
