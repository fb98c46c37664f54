"""The client's end of LMTP (RFC 2033) as a state machine without I/O.

Methods that begin something return the octets to send; `receive` takes the server's octets. One
connection carries any number of transactions, one after the other:

    hello()                      after `greeted`; then capabilities are known
    begin(envelope)              MAIL, one RCPT for each recipient, in one write (RFC 2920)
    content(chunk), finish()     the content: BDAT chunks (RFC 3030) where the server has CHUNKING,
                                 else DATA, with dots stuffed
    outcome                      when `finished`: one reply for each recipient

With CHUNKING nothing waits for anything: a small mail is one write and one read. Without it DATA is
sent along with the envelope, but content only after 354. The content must have CRLF line ends.

    LmtpError
     +- LmtpProtocolError   the server broke the protocol, or closed; the connection is of no use
     +- TransactionError    the server refused the whole transaction (MAIL, DATA, a chunk);
                            `reply` and `command` say what, `permanent` whether for good

A recipient's own refusal raises nothing: it is in `outcome`. So is `None`, for a recipient whose
fate the server never told although it has the whole content: such a mail may or may not be in the
mailbox.

SMTP (RFC 5321) is the same but for its greeting and for one reply to the content on behalf of all
recipients: `LmtpConnection(name, smtp=True)`.
"""

from collections import deque
from enum import Enum
from typing import NoReturn

from postal_plexus.mail.content import DotStuffing
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.reply import Reply, ReplyError, ReplyReader


class LmtpError(Exception):
    """Anything that went wrong with a connection or a transaction."""


class LmtpProtocolError(LmtpError):
    """The server does not speak LMTP, spoke out of turn, or closed the connection."""


class TransactionError(LmtpError):
    """The transaction was refused as a whole: it has no recipient's outcome."""

    def __init__(self, command: str, reply: Reply) -> None:
        super().__init__(f"{command} refused: {reply}")
        self.command = command
        self.reply = reply

    @property
    def permanent(self) -> bool:
        """Whether trying again is of no use."""
        return self.reply.permanent


class State(Enum):
    """Where a connection stands."""

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

    # What the driver asks for.

    @property
    def chunking(self) -> bool:
        """Whether content goes by BDAT."""
        return "CHUNKING" in self.capabilities

    @property
    def content_welcome(self) -> bool:
        """Whether (more) content may be sent now without waiting for a reply."""
        if self.state is State.CONTENT:
            return True
        return self.state is State.ENVELOPE and self.chunking

    @property
    def waiting(self) -> bool:
        """Whether a reply is owed by the server."""
        return bool(self._expected)

    @property
    def outcome(self) -> dict[str, Reply | None]:
        """One reply for each recipient; None where it is unknown whether the mail was kept."""
        return dict(self._outcome)

    # What the driver does. Each returns the octets to send.

    def hello(self) -> bytes:
        """Introduce ourselves."""
        self._must_be(State.GREETED)
        self.state = State.LHLO
        self._expected.append(_Command.LHLO)
        return f"{'EHLO' if self._smtp else 'LHLO'} {self._client_name}\r\n".encode()

    def begin(self, envelope: Envelope, size: int | None = None) -> bytes:
        """Begin a transaction. `size` (octets) is declared where the server has SIZE (RFC 1870)."""
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
        """The next part of the content, framed for the wire."""
        self._must_welcome_content()
        if not self.chunking:
            return self._stuffing.feed(chunk)
        self.state = State.CONTENT
        self._expected.append(_Command.CHUNK)
        return b"BDAT %d\r\n%b" % (len(chunk), chunk)

    def finish(self, chunk: bytes = b"") -> bytes:
        """The last part of the content, and its end."""
        self._must_welcome_content()
        self._expected.append(_Command.END)
        self.state = State.ENDING
        if self.chunking:
            return b"BDAT %d LAST\r\n%b" % (len(chunk), chunk)
        return self._stuffing.feed(chunk) + b".\r\n"

    def quit(self) -> bytes:
        """Take leave."""
        self.state = State.QUITTING
        self._expected.append(_Command.QUIT)
        return b"QUIT\r\n"

    # What the server says.

    def receive(self, octets: bytes) -> None:
        """Take the server's octets; none at all means that it closed.

        Raises LmtpProtocolError, also for a server that closes or says 421 (RFC 5321, section 3.8)
        before the transaction is over; recipients without a reply then have the outcome None if the
        server may have the whole content. Raises TransactionError when all replies of a transaction
        that was refused as a whole are here; the connection can carry the next one.
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
        """Nothing was kept, since the last chunk was not sent.

        Where the server stands with chunks that are under way is not worth finding out: the
        connection is given up. If every recipient had been refused, that is the outcome.
        """
        if self._accepted and self._refusal is None:
            self._refusal = TransactionError("BDAT", reply)
        self._shut()
        if self._refusal is not None:
            self._outcome = {}
            raise self._refusal

    def _take_end(self, reply: Reply) -> None:
        if self._refusal is not None or not self._accepted:
            # Nobody was accepted: the one reply only says that there is no transaction.
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
        """The transaction ended without a delivery: for each recipient's own reason, or as one."""
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
        elif self.state is not State.FINISHED:  # what is answered stays answered
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
