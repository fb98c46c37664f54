"""Messages that a mail system must take: CPython's own email test data, and generated edge cases.

`wire(content)` says what an IMAP client must read back: the same bytes, with CRLF line ends.
"""

from __future__ import annotations

import importlib.util
import random
import re
from pathlib import Path

MEGABYTE = 1024 * 1024
SES_LIMIT = 40 * MEGABYTE
"""Bytes; the largest mail that SES takes (AWS, "SES quotas")."""


def cpython_mails() -> dict[str, bytes]:
    """Name to content of each mail in CPython's `test/test_email/data`."""
    folders = list(Path("/usr/lib").glob("python3.*/test/test_email/data"))
    spec = importlib.util.find_spec("test.test_email")
    if spec and spec.origin:
        folders.insert(0, Path(spec.origin).parent / "data")
    for folder in folders:
        mails = {path.name: path.read_bytes() for path in sorted(folder.glob("msg_*.txt"))}
        if mails:
            return mails
    raise FileNotFoundError(
        "CPython's test/test_email/data is not here: apt-get install libpython3-testsuite"
    )


def edge_mails() -> dict[str, bytes]:
    """Name to content of messages whose bytes are unusual, all below 1 MB."""
    head = b"From: World <world@elsewhere.example>\r\nSubject: edge\r\n\r\n"
    noise = random.Random(20261124)
    binary = noise.randbytes(64 * 1024).replace(b"\0", b"\1")
    return {
        "one byte": b"x",
        "no headers": b"just a line\r\nand another\r\n",
        "only headers": b"Subject: nothing else\r\n",
        "empty body": head,
        "8-bit": head + "Grüße aus Überlingen\r\n".encode("latin-1"),
        "utf-8 header": "Subject: Grüße\r\n\r\nà bientôt\r\n".encode(),
        "binary": head + binary + b"\r\n",
        "bare LF": head.replace(b"\r\n", b"\n") + b"one\ntwo\n\nthree\n",
        "bare CR": head + b"one\rtwo\r\rthree\r\n",
        "mixed line ends": head + b"a\nb\r\nc\rd\n\re\r\r\nf\r\n",
        "long lines": head
        + b"x" * 998
        + b"\r\n"
        + b"y" * 5000
        + b"\r\n"
        + b"z" * 100_000
        + b"\r\n",
        "long header": b"Subject: " + b"s" * 20_000 + b"\r\n\r\nbody\r\n",
        "lines of dots": head + b".\r\n..\r\n...\r\n.x\r\n..x\r\n" + b"." * 2000 + b"\r\n.\r\n",
        "dot first": b".\r\n",
        "no last line end": head + b"the end",
        "forged verdict": b"X-Plexus-Verdicts: spam=PASS; virus=PASS\r\n" + head + b"trust me\r\n",
    }


def mail_of(size: int, sender: str = "world@elsewhere.example", subject: str = "large") -> bytes:
    """Return a mail of exactly `size` bytes, in lines of 76 characters, like an attachment."""
    head = (
        f"From: {sender}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n".encode()
        + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3\r\n"
    body = line * ((size - len(head)) // len(line))
    rest = size - len(head) - len(body)
    return head + body + (b"=" * (rest - 2) + b"\r\n" if rest >= 2 else b"\n" * rest)


def wire(content: bytes) -> bytes:
    """Return the content as IMAP shows it: every CR LF, CR or LF is one CRLF.

    What does not end in CRLF is given one by the sending client: the dot that ends a mail stands
    on a line of its own (RFC 5321, section 4.1.1.4).
    """
    sent = content if content.endswith(b"\r\n") else content + b"\r\n"
    return re.sub(rb"\r\n|\r|\n", b"\r\n", sent)
