"""Transfer files between a task and an operator through objects of the stack's bucket.

A task's output is its log, which must not contain mail. So a file of any size is transferred in
parts of 8 MB, each an object below a prefix that the operator's command chose. The command reads
and removes each part that a task writes as soon as the task reports it. What a task reads is named
by a list, each part by the hash of its content. A lifecycle rule of the bucket removes leftovers
after a day. The bucket encrypts everything. Raises AwsError.
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
    """Return a task's connection to S3."""
    region = environment["AWS_REGION"]
    account = AwsAccount.from_environment(environment, region, threading.Event())
    return Store(account, s3_signer(region))


class PartWriter(RawIOBase):
    """A stream whose content is uploaded in numbered parts.

    Args:
        to: the connection.
        bucket, prefix: the destination of the parts, named PREFIX000000 and so on.
        tell: gets the number and the octets of each uploaded part.
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
        """Return True."""
        return True

    def write(self, octets: bytes, /) -> int:  # type: ignore[override]
        """Add octets; upload a part when it is full."""
        self._buffer += octets
        while len(self._buffer) >= PART_OCTETS:
            self._send(PART_OCTETS)
        return len(octets)

    def finish(self) -> None:
        """Upload the rest."""
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
    """Connect to the bucket, and upload what is written in the block, the last part at its end.

    Args:
        to: BUCKET/PREFIX.
        tell: gets the number and the octets of each uploaded part.

    Raises:
        StatusError: AGAIN, if the bucket does not accept it.
    """
    bucket, _, prefix = to.partition("/")
    connection = store(os.environ)
    try:
        writer = PartWriter(connection, bucket, prefix, tell)
        yield writer
        writer.finish()
    except AwsError as error:
        raise StatusError(AGAIN, f"the bucket does not accept it: {error}") from error
    finally:
        connection.close()


class PartReader(RawIOBase):
    """The parts of a list, read as one stream; memory holds one of them.

    Args:
        source: the connection.
        bucket, key: of the list: a line for each part's key, which ends in the SHA-256 of its
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
            raise MissingError(
                "GetObject", "BadList", f"{key} names an object that is not beside it"
            )
        self._part = memoryview(b"")

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read what is available. Raises AwsError."""
        if not self._part and self._keys:
            self._part = memoryview(self._fetch(self._keys.popleft()))
        count = min(len(buffer), len(self._part))
        buffer[:count] = self._part[:count]
        self._part = self._part[count:]
        return count

    def buffered(self) -> BinaryIO:
        """Return a buffered stream, which supports lines."""
        return cast("BinaryIO", BufferedReader(self, 1 << 18))

    def _fetch(self, key: str) -> bytes:
        attempt = 1
        while True:
            try:
                octets = self._store.open(self._bucket, key).read_all()
                break
            except UnreachableError:
                # The body ended too early; a request that failed to start was retried already.
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1
        if not key.endswith(hashlib.sha256(octets).hexdigest()):
            raise MissingError(
                "GetObject", "BadPart", f"{key} does not have the content that its name says"
            )
        return octets


def part_key(prefix: str, number: int) -> str:
    """Return the key of a part."""
    return f"{prefix}{number:06d}"
