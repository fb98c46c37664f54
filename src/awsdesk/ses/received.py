"""What SES received in the last 24 hours: the messages that SendBounce may still answer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from awsdesk import files

if TYPE_CHECKING:
    from pathlib import Path

# "You can only use this operation on an email up to 24 hours after you receive it."
BOUNCE_WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class ReceivedMail:
    """What a bounce needs from the message that it answers."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    received_at: datetime
    header_message_id: str | None = None
    header_block: str = ""


class ReceivedMails:
    """The messages, in memory and, across restarts, in a file of JSON lines."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._path = path
        self._mails: dict[str, ReceivedMail] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                mail = _parse(line)
                if mail is not None and now - mail.received_at < BOUNCE_WINDOW:
                    self._mails[mail.message_id] = mail
        files.replace(path, "".join(map(_line, self._mails.values())).encode())

    def add(self, mail: ReceivedMail) -> None:
        """Remember a mail."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(mail))
        self._mails[mail.message_id] = mail

    def find(self, message_id: str, now: datetime) -> ReceivedMail | None:
        """Return the message with that id if it arrived in the last 24 hours."""
        mail = self._mails.get(message_id)
        if mail is None or now - mail.received_at >= BOUNCE_WINDOW:
            return None
        return mail


def _line(mail: ReceivedMail) -> str:
    document = {**asdict(mail), "received_at": mail.received_at.isoformat()}
    return json.dumps(document) + "\n"


def _parse(line: str) -> ReceivedMail | None:
    try:
        given = cast("dict[str, Any]", json.loads(line))
        given["recipients"] = tuple(given["recipients"])
        given["received_at"] = datetime.fromisoformat(given["received_at"]).astimezone(UTC)
        return ReceivedMail(**given)
    except (ValueError, KeyError, TypeError):
        return None  # a line cut off by a crash
