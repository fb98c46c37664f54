"""SMTP as SES speaks it: aiosmtpd, with a DATA command that keeps every byte.

aiosmtpd refuses lines over 1,001 bytes and splits messages into lines. SES accepts messages of up
to 40 MB with lines of any length, NUL, bare CR and bare LF, and stores them unchanged. Content ends
at CRLF.CRLF and nowhere else (no smuggling through bare LF), a leading dot is removed from a line
(RFC 5321 4.5.2), and nothing else changes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

_END = b"\r\n.\r\n"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Greeting:
    """How the server names itself."""

    hostname: str
    ident: str
    size_limit: int
    size_reply: str


class MailProtocol(SMTP):
    """One SMTP connection.

    The handler has aiosmtpd's hooks: `handle_EHLO`, `handle_MAIL`, `handle_RCPT`, `handle_DATA`.
    """

    # Also the read buffer: content is read in pieces of this size.
    line_length_limit = _CHUNK

    def __init__(
        self,
        handler: object,
        greeting: Greeting,
        *,
        tls: ssl.SSLContext | None = None,
        require_starttls: bool = False,
        is_wrapped_in_tls: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(
            handler,
            data_size_limit=greeting.size_limit,
            hostname=greeting.hostname,
            ident=greeting.ident,
            tls_context=None if is_wrapped_in_tls else tls,
            require_starttls=require_starttls,
            auth_require_tls=not is_wrapped_in_tls,
            loop=asyncio.get_running_loop(),
            **more,
        )
        self._greeting = greeting

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Take the content of a mail."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        envelope: Any = self.envelope
        if not envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        content = await self._content()
        if content is None:
            await self.push(self._greeting.size_reply)
        else:
            envelope.content = content
            envelope.original_content = content
            handler: Any = self.event_handler
            await self.push(await handler.handle_DATA(self, self.session, envelope))
        self.envelope = self._create_envelope()

    async def _content(self) -> bytes | None:
        """Read up to the final dot, or None if there was more than the limit."""
        # An assumed CRLF at the beginning makes the end of an empty message like any other.
        received = bytearray(b"\r\n")
        too_much = False
        while True:
            chunk = await self._reader.read(_CHUNK * 4)
            if not chunk:
                raise ConnectionResetError("the client went away in the middle of DATA")
            start = max(0, len(received) - len(_END) + 1)
            received += chunk
            end = received.find(_END, start)
            if end >= 0:
                rest = bytes(received[end + len(_END) :])
                break
            if len(received) > self._greeting.size_limit + 2:
                too_much = True
            if too_much:
                del received[: -len(_END)]
            # A client that keeps sending must not be disconnected as idle.
            self._reset_timeout()
        if rest:
            # Commands that were pipelined after the content.
            self._unread(rest)
        if too_much or end > self._greeting.size_limit:
            return None
        del received[end + 2 :]
        return bytes(received.replace(b"\r\n.", b"\r\n"))[2:]

    def _unread(self, rest: bytes) -> None:
        reader: Any = self._reader
        reader._buffer[:0] = rest  # noqa: SLF001 - asyncio offers no way to put bytes back
