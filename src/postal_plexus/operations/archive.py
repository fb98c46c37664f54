"""The received messages of the last days, as SES stored them in S3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postal_plexus.config.names import INBOUND_PREFIX
from postal_plexus.operations.system import told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from postal_plexus.operations.system import System

# SES writes this object when it starts to use the bucket.
_SETUP = "AMAZON_SES_SETUP_NOTIFICATION"


@dataclass(frozen=True)
class Stored:
    """One message in the archive. `size` in octets; `message_id` is SES's."""

    message_id: str
    stored_at: datetime
    size: int


class Archive:
    """The archive of a stack."""

    def __init__(self, system: System) -> None:
        self._bucket: str = system.parts["bucket"]
        self._s3: Any = system.client("s3")

    def since(self, moment: datetime) -> Iterator[Stored]:
        """Return the messages that were stored at `moment` or later, in no particular order."""
        with told("S3"):
            pages = self._s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=INBOUND_PREFIX):
                for each in page.get("Contents", ()):
                    name = each["Key"].removeprefix(INBOUND_PREFIX)
                    if each["LastModified"] >= moment and name and name != _SETUP:
                        yield Stored(name, each["LastModified"], each["Size"])

    def read(self, message_id: str, most: int | None = None) -> bytes:
        """Return a message as SES stored it, or its first `most` octets."""
        limit = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        with told("S3"):
            key = f"{INBOUND_PREFIX}{message_id}"
            body = self._s3.get_object(Bucket=self._bucket, Key=key, **limit)["Body"]
            return body.read()
