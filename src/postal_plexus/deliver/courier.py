"""The courier: LMTP over a unix socket, with connections that are kept and shared.

`deliver` carries one transaction to its end. What it raises says what is known of the mail:

    Unreached            nothing was sent; the thing to do is to wait for the other end
    TransactionLost      the connection broke; `outcome` has None for recipients who may have it
    lmtp.TransactionError   refused as a whole; nobody has it

and whatever the content's iterator raises, after which nobody has it either: a content is only ever
ended with all of it sent.
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
# stalled file system may need them; what is lost by waiting is one of several connections.
_ANSWER_SECONDS = 600.0
# A greeting comes when Dovecot has a process free, which may take a mail's time.
_GREETING_SECONDS = 30.0
# A look costs two changes of threads; a connection that was good a moment ago is still good, or the
# journal and Dovecot sort it out.
_LOOK_AFTER_SECONDS = 0.1
_READ_AT_ONCE = 16 * 1024


class Unreached(Exception):
    """No LMTP connection can be had."""


class TransactionLost(Exception):
    """The connection broke in a transaction. `outcome` knows every recipient; None: unknown."""

    def __init__(self, why: str, outcome: dict[str, Reply | None]) -> None:
        super().__init__(why)
        self.outcome = outcome


class Courier:
    """A pool of at most `most` connections to one socket. Threads share it.

    With `smtp` the other end is Postfix.
    """

    def __init__(self, path: str, client_name: str, most: int, *, smtp: bool = False) -> None:
        self._path = path
        self._smtp = smtp
        self._client_name = client_name
        self._slots = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._idle: list[_Channel] = []
        self._busy: set[_Channel] = set()

    def deliver(
        self, envelope: Envelope, content: Iterator[tuple[bytes, bool]], size: int | None
    ) -> dict[str, Reply | None]:
        """Carry one mail; one reply for each recipient.

        `content` gives (chunk, whether it is the last) with CRLF line ends.
        """
        with self._slots:
            channel = self._take()
            try:
                outcome = channel.transact(envelope, content, size)
            finally:
                self._give_back(channel)
        return outcome

    def reachable(self) -> bool:
        """Whether a connection can be had right now."""
        try:
            channel = self._connect()
        except Unreached:
            return False
        with self._lock:
            self._idle.append(channel)
        return True

    def abort(self) -> None:
        """Break the transactions under way: their threads wake with TransactionLost."""
        with self._lock:
            for channel in self._busy:
                channel.abort()

    def close_idle(self, seconds: float = 2.0) -> None:
        """Take leave on connections that rested so long: Dovecot keeps a process for each."""
        now = time.monotonic()
        with self._lock:
            rested = [channel for channel in self._idle if now - channel.used_at > seconds]
            self._idle = [channel for channel in self._idle if channel not in rested]
        for channel in rested:
            channel.close()

    def close(self) -> None:
        """Take leave of Dovecot on all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def _take(self) -> "_Channel":
        while True:
            with self._lock:
                channel = self._idle.pop() if self._idle else None
            if channel is None:
                channel = self._connect()
            elif not channel.alive():
                channel.close()
                continue
            with self._lock:
                self._busy.add(channel)
            return channel

    def _connect(self) -> "_Channel":
        return _Channel(self._path, self._client_name, smtp=self._smtp)

    def _give_back(self, channel: "_Channel") -> None:
        with self._lock:
            self._busy.discard(channel)
            if channel.reusable:
                channel.used_at = time.monotonic()
                self._idle.append(channel)
                return
        channel.close()


class _Channel:
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
            raise Unreached(f"{path}: {error}") from error

    @property
    def reusable(self) -> bool:
        """Whether another transaction can follow."""
        return self._lmtp.state in (State.READY, State.FINISHED)

    def alive(self) -> bool:
        """Whether Dovecot still holds its end; looked at only after a rest."""
        if time.monotonic() - self.used_at < _LOOK_AFTER_SECONDS:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed, or a farewell that nobody asked for

    def transact(
        self, envelope: Envelope, content: Iterator[tuple[bytes, bool]], size: int | None
    ) -> dict[str, Reply | None]:
        """One transaction. On any error but a refusal the connection is of no further use."""
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
                # One chunk of a long content at a time: what is refused is noticed early.
                self._await_replies()
                if lmtp.state is State.CLOSED:
                    return lmtp.outcome  # every recipient was refused
            self._await_replies()
        except LmtpProtocolError as error:
            raise TransactionLost(str(error), self._fates(envelope)) from error
        except OSError as error:
            with contextlib.suppress(LmtpError):
                lmtp.receive(b"")
            why = "no reply in time" if isinstance(error, BlockingIOError) else str(error)
            raise TransactionLost(why, self._fates(envelope)) from error
        except LmtpError:
            raise
        except BaseException:
            self._socket.close()
            with contextlib.suppress(LmtpError):
                lmtp.receive(b"")
            raise
        return lmtp.outcome

    def abort(self) -> None:
        """Wake the thread that waits here. For other threads."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Say QUIT, without waiting for the answer, and close."""
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
        """The outcome, with the recipients left out who certainly do not have the mail."""
        outcome = self._lmtp.outcome
        return {name: outcome[name] for name in envelope.recipients if name in outcome}
