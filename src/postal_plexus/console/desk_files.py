"""The files of a desk that the page shows: its services' logs, and its outbox.

A file that does not exist counts as empty.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from postal_plexus.console import journeys, mailview
from postal_plexus.console.sources import Sent
from postal_plexus.desk.log_files import tail
from postal_plexus.tracing.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postal_plexus.tracing.step import Step

# Read from a log's end; enough for hundreds of messages.
_TAIL = 192 * 1024
# Read from a message's beginning: the fields that a list shows.
_HEADER = 32 * 1024


def steps(logs: Path) -> Iterator[Step]:
    """Return the steps of messages from the end of a desk's logs."""
    for line in tail(logs / "daemon.log", _TAIL):
        if (step := journeys.of_stand_in(line)) is not None:
            yield step
    for service in SERVICES:
        yield from journeys.of_container(service, tail(logs / f"{service}.log", _TAIL))


class OutboxFiles:
    """The outbox of a desk: two files per message (`awsdesk.ses.outbox`)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A message in the outbox does not change.
        self._read = lru_cache(maxsize=500)(self._sent)

    def newest(self, most: int) -> list[Sent]:
        """Return the newest ones."""
        names = sorted((each.stem for each in self._directory.glob("*.json")), reverse=True)
        found = (self._read(name) for name in names[:most])
        return [sent for sent in found if sent is not None]

    def content(self, identifier: str) -> tuple[Sent, bytes] | None:
        """Return the content of one, or None if the id does not exist."""
        # Only an existing name: no path is built from a request.
        if all(identifier != each.stem for each in self._directory.glob("*.json")):
            return None
        sent = self._read(identifier)
        try:
            return sent and (sent, (self._directory / f"{identifier}.eml").read_bytes())
        except OSError:
            return None

    def _sent(self, name: str) -> Sent | None:
        mail = self._directory / f"{name}.eml"
        try:
            envelope = cast(
                "dict[str, Any]", json.loads((self._directory / f"{name}.json").read_bytes())
            )
            with mail.open("rb") as file:
                subject = mailview.summary(file.read(_HEADER))["subject"]
            return Sent(
                id=name,
                sent_at=datetime.fromisoformat(envelope["sent_at"]),
                sender=str(envelope["sender"]),
                recipients=tuple(map(str, envelope["recipients"])),
                subject=subject,
                size=mail.stat().st_size,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
