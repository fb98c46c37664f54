"""The client's end of LMTP (RFC 2033) as a state machine without I/O.

Methods that begin something return the octets to send; `receive` takes the server's octets. One
connection carries any number of transactions, one after the other:

    hello()                      after `greeted`; then capabilities are known
    begin(envelope)              MAIL, one RCPT for each recipient, in one write (RFC 2920)
    content(chunk), finish()     the content: BDAT chunks (RFC 3030) where the server has CHUNKING,
                                 else DATA, with dots stuffed
    outcome                      when `finished`: one reply for each recipient

With CHUNKING nothing waits for a reply: a small message is one write and one read. Without it, DATA
is sent along with the envelope, but content only after 354. The content must have CRLF line ends.

    LmtpError
     +- LmtpProtocolError   the server violated the protocol, or closed; the connection is unusable
     +- TransactionError    the server refused the whole transaction (MAIL, DATA, a chunk);
                            see `reply`, `command` and `permanent`

A refused recipient does not raise; its reply is in `outcome`. The outcome is None for a recipient
about whom the server did not reply although it has the whole content: the message may or may not be
in the mailbox.

SMTP (RFC 5321) differs only in its greeting, and in its single reply to the content for all
recipients: `LmtpConnection(name, smtp=True)`.
"""

from collections import deque
from enum import Enum
from typing import NoReturn

from postal_plexus.mail.content import DotStuffing
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.reply import Reply, ReplyError, ReplyReader


class LmtpError(Exception):
    """An error of a connection or a transaction."""


class LmtpProtocolError(LmtpError):
    """The server does not speak LMTP, replied out of order, or closed the connection."""


class TransactionError(LmtpError):
    """The server refused the whole transaction, so there is no outcome per recipient."""

    def __init__(self, command: str, reply: Reply) -> None:
        super().__init__(f"{command} refused: {reply}")
        self.command = command
        self.reply = reply

    @property
    def permanent(self) -> bool:
        """Whether a retry cannot succeed."""
        return self.reply.permanent


class State(Enum):
    """The state of a connection."""

    GREETING = "waits for the server's greeting"
    GREETED = "greeted"
    LHLO = "waits for the reply to LHLO"
    READY = "ready for a transaction"
    ENVELOPE = "envelope sent; content not begun, or waiting for 354"
    CONTENT = "content under way"
    ENDING = "content sent whole; waits for the recipients' replies"
    FINISHED = "every reply of the transaction is here"
    QUITTING = "QUIT sent"
    CLOSED = "of no further use"


class _Command(Enum):
    GREETING = "greeting"
    LHLO = "LHLO"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CHUNK = "BDAT"
    END = "end of content"
    QUIT = "QUIT"


class LmtpConnection:
    """One connection; see the module's description for the order of calls."""

    def __init__(self, client_name: str, *, smtp: bool = False) -> None:
        self._client_name = client_name
        self._smtp = smtp
        self._reader = ReplyReader()
        self._expected: deque[_Command] = deque([_Command.GREETING])
        self.state = State.GREETING
        self.capabilities: frozenset[str] = frozenset()
        self._needs_reset = False
        self._stuffing = DotStuffing()
        self._recipients: tuple[str, ...] = ()
        self._asked = 0  # recipients whose RCPT has been answered
        self._outcome: dict[str, Reply | None] = {}
        self._accepted: deque[str] = deque()
        self._refusal: TransactionError | None = None

    # Queries of the driver.

    @property
    def chunking(self) -> bool:
        """Whether content is sent with BDAT."""
        return "CHUNKING" in self.capabilities

    @property
    def content_welcome(self) -> bool:
        """Whether (more) content may be sent now, without waiting for a reply."""
        if self.state is State.CONTENT:
            return True
        return self.state is State.ENVELOPE and self.chunking

    @property
    def waiting(self) -> bool:
        """Whether the server still owes a reply."""
        return bool(self._expected)

    @property
    def outcome(self) -> dict[str, Reply | None]:
        """One reply for each recipient; None if it is unknown whether the message was kept."""
        return dict(self._outcome)

    # Actions of the driver. Each returns the octets to send.

    def hello(self) -> bytes:
        """Send LHLO, or EHLO."""
        self._must_be(State.GREETED)
        self.state = State.LHLO
        self._expected.append(_Command.LHLO)
        return f"{'EHLO' if self._smtp else 'LHLO'} {self._client_name}\r\n".encode()

    def begin(self, envelope: Envelope, size: int | None = None) -> bytes:
        """Begin a transaction. `size` (octets) is declared if the server has SIZE (RFC 1870)."""
        if self.state is State.FINISHED:
            self.state = State.READY
        self._must_be(State.READY)
        lines: list[str] = []
        if self._needs_reset:
            lines.append("RSET")
            self._expected.append(_Command.RSET)
        parameters = " BODY=8BITMIME" if "8BITMIME" in self.capabilities else ""
        if size is not None and "SIZE" in self.capabilities:
            parameters += f" SIZE={size}"
        lines.append(f"MAIL FROM:<{envelope.sender}>{parameters}")
        lines.extend([f"RCPT TO:<{recipient}>" for recipient in envelope.recipients])
        self._expected.append(_Command.MAIL)
        self._expected.extend([_Command.RCPT] * len(envelope.recipients))
        if not self.chunking:
            lines.append("DATA")
            self._expected.append(_Command.DATA)
        self._recipients = envelope.recipients
        self._asked = 0
        self._outcome = {}
        self._accepted.clear()
        self._refusal = None
        self._stuffing = DotStuffing()
        self._needs_reset = True
        self.state = State.ENVELOPE
        lines.append("")
        return "\r\n".join(lines).encode()

    def content(self, chunk: bytes) -> bytes:
        """Return the next part of the content, framed for the wire."""
        self._must_welcome_content()
        if not self.chunking:
            return self._stuffing.feed(chunk)
        self.state = State.CONTENT
        self._expected.append(_Command.CHUNK)
        return b"BDAT %d\r\n%b" % (len(chunk), chunk)

    def finish(self, chunk: bytes = b"") -> bytes:
        """Return the end of the content, framed for the wire."""
        self._must_welcome_content()
        self._expected.append(_Command.END)
        self.state = State.ENDING
        if self.chunking:
            return b"BDAT %d LAST\r\n%b" % (len(chunk), chunk)
        return self._stuffing.feed(chunk) + b".\r\n"

    def quit(self) -> bytes:
        """Send QUIT."""
        self.state = State.QUITTING
        self._expected.append(_Command.QUIT)
        return b"QUIT\r\n"

    # Replies of the server.

    def receive(self, octets: bytes) -> None:
        """Process the server's octets; no octets mean that it closed.

        Raises LmtpProtocolError, also if the server closes or replies 421 (RFC 5321, section 3.8)
        before the transaction has ended; recipients without a reply then have the outcome None if
        the server may have the whole content. Raises TransactionError when all replies of a refused
        transaction have arrived; the connection can then carry the next one.
        """
        if not octets:
            self._close("the server closed the connection")
        try:
            replies = self._reader.feed(octets)
        except ReplyError as error:
            self._close(str(error))
        for reply in replies:
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        if reply.code == 421 or not self._expected:
            self._close(f"the server closes: {reply}" if reply.code == 421 else f"unasked: {reply}")
        command = self._expected.popleft()
        match command:
            case _Command.GREETING:
                self._expect_positive(command, reply)
                self.state = State.GREETED
            case _Command.LHLO:
                self._expect_positive(command, reply)
                words = (line.split() for line in reply.lines[1:])
                self.capabilities = frozenset(word[0].upper() for word in words if word)
                self.state = State.READY
            case _Command.RSET:
                self._expect_positive(command, reply)
            case _Command.MAIL:
                if not reply.positive:
                    self._refusal = TransactionError("MAIL", reply)
            case _Command.RCPT:
                self._take_recipient(reply)
            case _Command.DATA:
                self._take_data(reply)
            case _Command.CHUNK:
                if not reply.positive:
                    self._take_refused_chunk(reply)
            case _Command.END:
                self._take_end(reply)
            case _Command.QUIT:
                self._shut()

    def _take_recipient(self, reply: Reply) -> None:
        recipient = self._recipients[self._asked]
        self._asked += 1
        if reply.positive:
            self._accepted.append(recipient)
        else:
            self._outcome[recipient] = reply

    def _take_data(self, reply: Reply) -> None:
        if self._refusal is None and reply.code == 354 and self._accepted:
            self.state = State.CONTENT
        elif reply.positive:
            # RFC 2033, section 4.2: without an accepted recipient DATA must fail. A server that
            # wants content nevertheless will not be given any, so the connection is lost.
            self._close(f"content wanted for nobody: {reply}")
        else:
            self._refuse_or_finish("DATA", reply)

    def _take_refused_chunk(self, reply: Reply) -> None:
        """Handle a refused chunk: nothing was kept, because the last chunk was not sent.

        The state of chunks in transit is unknown, so the connection is given up. If every recipient
        had been refused, that is the outcome.
        """
        if self._accepted and self._refusal is None:
            self._refusal = TransactionError("BDAT", reply)
        self._shut()
        if self._refusal is not None:
            self._outcome = {}
            raise self._refusal

    def _take_end(self, reply: Reply) -> None:
        if self._refusal is not None or not self._accepted:
            # No recipient was accepted: the single reply only says that there is no transaction.
            self._refuse_or_finish("BDAT", reply)
            return
        # RFC 2033, section 4.2: one reply for each accepted recipient, in the order of RCPT.
        self._outcome[self._accepted.popleft()] = reply
        while self._smtp and self._accepted:
            self._outcome[self._accepted.popleft()] = reply
        if self._accepted:
            self._expected.appendleft(_Command.END)
        else:
            self._needs_reset = False
            self.state = State.FINISHED

    def _refuse_or_finish(self, command: str, reply: Reply) -> None:
        """End a transaction without a delivery: with each recipient's reply, or as a whole."""
        self.state = State.FINISHED
        if self._accepted and self._refusal is None:
            self._refusal = TransactionError(command, reply)
        if self._refusal is not None:
            self._outcome = {}
            raise self._refusal

    def _expect_positive(self, command: _Command, reply: Reply) -> None:
        if not reply.positive:
            self._close(f"{command.value} refused: {reply}")

    def _close(self, why: str) -> NoReturn:
        if self.state is State.ENDING and self._refusal is None:
            unanswered = [*self._accepted, *self._recipients[self._asked :]]
            self._outcome.update(dict.fromkeys(unanswered))
        elif self.state is not State.FINISHED:  # replies received so far stay
            self._outcome = {}
        self._shut()
        raise LmtpProtocolError(why)

    def _shut(self) -> None:
        self.state = State.CLOSED
        self._expected.clear()

    def _must_welcome_content(self) -> None:
        if not self.content_welcome:
            raise LmtpProtocolError(f"no content may be sent now: {self.state.value}")

    def _must_be(self, state: State) -> None:
        if self.state is not state:
            raise LmtpProtocolError(f"connection is not {state.value}: it is {self.state.value}")
