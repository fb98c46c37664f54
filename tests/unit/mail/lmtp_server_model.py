"""An LMTP (or SMTP) server written from the RFCs for tests; it shares no code with the client.

It takes octets in any pieces and answers in order. A script says what it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Script:
    """What the server says. `rcpt` and `final` are taken in order, by recipient."""

    chunking: bool = True
    mail: bytes = b"250 2.1.0 OK"
    rcpt: list[bytes] = field(default_factory=list)
    data: bytes = b"354 go on"
    chunk: bytes = b"250 2.0.0 taken"
    final: list[bytes] = field(default_factory=list)
    smtp: bool = False


class LmtpServerModel:
    """One connection. `stored` collects (sender, accepted recipients, content)."""

    def __init__(self, scripts: list[Script]) -> None:
        self.scripts = scripts
        self._input = b""
        self._mode = "command"
        self._wanted = 0
        self._last = False
        self._sender: str | None = None
        self._accepted: list[str] = []
        self._content = b""
        self._seen_rcpt = 0
        self.stored: list[tuple[str, tuple[str, ...], bytes]] = []

    @property
    def script(self) -> Script:
        """Of the transaction at hand."""
        return self.scripts[0]

    def greeting(self) -> bytes:
        """Return what the server says first."""
        return b"220 model ready\r\n"

    def feed(self, octets: bytes) -> bytes:
        """Take octets, give the replies to all that is complete."""
        self._input += octets
        out = b""
        while True:
            if self._mode == "bdat":
                if len(self._input) < self._wanted:
                    return out
                chunk, self._input = self._input[: self._wanted], self._input[self._wanted :]
                self._mode = "command"
                out += self._chunk(chunk)
            elif self._mode == "data":
                content, end, rest = self._until_dot()
                if not end:
                    return out
                self._input = rest
                self._mode = "command"
                out += self._store(content)
            else:
                line, end, rest = self._input.partition(b"\r\n")
                if not end:
                    return out
                self._input = rest
                out += self._command(line)

    def _until_dot(self) -> tuple[bytes, bool, bytes]:
        """RFC 5321, 4.5.2, octet by octet."""
        content = b""
        start = 0
        while True:
            end = self._input.find(b"\r\n", start)
            if end < 0:
                return b"", False, b""
            line = self._input[start:end]
            if line == b".":
                return content, True, self._input[end + 2 :]
            content += (line[1:] if line.startswith(b".") else line) + b"\r\n"
            start = end + 2

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb in (b"LHLO", b"EHLO"):
            assert (verb == b"EHLO") == self.script.smtp
            features = [b"model", b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES"]
            features += [b"CHUNKING"] if self.script.chunking else []
            lines = [b"250-" + each for each in features[:-1]] + [b"250 " + features[-1]]
            return b"\r\n".join(lines) + b"\r\n"
        if verb == b"RSET":
            self._reset()
            return b"250 2.0.0 OK\r\n"
        if verb == b"MAIL":
            assert self._sender is None, "MAIL inside a transaction"
            if self.script.mail.startswith(b"2"):
                match = re.match(rb"MAIL FROM:<([^<>]*)>( BODY=8BITMIME)?$", line)
                assert match, line
                self._sender = match[1].decode()
            return self.script.mail + b"\r\n"
        if verb == b"RCPT":
            return self._rcpt(line)
        if verb == b"DATA":
            if not self._accepted:
                return b"503 5.5.1 nobody to give it to\r\n"
            if self.script.data.startswith(b"354"):
                self._mode = "data"
            return self.script.data + b"\r\n"
        if verb == b"BDAT":
            words = line.split()
            self._wanted = int(words[1])
            self._last = words[2:] == [b"LAST"]
            self._mode = "bdat"
            return b""
        if verb == b"QUIT":
            return b"221 2.0.0 bye\r\n"
        raise AssertionError(f"the client said {line!r}")

    def _rcpt(self, line: bytes) -> bytes:
        if self._sender is None:
            return b"503 5.5.1 MAIL first\r\n"
        reply = self.script.rcpt[self._seen_rcpt]
        self._seen_rcpt += 1
        if reply.startswith(b"2"):
            self._accepted.append(re.match(rb"RCPT TO:<([^<>]+)>$", line)[1].decode())  # type: ignore[index]
        return reply + b"\r\n"

    def _chunk(self, chunk: bytes) -> bytes:
        if not self._accepted:
            return b"503 5.5.1 nobody to give it to\r\n"
        self._content += chunk
        if self._last:
            return self._store(self._content)
        return self.script.chunk + b"\r\n"

    def _store(self, content: bytes) -> bytes:
        assert self._sender is not None
        finals = self.script.final[: len(self._accepted)]
        if self.script.smtp:
            kept = self._accepted if finals[0].startswith(b"2") else []
            replies = finals[:1]
        else:
            kept = [
                name
                for name, reply in zip(self._accepted, finals, strict=True)
                if reply[:1] == b"2"
            ]
            replies = finals
        self.stored.append((self._sender, tuple(kept), content))
        self._reset()
        self.scripts = self.scripts[1:] or self.scripts
        return b"".join(reply + b"\r\n" for reply in replies)

    def _reset(self) -> None:
        self._sender = None
        self._accepted = []
        self._content = b""
        self._seen_rcpt = 0
