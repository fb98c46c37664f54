"""SES's SMTP endpoint, scripted: STARTTLS, AUTH, and the replies that a test wants."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from awsdesk.ses import addresses, sending_rules

_IP_FREEBIND = 15  # the network's gateway appears with its first container


@dataclass(frozen=True)
class Relayed:
    """A mail that SES took."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass
class SesEndpoint:
    """The endpoint on an address of this machine and a free port, in a thread of its own."""

    address: str
    certificate: Path
    key: Path
    username: str = "AKIDEXAMPLE"
    password: str = "BPa55word+/="
    relayed: list[Relayed] = field(default_factory=list)
    # What it refused by SES's rules.
    refused: list[str] = field(default_factory=list)
    # Reply to the content, if SES is to refuse it; `None` takes it.
    refusal: str | None = None
    port: int = 0
    _clients: list[SMTP] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take an envelope sender as SES does."""
        if addresses.problem_of(address) is not None:
            self.refused.append(f"MAIL FROM:{address}")
            return "501 Invalid MAIL FROM address provided"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 Ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take or refuse a mail as SES does."""
        if self.refusal:
            return self.refusal
        refused = sending_rules.refusal(
            envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.original_content or b""
        )
        if refused is not None:
            self.refused.append(refused)
            return refused
        self.relayed.append(
            Relayed(
                (envelope.mail_from or "").strip("<>"),
                tuple(envelope.rcpt_tos),
                envelope.original_content or b"",
            )
        )
        return "250 Ok 0100018c"

    def _authenticate(self, *arguments: object) -> AuthResult:
        data = arguments[-1]
        right = isinstance(data, LoginPassword) and data == LoginPassword(
            self.username.encode(), self.password.encode()
        )
        return AuthResult(success=right, handled=right)

    def _smtp(self) -> SMTP:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        client = SMTP(
            self,
            hostname="email-smtp.amazonaws.com",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
            data_size_limit=40 * 1024 * 1024 + 65536,
            loop=self._loop,
        )
        self._clients.append(client)
        return client

    def __enter__(self) -> SesEndpoint:
        listener = self._bind()
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(self._smtp, sock=listener)
        )
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def _bind(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((self.address, self.port))
        return listener

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        rest = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in rest:
            each.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        # When a transport that outlives its server is collected, Python 3.13 raises TypeError.
        for client in self._clients:
            if isinstance(client.transport, asyncio.Transport):
                client.transport.abort()
        await asyncio.sleep(0)
