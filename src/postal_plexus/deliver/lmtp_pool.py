"""A pool of LMTP connections on a unix socket, kept open and shared by all threads.

The exceptions say what is known about the message:

    ConnectError               nothing was sent; wait for the server
    TransactionLostError       the connection broke; `outcome` has None for recipients who may have
                               the message, and lacks those who certainly do not
    lmtp.TransactionError      refused as a whole; nobody has it

and whatever the content's iterator raises. Nobody has the message then either, because a content is
ended only after all of it was sent.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from postal_plexus.deliver.sockets import limit_waits
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import LmtpConnection, LmtpError, LmtpProtocolError, State
from postal_plexus.mail.reply import Reply

# RFC 5321, section 4.5.3.2.6: ten minutes for the reply to the end of the content. Dovecot on a
# stalled file system may need them; the wait only occupies one of several connections.
_ANSWER_SECONDS = 600.0
# Dovecot greets when it has a free process, which may take as long as a delivery.
_GREETING_SECONDS = 30.0
# Checking costs two thread switches. A connection that worked a moment ago still works; otherwise
# the journal and Dovecot resolve it.
_LOOK_AFTER_SECONDS = 0.1
_READ_AT_ONCE = 16 * 1024


class ConnectError(Exception):
    """The server cannot be connected to."""


class TransactionLostError(Exception):
    """The connection broke during a transaction.

    Attributes:
        outcome: the reply for each recipient who has one, or None if the outcome is unknown.
            Recipients who are missing certainly do not have the message.
    """

    def __init__(self, why: str, outcome: dict[str, Reply | None]) -> None:
        super().__init__(why)
        self.outcome = outcome


class ConnectionPool:
    """At most `most` connections to one socket. With `smtp` the server is Postfix."""

    def __init__(self, path: str, client_name: str, most: int, *, smtp: bool = False) -> None:
        self._path = path
        self._smtp = smtp
        self._client_name = client_name
        self._slots = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    def deliver(
        self, envelope: Envelope, content: Iterator[tuple[bytes, bool]], size: int | None
    ) -> dict[str, Reply | None]:
        """Transfer a message. Return one reply for each recipient.

        Args:
            envelope: its recipients get the same octets.
            content: yields (chunk, whether it is the last), with CRLF line ends.
            size: octets of the content, if known, for the SIZE parameter.

        Raises:
            ConnectError, TransactionLostError, TransactionError: see above.
        """
        with self._slots:
            connection = self._take()
            try:
                outcome = connection.transact(envelope, content, size)
            finally:
                self._give_back(connection)
        return outcome

    def reachable(self) -> bool:
        """Return whether the server can be connected to right now."""
        try:
            connection = self._connect()
        except ConnectError:
            return False
        with self._lock:
            self._idle.append(connection)
        return True

    def abort(self) -> None:
        """Break the transactions in progress: their threads get TransactionLostError."""
        with self._lock:
            for connection in self._busy:
                connection.abort()

    def close_idle(self, seconds: float = 2.0) -> None:
        """Close connections that were idle for `seconds`: the server has a process for each."""
        now = time.monotonic()
        with self._lock:
            rested = [connection for connection in self._idle if now - connection.used_at > seconds]
            self._idle = [connection for connection in self._idle if connection not in rested]
        for connection in rested:
            connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> "_Connection":
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
            elif not connection.alive():
                connection.close()
                continue
            with self._lock:
                self._busy.add(connection)
            return connection

    def _connect(self) -> "_Connection":
        return _Connection(self._path, self._client_name, smtp=self._smtp)

    def _give_back(self, connection: "_Connection") -> None:
        with self._lock:
            self._busy.discard(connection)
            if connection.reusable:
                connection.used_at = time.monotonic()
                self._idle.append(connection)
                return
        connection.close()


class _Connection:
    """One connection: a socket and its protocol."""

    def __init__(self, path: str, client_name: str, *, smtp: bool) -> None:
        self._lmtp = LmtpConnection(client_name, smtp=smtp)
        self.used_at = time.monotonic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            limit_waits(self._socket, _GREETING_SECONDS)
            self._socket.connect(path)
            self._await_replies()
            self._socket.sendall(self._lmtp.hello())
            self._await_replies()
            limit_waits(self._socket, _ANSWER_SECONDS)
        except (OSError, LmtpError) as error:
            self._socket.close()
            raise ConnectError(f"{path}: {error}") from error

    @property
    def reusable(self) -> bool:
        """Whether another transaction can follow."""
        return self._lmtp.state in (State.READY, State.FINISHED)

    def alive(self) -> bool:
        """Return whether the server keeps the connection open; checked only after an idle time."""
        if time.monotonic() - self.used_at < _LOOK_AFTER_SECONDS:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed, or an unsolicited farewell

    def transact(
        self, envelope: Envelope, content: Iterator[tuple[bytes, bool]], size: int | None
    ) -> dict[str, Reply | None]:
        """Transfer a message.

        After any error except a refusal, the connection cannot be used again.
        """
        lmtp = self._lmtp
        try:
            owed = lmtp.begin(envelope, size)
            if not lmtp.chunking:
                self._send(owed)
                owed = b""
                self._await_replies()
                if lmtp.state is State.FINISHED:
                    return lmtp.outcome
            for chunk, last in content:
                if last:
                    self._send(owed + lmtp.finish(chunk))
                    break
                self._send(owed + lmtp.content(chunk))
                owed = b""
                # One chunk of a long content at a time, so that a refusal is noticed early.
                self._await_replies()
                if lmtp.state is State.CLOSED:
                    return lmtp.outcome  # every recipient was refused
            self._await_replies()
        except LmtpProtocolError as error:
            raise TransactionLostError(str(error), self._fates(envelope)) from error
        except OSError as error:
            with contextlib.suppress(LmtpError):
                lmtp.receive(b"")
            why = "no reply in time" if isinstance(error, BlockingIOError) else str(error)
            raise TransactionLostError(why, self._fates(envelope)) from error
        except LmtpError:
            raise
        except BaseException:
            self._socket.close()
            with contextlib.suppress(LmtpError):
                lmtp.receive(b"")
            raise
        return lmtp.outcome

    def abort(self) -> None:
        """Wake the thread that is waiting here. For other threads."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Send QUIT, without waiting for the reply, and close."""
        with contextlib.suppress(OSError):
            if self.reusable:
                self._socket.send(self._lmtp.quit(), socket.MSG_DONTWAIT)
        self._socket.close()

    def _send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def _await_replies(self) -> None:
        lmtp = self._lmtp
        while lmtp.waiting:
            lmtp.receive(self._socket.recv(_READ_AT_ONCE))

    def _fates(self, envelope: Envelope) -> dict[str, Reply | None]:
        """Return the outcome, without the recipients who certainly do not have the message."""
        outcome = self._lmtp.outcome
        return {name: outcome[name] for name in envelope.recipients if name in outcome}
