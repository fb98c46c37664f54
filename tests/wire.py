"""SMTP and IMAP for tests, byte for byte: no line end is repaired on the way."""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass
class RefusedError(Exception):
    """The server answered a command with 4xx or 5xx."""

    command: str
    code: int
    text: str


def await_true(what: str, probe: Callable[[], T], timeout: float = 30.0) -> T:
    """Return the first true result of `probe`; fails, naming `what`, after `timeout` seconds.

    A probe that is dear (a command in a container) is asked less often, and leaves the processor to
    what is waited for.
    """
    end = time.monotonic() + timeout
    while True:
        asked = time.monotonic()
        if result := probe():
            return result
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"after {timeout} s still waiting for: {what}")
        time.sleep(min(1.0, max(0.02, 2 * (now - asked))))


class Smtp:
    """A client that sends content as it is: dot-stuffed by CRLF lines, nothing else touched.

    smtplib turns bare CR and LF into CRLF, which would hide what these tests are about.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._file = self._socket.makefile("rb")
        self.reply("connect", 220)
        self.command("EHLO client.example")

    def reply(self, command: str, wanted: int) -> str:
        lines: list[str] = []
        while True:
            line = self._file.readline().decode("utf-8", "replace")
            if not line:
                raise RefusedError(command, 0, "connection closed")
            lines.append(line[4:].strip())
            if line[3:4] != "-":
                break
        code = int(line[:3])
        if code // 100 != wanted // 100:
            raise RefusedError(command, code, " ".join(lines))
        return " ".join(lines)

    def command(self, command: str, wanted: int = 250) -> str:
        self._socket.sendall(command.encode() + b"\r\n")
        return self.reply(command, wanted)

    def send(
        self, sender: str, recipients: list[str], content: bytes
    ) -> tuple[str, dict[str, RefusedError]]:
        """Return the reply to the content, and the refused recipients."""
        self.command(f"MAIL FROM:<{sender}>")
        refused: dict[str, RefusedError] = {}
        for recipient in recipients:
            try:
                self.command(f"RCPT TO:<{recipient}>")
            except RefusedError as refusal:
                refused[recipient] = refusal
        self.command("DATA", 354)
        stuffed = re.sub(rb"(\A|\r\n)\.", rb"\1..", content)
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        self._socket.sendall(stuffed + b".\r\n")
        return self.reply("content", 250), refused

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Smtp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mailbox:
    """One user's IMAP session."""

    def __init__(self, host: str, port: int, ca_file: str, address: str, password: str) -> None:
        context = ssl.create_default_context(cafile=ca_file)
        self.imap = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=60)
        self.imap.login(address, password)
        self.imap.select("INBOX")

    def search(self, *criteria: str) -> list[bytes]:
        self.imap.noop()
        _, found = self.imap.uid("SEARCH", *criteria)
        return (found[0] or b"").split()

    def content(self, uid: bytes) -> bytes:
        _, parts = self.imap.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
        return next(part[1] for part in parts if isinstance(part, tuple))

    def await_mail(self, *criteria: str, count: int = 1, timeout: float = 30.0) -> list[bytes]:
        """Return the UIDs of at least `count` messages that match an IMAP SEARCH."""

        def found() -> list[bytes]:
            uids = self.search(*criteria)
            return uids if len(uids) >= count else []

        return await_true(f"{count} mail(s) matching {criteria}", found, timeout)

    def empty(self) -> None:
        """Remove every mail of the open folder."""
        if self.search("ALL"):
            self.imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
            self.imap.expunge()

    def close(self) -> None:
        self.imap.logout()

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
