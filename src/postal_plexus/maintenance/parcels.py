"""Files between a task and an operator, by objects of the stack's bucket.

A task's output is its log, which is no place for mail. So a file of any size goes in parts of 8 MB,
each an object below a prefix that the operator's tool chose. What a task writes the tool reads and
removes as soon as it is told of it; what a task reads is named by a list, each part by the hash of
its content. A rule of the bucket removes what is left after a day. The bucket encrypts all of it.
Fails with AwsError.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from typing import BinaryIO, cast

from postal_plexus.deliver.aws.errors import AwsError, MissingError, UnreachableError
from postal_plexus.deliver.aws.session import AwsAccount
from postal_plexus.deliver.aws.store import Store, s3_signer
from postal_plexus.maintenance.codes import AGAIN, StatusError

_ATTEMPTS = 6
PART_OCTETS = 8 * 1024 * 1024


def store(environment: Mapping[str, str]) -> Store:
    """Return the connection of a task to S3."""
    region = environment["AWS_REGION"]
    account = AwsAccount.from_environment(environment, region, threading.Event())
    return Store(account, s3_signer(region))


class PartWriter(RawIOBase):
    """What is written goes out in numbered parts.

    Args:
        to: the connection.
        bucket, prefix: where parts go, as PREFIX000000 and so on.
        tell: gets the number and the octets of each part that is there.
    """

    def __init__(
        self, to: Store, bucket: str, prefix: str, tell: Callable[[int, int], None]
    ) -> None:
        super().__init__()
        self._store = to
        self._bucket = bucket
        self._prefix = prefix
        self._tell = tell
        self._buffer = bytearray()
        self.parts = 0

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, octets: bytes, /) -> int:  # type: ignore[override]
        """Take octets; send a part when one is full."""
        self._buffer += octets
        while len(self._buffer) >= PART_OCTETS:
            self._send(PART_OCTETS)
        return len(octets)

    def finish(self) -> None:
        """Send what is left."""
        if self._buffer:
            self._send(len(self._buffer))

    def _send(self, octets: int) -> None:
        part = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        self._store.put(self._bucket, part_key(self._prefix, self.parts), part, _ATTEMPTS)
        self._tell(self.parts, octets)
        self.parts += 1


@contextmanager
def sending(
    to: str, tell: Callable[[int, int], None] = lambda _part, _octets: None
) -> Generator[PartWriter]:
    """Connect a task to the bucket, and send what is written within, the last part at the end.

    Args:
        to: BUCKET/PREFIX.
        tell: gets the number and the octets of each part that is there.

    Raises:
        StatusError: AGAIN, where the bucket does not take it.
    """
    bucket, _, prefix = to.partition("/")
    connection = store(os.environ)
    try:
        writer = PartWriter(connection, bucket, prefix, tell)
        yield writer
        writer.finish()
    except AwsError as error:
        raise StatusError(AGAIN, f"the bucket does not take it: {error}") from error
    finally:
        connection.close()


class PartReader(RawIOBase):
    """The parts of a list, read as one stream; one of them is in memory.

    Args:
        source: the connection.
        bucket, key: where the list is: a line for each part's key, which ends in the SHA-256 of its
            content.
    """

    def __init__(self, source: Store, bucket: str, key: str) -> None:
        super().__init__()
        self._store = source
        self._bucket = bucket
        listed = source.open(bucket, key).read_all().decode("ascii", "replace")
        prefix = key.rpartition("/")[0]
        self._keys = deque(listed.split("\n"))
        if any(each.rpartition("/")[0] != prefix for each in self._keys):
            raise MissingError("GetObject", "BadList", f"{key} names what does not lie beside it")
        self._part = memoryview(b"")

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read what is at hand. Raises AwsError."""
        if not self._part and self._keys:
            self._part = memoryview(self._fetch(self._keys.popleft()))
        count = min(len(buffer), len(self._part))
        buffer[:count] = self._part[:count]
        self._part = self._part[count:]
        return count

    def buffered(self) -> BinaryIO:
        """Return it as a stream that has lines."""
        return cast("BinaryIO", BufferedReader(self, 1 << 18))

    def _fetch(self, key: str) -> bytes:
        attempt = 1
        while True:
            try:
                octets = self._store.open(self._bucket, key).read_all()
                break
            except UnreachableError:
                # A body that ended too early; what did not begin was tried again already.
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1
        if not key.endswith(hashlib.sha256(octets).hexdigest()):
            raise MissingError("GetObject", "BadPart", f"{key} is not what was sent")
        return octets


def part_key(prefix: str, number: int) -> str:
    """Return the key of a part."""
    return f"{prefix}{number:06d}"
