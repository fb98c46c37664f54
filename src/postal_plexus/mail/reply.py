"""Replies of an SMTP or LMTP server (RFC 5321 section 4.2, enhanced codes RFC 2034 and 3463).

`ReplyReader` turns arbitrary chunks into whole replies. If a server does not speak SMTP, or a reply
never ends, it raises `ReplyError`; the connection can then no longer be used.
"""

import re
from dataclasses import dataclass

_LINE = re.compile(rb"([2345][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|$)")
_LONGEST_REPLY = 64 * 1024  # far above RFC 5321's 512 per line; only bounds memory


class ReplyError(Exception):
    """The server sent something that is not a reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Code, enhanced status code ("" if the server sent none), and the text of all lines."""

    code: int
    enhanced: str
    text: str

    @property
    def positive(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400

    @property
    def permanent(self) -> bool:
        """5xx: the same command will not succeed (RFC 5321, section 4.2.1)."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code, or the most general correct one (RFC 3463, section 3.1)."""
        return self.enhanced or f"{min(self.code // 100, 5) if self.code >= 400 else 2}.0.0"

    @property
    def lines(self) -> tuple[str, ...]:
        """The text, line by line."""
        return tuple(self.text.split("\n"))

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class ReplyReader:
    """Collects octets and returns replies."""

    def __init__(self) -> None:
        self._octets = b""
        self._code = 0
        self._texts: list[bytes] = []
        self._size = 0

    def feed(self, octets: bytes) -> list[Reply]:
        """Return all replies that these octets complete. Raise ReplyError."""
        *lines, self._octets = (self._octets + octets).split(b"\n")
        replies: list[Reply] = []
        for line in lines:
            match = _LINE.fullmatch(line.removesuffix(b"\r"))
            if match is None or (self._texts and int(match[1]) != self._code):
                raise ReplyError(f"not a reply: {line[:120]!r}")
            self._code = int(match[1])
            self._texts.append(match[3] or b"")
            self._size += len(line)
            if match[2] != b"-":
                replies.append(_reply(self._code, self._texts))
                self._texts, self._size = [], 0
        if self._size + len(self._octets) > _LONGEST_REPLY:
            raise ReplyError("a reply without end")
        return replies


def _reply(code: int, lines: list[bytes]) -> Reply:
    enhanced = ""
    texts: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "replace")
        match = _ENHANCED.match(text)
        # RFC 2034, section 4: the class of the two codes must agree.
        if match is not None and match[1][0] == str(code)[0]:
            enhanced = enhanced or match[1]
            text = text[match.end() :]
        texts.append(text)
    return Reply(code, enhanced, "\n".join(texts))
