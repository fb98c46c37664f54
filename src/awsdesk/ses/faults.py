"""Inject faults: make the SES stand-in fail as the real SES can.

`ses/faults.json` in the desk directory, read anew for every mail. Every key is optional:

    {"smtp_reply": "454 Throttling failure: Daily message quota exceeded",
     "max_send_rate": 1,
     "greeting": "421 Too many concurrent SMTP connections",
     "inbound_reply": "451 4.3.0 Temporary failure"}

`smtp_reply` is the reply to every submitted message, `max_send_rate` is messages per second (as in
the sandbox), `greeting` refuses connections to the SMTP endpoint, `inbound_reply` is the reply to
every incoming message. A file that is not a JSON object injects nothing, with a line in the log.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faults:
    """The injected faults; None means no fault."""

    smtp_reply: str | None = None
    max_send_rate: float | None = None
    greeting: str | None = None
    inbound_reply: str | None = None


def read(path: Path) -> Faults:
    """Read the faults to inject now."""
    try:
        given = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        known = {one.name for one in fields(Faults)}
        return Faults(**{name: value for name, value in given.items() if name in known})
    except FileNotFoundError:
        return Faults()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("ses.faults_unreadable path=%s error=%s", path, error)
        return Faults()


class SendRate:
    """A counter of messages per second, as SES's maximum send rate uses it."""

    def __init__(self) -> None:
        self._sent: list[float] = []

    def exceeds(self, limit: float, now: float) -> bool:
        """Count a message at `now` (monotonic seconds), unless the rate would be exceeded."""
        self._sent = [moment for moment in self._sent if now - moment < 1]
        if len(self._sent) >= limit:
            return True
        self._sent.append(now)
        return False
