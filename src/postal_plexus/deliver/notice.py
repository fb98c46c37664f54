"""A notice of our own, handed over like a mail."""

from collections.abc import Iterator

from postal_plexus.mail.content import HeaderBlock, TraceFields


class Notice:
    """A rendered notice below its trace fields, as a content to be carried."""

    def __init__(self, octets: bytes, trace: TraceFields) -> None:
        header = HeaderBlock(trace, "")
        self._octets = header.feed(octets) + header.finish()
        self.length: int | None = len(self._octets)
        self.received = 0
        self.delivered_to: set[str] = set()

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """All at once."""
        yield self._octets, True

    def close(self) -> None:
        """Nothing is held."""
