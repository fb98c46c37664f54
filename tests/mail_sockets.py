"""Mail clients of Python's library on a socket that a test has made, and TLS contexts for tests."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl
import warnings
from typing import TypeVar

_Client = TypeVar("_Client", bound=smtplib.SMTP)


def trusting() -> ssl.SSLContext:
    """Return a client's TLS that accepts any certificate."""
    # Not the default one: it would read all of the machine's authorities each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only_tls_11() -> ssl.SSLContext:
    """Return a client's TLS that offers TLS 1.1 and nothing newer."""
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def greeted(client: _Client, connection: socket.socket) -> _Client:
    """Return an unconnected SMTP or LMTP client after its EHLO or LHLO on this socket."""
    client.sock, client.file = connection, None
    assert client.getreply()[0] == 220
    client.ehlo()
    return client


def imap_on(connection: socket.socket, address: str, password: str) -> imaplib.IMAP4:
    """Return an IMAP client that is logged in, inside TLS, on this socket."""

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
            assert timeout is None, "the socket has its own"
            return trusting().wrap_socket(connection)

    client = Client()
    client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
    return client
