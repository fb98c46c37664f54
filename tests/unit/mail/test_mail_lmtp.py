"""The LMTP state machine against a server that was written independently of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.mail.content import LineEnds
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import (
    LmtpConnection,
    LmtpError,
    LmtpProtocolError,
    State,
    TransactionError,
)
from unit.mail.lmtp_server_model import LmtpServerModel, Script

RCPT = st.sampled_from([b"250 2.1.5 OK", b"550 5.1.1 no such user", b"451 4.3.0 later"])
FINAL = st.sampled_from(
    [b"250 2.0.0 Saved", b"452 4.2.2 full", b"554 5.6.0 no", b"250-2.0.0 a\r\n250 2.0.0 b"]
)


def normal(content: bytes) -> bytes:
    """CRLF line ends, by the whole string at once."""
    ends = LineEnds()
    return ends.feed(content) + ends.finish()


def pieces(octets: bytes, sizes: list[int]) -> list[bytes]:
    """Return the octets cut into those sizes, over and over."""
    parts: list[bytes] = []
    place = 0
    turn = 0
    while place < len(octets):
        size = sizes[turn % len(sizes)]
        parts.append(octets[place : place + size])
        place += size
        turn += 1
    return parts


class Wires:
    """Client and server in memory; octets travel in pieces of the given sizes, both ways."""

    def __init__(self, server: LmtpServerModel, sizes: list[int], *, smtp: bool = False) -> None:
        self.server = server
        self.sizes = sizes
        self.client = LmtpConnection("client.example", smtp=smtp)
        self.give(server.greeting())
        self.send(self.client.hello())

    def send(self, octets: bytes) -> None:
        """Client to server, and what it answers back."""
        for part in pieces(octets, self.sizes):
            self.give(self.server.feed(part))

    def give(self, octets: bytes) -> None:
        """Server to client."""
        for part in pieces(octets, self.sizes):
            self.client.receive(part)

    def transact(self, envelope: Envelope, chunks: list[bytes]) -> None:
        """Run a transaction as a driver does, without reading ahead."""
        client = self.client
        self.send(client.begin(envelope))
        if client.state in (State.FINISHED, State.CLOSED):
            return
        for chunk in chunks[:-1]:
            self.send(client.content(chunk))
            if client.state is State.CLOSED:
                return
        self.send(client.finish(chunks[-1]))


@st.composite
def transactions(draw: st.DrawFn) -> tuple[Script, Envelope, bytes]:
    """Return a script, an envelope that fits it, and a content."""
    count = draw(st.integers(1, 4))
    script = Script(
        chunking=draw(st.booleans()),
        rcpt=draw(st.lists(RCPT, min_size=count, max_size=count)),
        final=draw(st.lists(FINAL, min_size=count, max_size=count)),
    )
    envelope = Envelope("a@b.c", tuple(f"u{n}@example.org" for n in range(count)))
    content = draw(
        st.one_of(st.binary(max_size=200), st.text(".\r\n a", max_size=60).map(str.encode))
    )
    return script, envelope, content


@settings(max_examples=400)
@given(transactions(), st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 50))
def test_every_recipient_has_the_reply_the_server_gave_it(
    transaction: tuple[Script, Envelope, bytes], sizes: list[int], chunk_size: int
) -> None:
    """Whatever the pieces: outcome and stored content agree with what the server did."""
    script, envelope, content = transaction
    wires = Wires(LmtpServerModel([script]), sizes)
    chunks = pieces(normal(content), [chunk_size]) or [b""]
    wires.transact(envelope, chunks)
    accepted = iter(script.final)
    expected = {
        name: int(next(accepted)[:3]) if reply.startswith(b"2") else int(reply[:3])
        for name, reply in zip(envelope.recipients, script.rcpt, strict=True)
    }
    assert expected == {
        name: reply.code if reply else None for name, reply in wires.client.outcome.items()
    }
    for sender, kept, stored in wires.server.stored:
        assert ("a@b.c", normal(content)) == (sender, stored)
        assert set(kept) == {name for name, code in expected.items() if code == 250}


@given(st.lists(transactions(), min_size=2, max_size=4), st.booleans())
def test_a_connection_carries_one_transaction_after_another(
    several: list[tuple[Script, Envelope, bytes]],
    chunking: bool,
) -> None:
    """Refused, half refused or delivered: the next transaction finds the server ready for MAIL."""
    scripts = [script for script, _, _ in several]
    for script in scripts:
        script.chunking = chunking
        script.rcpt[0] = b"250 2.1.5 OK"  # so that each transaction reaches its content
    wires = Wires(LmtpServerModel(scripts), [1000])
    for _, envelope, content in several:
        wires.transact(envelope, [normal(content)])
        assert State.FINISHED is wires.client.state
    assert len(several) == len(wires.server.stored)


@pytest.mark.parametrize("chunking", [True, False])
def test_a_refused_transaction_raises_and_the_next_one_succeeds(chunking: bool) -> None:
    """MAIL refused concerns the transaction; RSET makes the connection good again."""
    bad = Script(chunking=chunking, mail=b"451 4.3.0 later", rcpt=[b""], final=[b"250 ok"])
    wires = Wires(LmtpServerModel([bad]), [7])
    envelope = Envelope("a@b.c", ("u@example.org",))
    with pytest.raises(TransactionError) as refusal:
        wires.transact(envelope, [b"x\r\n"])
    assert ("MAIL", 451, False) == (
        refusal.value.command,
        refusal.value.reply.code,
        refusal.value.permanent,
    )
    wires.server.scripts = [Script(chunking=chunking, rcpt=[b"250 OK"], final=[b"250 2.0.0 Saved"])]
    wires.transact(envelope, [b"x\r\n"])
    assert [("a@b.c", ("u@example.org",), b"x\r\n")] == wires.server.stored


def test_a_refused_data_is_the_refusal_of_all() -> None:
    """If DATA is refused, no recipient has the mail, and that is one error."""
    script = Script(chunking=False, rcpt=[b"250 OK"], data=b"451 4.3.1 disk full")
    wires = Wires(LmtpServerModel([script]), [100])
    with pytest.raises(TransactionError, match="DATA refused: 451"):
        wires.transact(Envelope("", ("u@example.org",)), [b"x\r\n"])


def test_a_chunk_refused_half_way_is_the_refusal_of_all() -> None:
    """If a chunk before the last is refused, no recipient has it; the connection is closed."""
    script = Script(rcpt=[b"250 OK"], chunk=b"452 4.3.1 disk full")
    wires = Wires(LmtpServerModel([script]), [100])
    with pytest.raises(TransactionError, match="BDAT refused: 452"):
        wires.transact(Envelope("", ("u@example.org",)), [b"x\r\n", b"y\r\n"])
    assert State.CLOSED is wires.client.state


@given(st.integers(0, 3), st.booleans())
def test_what_was_not_answered_is_unknown(answered: int, chunking: bool) -> None:
    """The connection breaks after the content: recipients without a reply have the outcome None."""
    names = tuple(f"u{n}@example.org" for n in range(3))
    client = LmtpConnection("x")
    client.receive(b"220 x\r\n")
    client.hello()
    client.receive(b"250-x\r\n250 CHUNKING\r\n" if chunking else b"250 x\r\n")
    client.begin(Envelope("a@b.c", names))
    client.receive(b"250 OK\r\n" * 4 + (b"" if chunking else b"354 go\r\n"))
    client.finish(b"x\r\n")
    with contextlib.suppress(LmtpError):
        client.receive(b"250 2.0.0 Saved\r\n" * answered if answered else b"")
        client.receive(b"")
    known = {name: (250 if index < answered else None) for index, name in enumerate(names)}
    assert known == {name: reply.code if reply else None for name, reply in client.outcome.items()}


def test_421_instead_of_a_recipients_reply_leaves_it_unknown() -> None:
    """A server that goes away says nothing about the mail that it already has."""
    client = LmtpConnection("x")
    client.receive(b"220 x\r\n")
    client.hello()
    client.receive(b"250 CHUNKING\r\n250 CHUNKING\r\n"[:14])
    client.begin(Envelope("a@b.c", ("u@example.org",)))
    client.receive(b"250 OK\r\n250 OK\r\n354 go\r\n")
    client.finish(b"x\r\n")
    with pytest.raises(LmtpProtocolError, match="421"):
        client.receive(b"421 4.3.2 shutting down\r\n")
    assert {"u@example.org": None} == client.outcome


def test_a_break_before_the_end_of_content_leaves_nothing_unknown() -> None:
    """Content that was not ended is nowhere."""
    client = LmtpConnection("x")
    client.receive(b"220 x\r\n")
    client.hello()
    client.receive(b"250-x\r\n250 CHUNKING\r\n")
    client.begin(Envelope("a@b.c", ("u@example.org",)))
    client.content(b"x\r\n")
    with pytest.raises(LmtpProtocolError, match="closed"):
        client.receive(b"")
    assert {} == client.outcome


@given(st.binary(max_size=300))
def test_a_server_that_speaks_nonsense_raises_and_nothing_else(octets: bytes) -> None:
    """Arbitrary octets after the content: replies, or an LmtpError."""
    client = LmtpConnection("x")
    client.receive(b"220 x\r\n")
    client.hello()
    client.receive(b"250-x\r\n250 CHUNKING\r\n")
    client.begin(Envelope("a@b.c", ("u@example.org", "v@example.org")))
    client.finish(b"x\r\n")
    with contextlib.suppress(LmtpError):
        client.receive(octets or b"\n")
    assert set(client.outcome) <= {"u@example.org", "v@example.org"}


def test_smtp_has_one_reply_for_all_recipients() -> None:
    """As a client of SMTP, the one reply to the content is each recipient's."""
    script = Script(smtp=True, rcpt=[b"250 OK", b"250 OK"], final=[b"250 2.0.0 queued"] * 2)
    wires = Wires(LmtpServerModel([script]), [5], smtp=True)
    wires.transact(Envelope("a@b.c", ("u@x.org", "v@x.org")), [b"x\r\n"])
    assert {"u@x.org": 250, "v@x.org": 250} == {
        name: reply.code if reply else None for name, reply in wires.client.outcome.items()
    }


def test_content_wanted_for_nobody_is_not_given() -> None:
    """354 although every recipient was refused: the connection is given up instead."""
    client = LmtpConnection("x")
    client.receive(b"220 x\r\n")
    client.hello()
    client.receive(b"250 x\r\n")
    client.begin(Envelope("a@b.c", ("u@example.org",)))
    with pytest.raises(LmtpProtocolError, match="nobody"):
        client.receive(b"250 OK\r\n550 no\r\n354 go\r\n")
