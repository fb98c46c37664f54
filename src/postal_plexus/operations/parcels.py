"""The objects in the archive bucket that carry files between the command and a task.

The other side is `postal_plexus.maintenance.parcels`.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import MOVING_PREFIX
from postal_plexus.maintenance.parcels import part_key
from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import BinaryIO

    from postal_plexus.operations.system import System

    Line = dict[str, Any]


class Parcels:
    """The objects below one prefix.

    Args:
        system: the stack, whose archive bucket it is.
        prefix: the prefix of their keys.
    """

    def __init__(self, system: System, prefix: str) -> None:
        self._s3: Any = system.client("s3")
        self.bucket = str(system.parts["bucket"])
        self.prefix = prefix

    def put(self, key: str, octets: bytes) -> None:
        """Store an object. Raises OperationError."""
        with told("S3"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=octets)

    def take(self, key: str) -> Iterator[bytes]:
        """Yield an object in pieces, and remove it when all is read. Raises OperationError."""
        with told("S3"):
            body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"]
            yield from body.iter_chunks(1 << 20)
            self._s3.delete_object(Bucket=self.bucket, Key=key)

    def written_to(self, to: BinaryIO, tell: Callable[[Line], None]) -> Callable[[Line], None]:
        """Return what takes a task's lines: it writes the named parts, and passes on all."""

        def take(line: Line) -> None:
            if line["kind"] == "part":
                to.writelines(self.take(part_key(self.prefix, int(line["number"]))))
            tell(line)

        return take

    def keys(self) -> Iterator[str]:
        """Yield the objects' keys. Raises OperationError."""
        pages = self._s3.get_paginator("list_objects_v2")
        with told("S3"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                yield from (str(each["Key"]) for each in page.get("Contents", ()))

    def clear(self) -> None:
        """Remove all objects. Raises OperationError."""
        for key in list(self.keys()):
            with told("S3"):
                self._s3.delete_object(Bucket=self.bucket, Key=key)


@contextmanager
def parcels_of_one_task(system: System) -> Generator[Parcels]:
    """Provide parcels below a prefix that nobody else has; remove what is left of them."""
    parcels = Parcels(system, f"{MOVING_PREFIX}{secrets.token_hex(8)}/")
    try:
        yield parcels
    finally:
        parcels.clear()
