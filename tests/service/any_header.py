"""A mail with any header by each way out, through real Dovecot and Postfix, and where it is then."""

from __future__ import annotations

import re
import smtplib

from service.mail_host import MailHost
from service.ways_out import ANN, AUTHENTIC, BEN, OUTSIDE, deliver, forward

FILTERS = {
    "redirect": f'redirect "{OUTSIDE}";',
    "vacation": 'require "vacation"; vacation "Away.";',
    "reject": 'require "reject"; reject "No.";',
}
WAYS = ("submission", "forward", *FILTERS)


def content(mark: str, header: list[tuple[str, bytes]], more: bytes = b"") -> bytes:
    """Return a mail with a header as it is, under a name of its own."""
    lines = [f"X-Mark: {mark}".encode(), more.rstrip()] if more else [f"X-Mark: {mark}".encode()]
    lines += [name.encode() + b": " + value.replace(b"\n", b"\r\n") for name, value in header]
    return b"\r\n".join(lines) + f"\r\n\r\nbody of {mark}\r\n".encode()


def sent(host: MailHost, way: str, mark: str, header: list[tuple[str, bytes]]) -> bool:
    """Return whether a mail was taken by this way; if not, who sent it was told."""
    if way == "submission":
        # Every other mail says that it is by whatever its first field holds.
        own = int(mark.partition("-")[2]) % 2 or not header
        author = ANN.encode() if own else header[0][1]
        header = [each for each in header if each[0].lower() not in ("from", "sender")]
        header.append(("From", author))
        with host.submission(ANN) as smtp:
            try:
                smtp.sendmail(ANN, [OUTSIDE], content(mark, header))
            except smtplib.SMTPDataError as error:
                assert error.smtp_error
                return False
    elif way == "forward":
        try:
            forward(host, content(mark, header))
        except smtplib.SMTPDataError as error:
            assert error.smtp_error
            return False
    else:
        whole = content(mark, header, AUTHENTIC.encode())
        deliver(host, whole, BEN, f"{mark}@world.example")
    return True


def kept(host: MailHost) -> dict[str, bytes]:
    """Return what lies in ben's folders, by mark."""
    found: dict[str, bytes] = {}
    with host.imap(BEN) as client:
        for folder in ("INBOX", "Trash", "Junk"):
            if client.select(folder, readonly=True)[1] == [b"0"]:
                continue
            for part in client.fetch("1:*", "(BODY.PEEK[])")[1]:
                if isinstance(part, tuple):
                    found |= dict.fromkeys(marks(part[1]), part[1])
    return found


def marks(octets: bytes) -> list[str]:
    """Return the marks of the messages that are in these octets, also as attached ones."""
    return [each.decode() for each in re.findall(rb"(?m)^X-Mark: ([a-z]+-\d+)\r?$", octets)]
