"""The outbox: mail that SES sent to other people's domains, as files to be read.

Two files per message: `<time>-<id>.eml`, the content as sent, and `<time>-<id>.json`, its envelope.
The envelope is written last, so that a reader who finds it also finds the content.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awsdesk import files
from awsdesk.ses.notification import timestamp

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True)
class OutgoingMail:
    """A message to an outside address."""

    message_id: str
    sender: str
    return_path: str
    recipients: tuple[str, ...]
    content: bytes
    sent_at: datetime
    caller: str
    configuration_set: str | None = None


@dataclass(frozen=True)
class Outbox:
    """The directory."""

    directory: Path

    def put(self, mail: OutgoingMail) -> Path:
        """Write a mail. Return the path of its envelope.

        Raises:
            OSError: the disk is full or not writable; no file remains.
        """
        name = f"{mail.sent_at:%Y%m%dT%H%M%S.%fZ}-{mail.message_id}"
        content, envelope = self.directory / f"{name}.eml", self.directory / f"{name}.json"
        document = {
            "message_id": mail.message_id,
            "sender": mail.sender,
            "return_path": mail.return_path,
            "recipients": list(mail.recipients),
            "sent_at": timestamp(mail.sent_at),
            "caller": mail.caller,
            "configuration_set": mail.configuration_set,
            "content": content.name,
        }
        files.replace(content, mail.content, 0o644)
        files.replace(envelope, json.dumps(document, indent=2).encode() + b"\n", 0o644)
        return envelope
