"""Keep a message's body until the decision: in memory up to 128 KB, then in an unnamed file."""

import os
from collections.abc import Iterator

_IN_MEMORY = 128 * 1024
_CHUNK = 60 * 1024


class BodySpool:
    """Keeps what is fed, and returns it any number of times. Raises OSError if the disk is
    full.

    The file is on the queue's volume, because a tmpfs would count as the container's memory.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._chunks: list[bytes] = []
        self._file = -1
        self.octets = 0

    def feed(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self._chunks.append(chunk)
        self.octets += len(chunk)
        if self.octets > _IN_MEMORY:
            if self._file < 0:
                self._file = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            for each in self._chunks:
                view = memoryview(each)
                while view:
                    view = view[os.write(self._file, view) :]
            self._chunks.clear()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body from its beginning, in chunks."""
        if self._file < 0:
            yield from self._chunks
            return
        place = 0
        while chunk := os.pread(self._file, _CHUNK, place):
            yield chunk
            place += len(chunk)

    def close(self) -> None:
        """Discard the body."""
        self._chunks.clear()
        self.octets = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
