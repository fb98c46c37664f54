"""The content of a message, streamed in chunks from S3 to LMTP.

Memory is bounded: a content of up to 128 KB is read at once, a longer one in chunks of 64 KB. The
beginning is read when the content is opened, so that loops are detected before anything is sent.
Raises what the store raises, and HeaderTooLongError. Content that breaks off never looks complete.
"""

from collections.abc import Iterator
from typing import Protocol

from postal_plexus.deliver.aws.http import Answer
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.policy import FORWARD_HEADER_BOUND, HEADER_BOUND
from postal_plexus.deliver.trace_fields import Copy
from postal_plexus.mail.content import HeaderBlock, LineEnds, TraceFields
from postal_plexus.mail.receipt import Receipt

_WHOLE = 128 * 1024
_CHUNK = 64 * 1024


class Content(Protocol):
    """Content that can be transferred once."""

    @property
    def length(self) -> int | None:
        """Its octets, if known."""
        ...

    @property
    def received(self) -> int:
        """The number of Received fields in what has been read so far."""
        ...

    @property
    def delivered_to(self) -> set[str]:
        """The addresses of Delivered-To fields in what has been read so far."""
        ...

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield (chunk, whether it is the last), with CRLF line ends. Can be used once."""
        ...

    def close(self) -> None:
        """Discard what was not read."""
        ...


class StoredContent:
    """A content as S3 sends it, below its trace fields.

    Args:
        answer: S3's response, whose body has not been read.
        trace: the fields to put on top.
        hostname: the authserv-id that only this host may use.
        forwarded: read the whole header block at once, because a loop may show anywhere in it.

    Raises:
        AwsError: the beginning cannot be read.
        HeaderTooLongError: the header block exceeds its limit; while it is read.
    """

    def __init__(
        self, answer: Answer, trace: TraceFields, hostname: str, *, forwarded: bool = False
    ) -> None:
        self._answer = answer
        self._ends = LineEnds()
        bound = FORWARD_HEADER_BOUND if forwarded else HEADER_BOUND
        self._header = HeaderBlock(trace, hostname, bound)
        length = answer.length
        self.length = length
        self._size = length if length is not None and 0 < length <= _WHOLE else _CHUNK
        first = self._read()
        while forwarded and not (self._header.complete or answer.over):
            first += self._read()
        self._first = first

    @property
    def received(self) -> int:
        """The number of Received fields in what has been read so far."""
        return self._header.received

    @property
    def delivered_to(self) -> set[str]:
        """The addresses of Delivered-To fields in what has been read so far."""
        return self._header.delivered_to

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield (chunk, whether it is the last), with CRLF line ends. Can be used once."""
        first, self._first = self._first, b""
        yield first, self._answer.over
        while not self._answer.over:
            chunk = self._read()
            if chunk or self._answer.over:
                yield chunk, self._answer.over

    def close(self) -> None:
        """Discard what was not read."""
        self._answer.discard()

    def _read(self) -> bytes:
        raw = self._answer.read(self._size)
        chunk = self._header.feed(self._ends.feed(raw)) if raw else b""
        if not self._answer.over:
            return chunk
        return chunk + self._header.feed(self._ends.finish()) + self._header.finish()


def open_stored(
    store: Store, receipt: Receipt, hostname: str, copy: Copy, *, forwarded: bool = False
) -> StoredContent:
    """Open a message's content in the archive, below the trace fields of a copy.

    Raises:
        AwsError, HeaderTooLongError: as `StoredContent`.
    """
    answer = store.open(receipt.bucket, receipt.key)
    return StoredContent(answer, copy.trace, hostname, forwarded=forwarded)


class Notice:
    """A notice that this service has written itself, below its trace fields."""

    def __init__(self, octets: bytes, trace: TraceFields) -> None:
        header = HeaderBlock(trace, "")
        self._octets = header.feed(octets) + header.finish()
        self.length: int | None = len(self._octets)
        self.received = 0
        self.delivered_to: set[str] = set()

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield all of it at once."""
        yield self._octets, True

    def close(self) -> None:
        """Do nothing, because nothing is open."""
