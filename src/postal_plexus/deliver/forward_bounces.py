"""How forwards and redirects to each address outside fare, and when they stop.

SES pauses an account whose mail bounces too often (10 %), and what an alias forwards counts with
the rest: https://docs.aws.amazon.com/ses/latest/dg/faqs-enforcement.html. So a forward stops when 5
or more, and more than 10 %, of what went to its address within a week came back. It resumes after a
week, or when the aliases that lead there change.

The redirects of a user's filter to an address stop likewise. How many of them left is not known
here, at most as many as came to his mailbox; so they stop at a tenth of these, or at 20. Which have
stopped stands on top of each mail for him, and the way out keeps such a redirect in his mailbox.
`Record` and its functions are pure;
`ForwardBounces` keeps the records in the state directory.
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
"""A day since the epoch, and how many forwards left and came back on it."""


@dataclass(frozen=True, slots=True)
class Record:
    """The last week of one address outside. `stopped_on` is a day, or 0 while it is forwarded to;
    `aliases` is what `fingerprint` said then."""

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
    """Whether so much came back that it must stop."""
    bounced = sum(each[2] for each in record.days)
    # What came back must have left: the counts of a minute may be lost with the process.
    sent = max(bounced, sum(each[1] for each in record.days))
    if is_redirect and bounced >= _MOST_BOUNCED_REDIRECTS:
        return True
    return bounced >= _MOST_BOUNCES and bounced * _ONE_IN > sent


def is_stopped(record: Record, day: int, aliases: str) -> bool:
    """Whether nothing is forwarded on that day; `aliases` is what leads there now."""
    recent = 0 <= day - record.stopped_on < _DAYS
    return bool(record.stopped_on) and recent and record.aliases == aliases


def fingerprint(destination: str, directory: Directory) -> str:
    """What changes when the aliases that lead to an address outside do."""
    entries = [
        f"{alias.address}:{','.join(alias.destinations)}"
        for alias in directory.aliases
        if any(_key(each) == destination for each in alias.destinations)
    ]
    return hashlib.blake2b("\n".join(sorted(entries)).encode(), digest_size=8).hexdigest()


def bounced_addresses(feedback: Feedback) -> tuple[str, ...]:
    """For whom an event of SES counts against a forward: bounces and complaints, no delays.

    A reject is about the content, an automatic answer about nothing.
    """
    failed = feedback.event == "Bounce" and feedback.kind is FeedbackKind.FAILED
    unwanted = feedback.event == "Complaint" and feedback.feedback_type.lower() != "not-spam"
    if not failed and not unwanted:
        return ()
    return tuple(dict.fromkeys(_key(each.address) for each in feedback.recipients))


class ForwardBounces:
    """The records, in memory and in a file that no crash leaves half written. Threads share it.

    A file that cannot be read or written costs the counts and nothing else: mail goes on.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _FILE)
        self._lock = threading.Lock()
        self._written_at = time.monotonic()
        self._records = self._read()
        self._redirecting = {key.partition(" ")[0] for key in self._records if " " in key}

    def sent(self, destination: str) -> None:
        """Postfix has taken a forward. It is written within a minute or with the next bounce."""
        key, day = _key(destination), _today()
        with self._lock:
            self._records[key] = counted(self._records.get(key, Record()), day, sent=1)
            if time.monotonic() - self._written_at > _WRITE_SECONDS:
                self._write()

    def redirects(self, mailbox: str) -> bool:
        """Return whether a redirect of one of the mailbox's filters has ever come back."""
        return mailbox in self._redirecting

    def came_to(self, mailbox: str) -> tuple[str, ...]:
        """Count a mail that comes to a mailbox; return where its redirects have stopped."""
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
        """A forward, or a redirect of a mailbox's filter, came back.

        Returns whether those to this address stop by that.
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
                return False  # one that was under way
            # What came before a stop that is over has been answered for.
            record = counted(Record() if record.stopped_on else record, day, bounced=1)
            stops = keeps_bouncing(record, is_redirect=bool(mailbox))
            if stops:
                record = replace(record, stopped_on=day, aliases=aliases)
            self._records[key] = record
            self._write()
        return stops

    def stopped(self, destination: str, directory: Directory) -> bool:
        """Whether forwards to this address have stopped."""
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
        """Write what is not written yet."""
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
    """The records in a file's JSON. Raises ValueError for what nobody here has written."""
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
    """One spelling of an address, as configured or in `Name <address>`."""
    return address.rpartition("<")[2].rstrip("> ").strip().lower()


def _today() -> int:
    return int(time.time() // 86400)
