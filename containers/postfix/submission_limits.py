"""Limit what one login may send: messages and recipients, in any hour and in any day.

Mail that filters and aliases send automatically has separate limits (`automatic-...`).

A stolen password must not damage the account's reputation with SES, so each message is claimed in a
Ledger before its content is accepted. Both windows slide: they are the last 60 minutes and the last
24 hours. A claim counts whether the message is accepted afterwards or not, so that attempts are not
free. Recipients count as the client names them, including those of our own domains.

Each claim is a line in a journal on the queue's volume (`SECONDS RECIPIENTS LOGIN`), which is read
at the start, so a new container continues the old one's count. If the journal cannot be written,
only this continuity is lost, with a log line; unreadable lines are ignored.
"""

import os
import threading
import time
from collections import deque, namedtuple
from collections.abc import Callable, Iterator

HOUR = 3600
DAY = 86_400
_COMPACT_AFTER = 10_000
"""Lines after which the journal is written anew, without what is older than a day."""


class Limits(
    namedtuple(
        "Limits",
        "messages_hour recipients_hour messages_day recipients_day",
        defaults=(100, 500, 500, 2000),
    )
):
    """The limits, each a whole number of at least 1."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "tuple[Limits, Limits]":
        """Parse `messages-hour=100 automatic-messages-hour=200`; missing ones get the default.

        Return those of submissions and those of automatic mail. Raises ValueError, which names
        the mistake.
        """
        defaults = {"": cls(), AUTOMATIC: AUTOMATIC_LIMITS}
        known = {
            kind + name.replace("_", "-"): (kind, name) for kind in defaults for name in cls._fields
        }
        for part in text.split():
            name, _, number = part.partition("=")
            if name not in known:
                raise ValueError(f"{name!r} is not one of {', '.join(sorted(known))}")
            if not number.isascii() or not number.isdecimal() or not 1 <= int(number) <= 10**6:
                raise ValueError(f"{part!r} is not a whole number from 1 to 1000000")
            kind, field = known[name]
            defaults[kind] = defaults[kind]._replace(**{field: int(number)})
        return defaults[""], defaults[AUTOMATIC]


AUTOMATIC = "automatic-"
AUTOMATIC_LIMITS = Limits(200, 400, 1000, 2000)


# Why a message is refused now. `window` is "hour", "day" or "mail".
Refusal = namedtuple("Refusal", "code status text window")
_Claim = namedtuple("_Claim", "at recipients")


class Ledger:
    """What each login has submitted within a day. Threads share it."""

    def __init__(
        self,
        limits: Limits,
        journal: str,
        *,
        clock: Callable[[], float] = time.time,
        complain: Callable[[str], None] = print,
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self._complain = complain
        self._lock = threading.Lock()
        self._claims: dict[str, deque[_Claim]] = {}
        self._lines = 0
        self._read()

    def claim(self, login: str, recipients: int) -> Refusal | None:
        """Count a message of `login` to this number of recipients, or return why it is refused."""
        now = self._clock()
        with self._lock:
            claims = self._claims.setdefault(login, deque())
            while claims and claims[0].at <= now - DAY:
                claims.popleft()
            if refusal := self._fault(claims, recipients, now):
                return refusal
            claims.append(_Claim(now, recipients))
            self._write(f"{now:.0f} {recipients} {login}\n")
            return None

    def _fault(self, claims: deque[_Claim], recipients: int, now: float) -> Refusal | None:
        limits = self._limits
        most = min(limits.recipients_hour, limits.recipients_day)
        if recipients > most:
            text = (
                f"{recipients} recipients are more than the {most} allowed at once; send to fewer"
            )
            return Refusal("550", "5.5.3", text, "mail")
        # Check the day first: a user at that limit need not retry within the hour.
        free = _free_at(claims, recipients, DAY, limits.messages_day, limits.recipients_day, now)
        if free is not None:
            text = (
                f"Your daily limit of {limits.messages_day} messages and {limits.recipients_day} "
                f"recipients is reached, send again after {_clock_time(free)}; "
                "if that was not you, change your password"
            )
            return Refusal("550", "5.7.1", text, "day")
        free = _free_at(claims, recipients, HOUR, limits.messages_hour, limits.recipients_hour, now)
        if free is not None:
            text = (
                f"Your hourly limit of {limits.messages_hour} messages and "
                f"{limits.recipients_hour} recipients is reached, try again after "
                f"{_clock_time(free)}"
            )
            return Refusal("450", "4.7.1", text, "hour")
        return None

    # The journal ---------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            with open(self._journal, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            self._complain(f"submission-guard: cannot read {self._journal}: {error}")
            return
        now = self._clock()
        for line in lines:
            at, _, rest = line.partition(" ")
            recipients, _, login = rest.partition(" ")
            if not (at.isdecimal() and recipients.isdecimal() and login):
                continue
            # Times in the future, from a clock that ran ahead, must not block anybody for long.
            if now - DAY < int(at) <= now + 1:
                self._claims.setdefault(login, deque()).append(_Claim(int(at), int(recipients)))
        if lines:
            self._compact()

    def _write(self, line: str) -> None:
        try:
            with open(self._journal, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            self._complain(f"submission-guard: cannot write {self._journal}: {error}")
            return
        self._lines += 1
        if self._lines >= _COMPACT_AFTER:
            self._compact()

    def _compact(self) -> None:
        before = self._clock() - DAY
        self._lines = 0
        fresh = f"{self._journal}.new"
        try:
            with open(fresh, "w", encoding="utf-8") as file:
                file.writelines(self._since(before))
            os.replace(fresh, self._journal)
        except OSError as error:
            self._complain(f"submission-guard: cannot write {fresh}: {error}")

    def _since(self, before: float) -> Iterator[str]:
        for login, claims in self._claims.items():
            for each in claims:
                if each.at > before:
                    yield f"{each.at:.0f} {each.recipients} {login}\n"


def _free_at(
    claims: deque[_Claim],
    recipients: int,
    window: int,
    most_messages: int,
    most_recipients: int,
    now: float,
) -> float | None:
    """Return when the window has room for a message, in seconds since the epoch; None if now."""
    counted = [each for each in claims if each.at > now - window]
    messages = len(counted) + 1
    total = recipients + sum(each.recipients for each in counted)
    free = None
    for each in counted:
        if messages <= most_messages and total <= most_recipients:
            break
        messages -= 1
        total -= each.recipients
        free = each.at + window
    return free


def _clock_time(seconds: float) -> str:
    """Round up to a whole minute, so that the printed time is never too early."""
    return time.strftime("%H:%M UTC", time.gmtime(seconds + 60))
