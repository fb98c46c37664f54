"""The content of a mail, from S3 as it comes in to LMTP as it goes out, chunk by chunk.

Bounded memory: a content of up to 128 KB is read at once, a longer one in chunks of 64 KB. Raises
what the store raises, and HeaderTooLong; a content that is cut short never looks complete.
"""

from collections.abc import Iterator

from postal_plexus.deliver.aws.http import Answer
from postal_plexus.deliver.failure_policy import HEADER_BOUND
from postal_plexus.mail.content import HeaderBlock, LineEnds, TraceFields

_WHOLE = 128 * 1024
_CHUNK = 64 * 1024


class Content:
    """One content on its one way. `begin` reads as far as the header block, at least in part."""

    def __init__(self, answer: Answer, trace: TraceFields, hostname: str) -> None:
        self._answer = answer
        self._ends = LineEnds()
        self.header = HeaderBlock(trace, hostname, HEADER_BOUND)
        length = answer.length
        self.length = length
        self._size = length if length is not None and 0 < length <= _WHOLE else _CHUNK
        self._first = self._next()

    @property
    def received(self) -> int:
        """Received headers seen so far."""
        return self.header.received

    @property
    def delivered_to(self) -> set[str]:
        """Addresses of the Delivered-To headers seen so far."""
        return self.header.delivered_to

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """(chunk, whether it is the last), with CRLF line ends. To be taken once."""
        chunk, last = self._first
        self._first = (b"", True)
        yield chunk, last
        while not last:
            chunk, last = self._next()
            if chunk or last:
                yield chunk, last

    def close(self) -> None:
        """Give up what was not read."""
        self._answer.discard()

    def _next(self) -> tuple[bytes, bool]:
        raw = self._answer.read(self._size)
        chunk = self.header.feed(self._ends.feed(raw)) if raw else b""
        if not self._answer.over:
            return chunk, False
        return chunk + self.header.feed(self._ends.finish()) + self.header.finish(), True
