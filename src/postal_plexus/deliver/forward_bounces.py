"""Count bounces of forwards and redirects by outside address, and decide when they stop.

SES pauses an account whose mail bounces too often (10 %), and an alias's forwards count:
https://docs.aws.amazon.com/ses/latest/dg/faqs-enforcement.html. So a forward stops if 5 or more,
and more than 10 %, of the messages to its address within a week bounced. It resumes after a week,
or when the aliases with this destination change.

Redirects of a user's filter to an address stop in the same way. How many of them were sent is not
known here, but at most as many as the mailbox received; so they stop at a tenth of these, or at 20.
A header on top of each message for the user lists the stopped addresses, and the guard in Postfix's
container keeps such redirects in the mailbox. `Record` and its functions are pure; `ForwardBounces`
stores the records in the state directory.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, replace
from typing import cast

from postal_plexus.deliver import maillog
from postal_plexus.directory import Directory
from postal_plexus.mail.feedback import Feedback, FeedbackKind

_FILE = "forwards.json"
_DAYS = 7
_MOST_BOUNCES = 5
_ONE_IN = 10
_MOST_BOUNCED_REDIRECTS = 20
_MOST_RECORDS = 5000
_WRITE_SECONDS = 60.0
_LARGEST_FILE = 4 * 1024 * 1024

Day = tuple[int, int, int]
"""A day since the epoch, and how many forwards were sent and bounced on it."""


@dataclass(frozen=True, slots=True)
class Record:
    """The last week of one outside address.

    `stopped_on` is a day, or 0 while messages are forwarded; `aliases` is the `fingerprint` at that
    time.
    """

    days: tuple[Day, ...] = ()
    stopped_on: int = 0
    aliases: str = ""

    @property
    def last_day(self) -> int:
        """The last day on which something happened."""
        return max(self.stopped_on, *(day for day, _, _ in self.days), 0)


def counted(record: Record, day: int, *, sent: int = 0, bounced: int = 0) -> Record:
    """Return the record with this number added to that day, without days before the last week."""
    week = {each[0]: each for each in record.days if 0 <= day - each[0] < _DAYS}
    _, sent_before, bounced_before = week.get(day, (day, 0, 0))
    week[day] = (day, sent_before + sent, bounced_before + bounced)
    return replace(record, days=tuple(week.values()))


def keeps_bouncing(record: Record, *, is_redirect: bool = False) -> bool:
    """Whether enough bounced to stop forwarding."""
    bounced = sum(each[2] for each in record.days)
    # What bounced was sent: a crash of the process may lose the last minute's counts of sent
    # messages.
    sent = max(bounced, sum(each[1] for each in record.days))
    if is_redirect and bounced >= _MOST_BOUNCED_REDIRECTS:
        return True
    return bounced >= _MOST_BOUNCES and bounced * _ONE_IN > sent


def is_stopped(record: Record, day: int, aliases: str) -> bool:
    """Whether nothing is forwarded on that day; `aliases` is the current fingerprint."""
    recent = 0 <= day - record.stopped_on < _DAYS
    return bool(record.stopped_on) and recent and record.aliases == aliases


def fingerprint(destination: str, directory: Directory) -> str:
    """Return a value that changes when the aliases of an outside address change."""
    entries = [
        f"{alias.address}:{','.join(alias.destinations)}"
        for alias in directory.aliases
        if any(_key(each) == destination for each in alias.destinations)
    ]
    return hashlib.blake2b("\n".join(sorted(entries)).encode(), digest_size=8).hexdigest()


def bounced_addresses(feedback: Feedback) -> tuple[str, ...]:
    """Return the addresses for which an event counts as a bounce of a forward; delays do not count.

    A reject concerns the content, and an automatic reply means no failure.
    """
    failed = feedback.event == "Bounce" and feedback.kind is FeedbackKind.FAILED
    unwanted = feedback.event == "Complaint" and feedback.feedback_type.lower() != "not-spam"
    if not failed and not unwanted:
        return ()
    return tuple(dict.fromkeys(_key(each.address) for each in feedback.recipients))


class ForwardBounces:
    """The records, in memory and in a file that is written atomically. Threads share it.

    If the file cannot be read or written, only the counts are lost; delivery continues.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _FILE)
        self._lock = threading.Lock()
        self._written_at = time.monotonic()
        self._records = self._read()
        self._redirecting = {key.partition(" ")[0] for key in self._records if " " in key}

    def sent(self, destination: str) -> None:
        """Count a forward that Postfix accepted.

        It is written within a minute or with the next bounce.
        """
        key, day = _key(destination), _today()
        with self._lock:
            self._records[key] = counted(self._records.get(key, Record()), day, sent=1)
            if time.monotonic() - self._written_at > _WRITE_SECONDS:
                self._write()

    def redirects(self, mailbox: str) -> bool:
        """Return whether a redirect of one of the mailbox's filters has ever bounced."""
        return mailbox in self._redirecting

    def came_to(self, mailbox: str) -> tuple[str, ...]:
        """Count a message for a mailbox.

        Return the addresses to which its redirects have stopped.
        """
        day, stopped = _today(), list[str]()
        with self._lock:
            for key, record in self._records.items():
                owner, _, destination = key.partition(" ")
                if owner == mailbox and destination:
                    self._records[key] = counted(record, day, sent=1)
                    if is_stopped(record, day, ""):
                        stopped.append(destination)
        return tuple(stopped)

    def bounced(self, destination: str, directory: Directory, mailbox: str = "") -> bool:
        """Count a bounce of a forward, or of a redirect of a mailbox's filter.

        Returns whether this stops those to the address.
        """
        key, day = _key(destination), _today()
        aliases = "" if mailbox else fingerprint(key, directory)
        if mailbox:
            key = f"{mailbox} {key}"
        with self._lock:
            if mailbox:
                self._redirecting.add(mailbox)
            record = self._records.get(key, Record())
            if is_stopped(record, day, aliases):
                return False  # one that was in progress
            # What bounced before an expired stop no longer counts.
            record = counted(Record() if record.stopped_on else record, day, bounced=1)
            stops = keeps_bouncing(record, is_redirect=bool(mailbox))
            if stops:
                record = replace(record, stopped_on=day, aliases=aliases)
            self._records[key] = record
            self._write()
        return stops

    def stopped(self, destination: str, directory: Directory) -> bool:
        """Return whether forwards to this address have stopped."""
        key = _key(destination)
        with self._lock:
            record = self._records.get(key)
            if record is None or not record.stopped_on:
                return False
            if is_stopped(record, _today(), fingerprint(key, directory)):
                return True
            self._records[key] = Record()
        return False

    def close(self) -> None:
        """Write what has not been written yet."""
        with self._lock:
            if self._records:
                self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        oldest = _today() - _DAYS
        kept = [each for each in self._records.items() if each[1].last_day > oldest]
        kept.sort(key=lambda each: (each[1].stopped_on > 0, each[1].last_day))
        self._records = dict(kept[-_MOST_RECORDS:])
        temporary = self._path + ".new"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                written = {
                    key: (each.days, each.stopped_on, each.aliases)
                    for key, each in self._records.items()
                }
                json.dump(written, file)
            os.replace(temporary, self._path)
        except OSError as error:
            maillog.forwards_unwritten(str(error))

    def _read(self) -> dict[str, Record]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return _records(json.loads(file.read(_LARGEST_FILE)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            maillog.forwards_unwritten(f"not read, so counted anew: {error}")
            return {}


def _records(value: object) -> dict[str, Record]:
    """Parse the records in a file's JSON. Raise ValueError if this service has not written them."""
    found: dict[str, Record] = {}
    with contextlib.suppress(TypeError, AttributeError, OverflowError):
        for key, (days, stopped_on, aliases) in cast("dict[str, list[object]]", value).items():
            week = tuple(
                (int(day), int(sent), int(bounced))
                for day, sent, bounced in cast("list[Day]", days)
            )
            found[key] = Record(week, int(cast("int", stopped_on)), str(aliases))
        return found
    raise ValueError("not the records of forwards")


def _key(address: str) -> str:
    """Return one spelling of an address, as configured or in `Name <address>`."""
    return address.rpartition("<")[2].rstrip("> ").strip().lower()


def _today() -> int:
    return int(time.time() // 86400)
