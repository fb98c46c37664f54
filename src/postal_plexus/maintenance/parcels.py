"""Files between a task and an operator, by objects of the stack's bucket.

A task's output is its log, which is no place for mail. So a file of any size goes in parts of 8 MB,
each an object below a prefix that the operator's tool chose; the tool reads and removes each as
soon as it is told of it, and a rule of the bucket removes what is left after a day. The bucket
encrypts all of it. Fails with AwsError.
"""

import threading
from collections.abc import Callable, Mapping
from io import RawIOBase

from postal_plexus.deliver.aws.session import AwsAccount
from postal_plexus.deliver.aws.store import Store, s3_signer

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


def part_key(prefix: str, number: int) -> str:
    """Return the key of a part."""
    return f"{prefix}{number:06d}"
