"""CloudFront's edge on the desk: the domains' client set-up sites, by HTTPS.

One port for all sites, as at CloudFront: the TLS client says which (SNI), and gets a certificate of
the desk's authority for the names that the distribution's ACM certificate has; then the request's
Host chooses the distribution. A name that no distribution has ends the handshake; so does a client
that names none.

    curl --cacert .desk/ca/ca.pem --connect-to ::127.0.0.1:1443 https://autoconfig.example.org/
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from hypercorn.config import Config

from awsdesk.cloudfront.distributions import Answer, Viewer

if TYPE_CHECKING:
    from awsdesk.certificate_authority import CertificateAuthority
    from awsdesk.cloudfront.distributions import Distributions
    from awsdesk.ministack_patches.application import Receive, Scope, Send

log = logging.getLogger(__name__)

_MAX_BODY = 64 * 1024  # Outlook's question has a few hundred bytes


class SiteApplication:
    """The ASGI application behind the port."""

    def __init__(self, distributions: Distributions) -> None:
        self._distributions = distributions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, await self._respond(scope, receive))

    async def _respond(self, scope: Scope, receive: Receive) -> Answer:
        body = await _body(receive)
        if body is None:
            return Answer(413, (("content-type", "text/plain"),), b"Too large.\n")
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        return await self._distributions.answer(
            Viewer(
                method=scope["method"],
                path=raw_path.partition(b"?")[0].decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                headers={
                    n.decode("latin-1").lower(): v.decode("latin-1") for n, v in scope["headers"]
                },
                body=body,
                address=(scope.get("client") or ("127.0.0.1", 0))[0],
            )
        )


class SiteConfig(Config):
    """hypercorn's configuration, with a certificate for each site instead of one for all."""

    def __init__(self, authority: CertificateAuthority, distributions: Distributions) -> None:
        super().__init__()
        self._authority = authority
        self._distributions = distributions
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    @property
    def ssl_enabled(self) -> bool:
        """The port speaks TLS, although no certificate file is named."""
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        """Return the context of a connection before its client has said which site it wants."""
        context = _context(self.alpn_protocols)
        context.sni_callback = self._choose
        return context

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        names = self._distributions.certified_names(name.lower()) if name else ()
        if not names:
            log.info("edge.unknown_name name=%r", name)
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if names not in self._contexts:
            made = self._authority.certificate(f"site-{names[0]}", names)
            context = _context(self.alpn_protocols)
            context.load_cert_chain(made.chain, made.key)
            self._contexts[names] = context
        connection.context = self._contexts[names]
        return None


def _context(alpn_protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(alpn_protocols)
    return context


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> bytes | None:
    parts = b""
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > _MAX_BODY:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return parts


async def _answer(send: Send, answer: Answer) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.headers
        if name.lower() != "content-length"
    ]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
