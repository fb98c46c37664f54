"""The spool: messages that SES has accepted and not yet delivered.

An entry is on disk before the sender gets 250, so that neither a killed daemon nor an unwritable
bucket loses it. It is removed when its actions are done *and* the emulator has saved the queues
that they filled; until then a restart runs all of them again (SES, too, delivers at least once).
Progress is not recorded, because the record could outlive the queue entry to which it refers.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from awsdesk import files
from awsdesk.ses.rules import (
    Action,
    BounceAction,
    HeaderAction,
    Match,
    PublishAction,
    Rule,
    StopAction,
    StoreAction,
)
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import Status, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_ACTIONS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (StoreAction, PublishAction, HeaderAction, BounceAction, StopAction)
}


@dataclass(frozen=True)
class Accepted:
    """An accepted message: its envelope, its verdicts, and the rules that apply."""

    arrival: Arrival
    verdicts: Verdicts
    rule_set: str
    matches: tuple[Match, ...]


class Spool:
    """The directory of accepted messages."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._done: set[str] = set()

    def keep(self, accepted: Accepted, content: bytes) -> None:
        """Write a message and its record durably, so that they survive a crash.

        Raises:
            OSError: the disk is full or not writable; nothing was accepted.
        """
        message_id = accepted.arrival.message_id
        record = json.dumps(_document(accepted)).encode()
        try:
            files.replace(self._content(message_id), content)
            files.replace(self._record(message_id), record)
        except OSError:
            self.forget(message_id)
            raise

    def forget(self, message_id: str) -> None:
        """Remove a message that was not accepted after all, or is done."""
        self._record(message_id).unlink(missing_ok=True)
        self._content(message_id).unlink(missing_ok=True)

    def content(self, message_id: str) -> bytes:
        """Read a mail's content as it arrived."""
        return self._content(message_id).read_bytes()

    def waiting(self) -> list[Accepted]:
        """Return the messages whose actions may be unfinished, oldest first.

        An entry that cannot be read is moved unchanged to the folder `broken`, with a line in
        the log; moved back, it is tried again.
        """
        found: list[Accepted] = []
        for path in self._directory.glob("*.json"):
            try:
                found.append(self._entry(path))
            except Exception as error:  # noqa: BLE001 (whatever is in one file, the others go on)
                self._set_aside(path.stem, error)
        return sorted(found, key=lambda accepted: accepted.arrival.received_at)

    def done(self, message_id: str) -> None:
        """Note that all actions are done; the next snapshot removes the entry."""
        self._done.add(message_id)

    def about_to_save(self) -> Callable[[], None]:
        """Return the function to call when the emulator's present state is on disk."""
        finished = set(self._done)

        def saved() -> None:
            for message_id in finished:
                self.forget(message_id)
            self._done.difference_update(finished)

        return saved

    def _entry(self, record: Path) -> Accepted:
        accepted = _accepted(json.loads(record.read_text(encoding="utf-8")))
        if accepted.arrival.message_id != record.stem or not self._content(record.stem).exists():
            raise ValueError("record and content do not belong together")
        return accepted

    def _set_aside(self, message_id: str, error: Exception) -> None:
        folder = self._directory / "broken"
        try:
            folder.mkdir(exist_ok=True)
            # Remove the record last: until then the entry is found again.
            for path in (self._content(message_id), self._record(message_id)):
                if path.exists() or path.is_symlink():
                    path.rename(folder / path.name)
        except OSError as why:
            log.error("ses.spool_entry_unreadable id=%s error=%r stays=%r", message_id, error, why)  # noqa: TRY400
            return
        log.error("ses.spool_entry_set_aside id=%s folder=%s error=%r", message_id, folder, error)

    def _content(self, message_id: str) -> Path:
        return self._directory / f"{message_id}.eml"

    def _record(self, message_id: str) -> Path:
        return self._directory / f"{message_id}.json"


def _document(accepted: Accepted) -> dict[str, Any]:
    arrival = asdict(accepted.arrival)
    arrival["received_at"] = accepted.arrival.received_at.isoformat()
    return {
        "arrival": arrival,
        "verdicts": asdict(accepted.verdicts),
        "rule_set": accepted.rule_set,
        "matches": [
            {
                "rule": match.rule.name,
                "scan": match.rule.scan,
                "recipients": match.recipients,
                "actions": [
                    {"kind": type(action).__name__, **asdict(action)}
                    for action in match.rule.actions
                ],
            }
            for match in accepted.matches
        ],
    }


def _accepted(document: dict[str, Any]) -> Accepted:
    arrival = cast("dict[str, Any]", document["arrival"])
    arrival["recipients"] = tuple(arrival["recipients"])
    arrival["received_at"] = datetime.fromisoformat(arrival["received_at"]).astimezone(UTC)
    verdicts = cast("dict[str, Any]", document["verdicts"])
    policy = verdicts.pop("dmarc_policy")
    return Accepted(
        arrival=Arrival(**arrival),
        verdicts=Verdicts(**{n: Status(v) for n, v in verdicts.items()}, dmarc_policy=policy),
        rule_set=document["rule_set"],
        matches=tuple(
            Match(
                Rule(
                    name=match["rule"],
                    actions=tuple(_action(action) for action in match["actions"]),
                    scan=match["scan"],
                ),
                tuple(match["recipients"]),
            )
            for match in document["matches"]
        ),
    )


def _action(document: dict[str, Any]) -> Action:
    given = dict(document)
    return _ACTIONS[given.pop("kind")](**given)
