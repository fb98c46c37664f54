"""Which host of a stack with several has a mailbox, and how it goes from one to another.

The directory says where a mailbox is to live. Who has it is in a file beside the messages on EFS,
its record, which only the host that it names replaces (containers/dovecot/indexes lists the forms).
So a move needs no agreement on time: hosts may have different versions of the directory, or be
killed at any moment, and no two ever have one mailbox.

    directory   record on host 1's side        host 1                        host 2
    home 1      1 has                          opens it                      refuses it
    home 2      1 has                          ends sessions, copies the     lets clients wait
                                               index to EFS, then writes:
    home 2      2 takes                        proxies to host 2             takes it, then writes:
    home 2      2 has                          proxies to host 2             opens it

`plan` decides that, purely. `follow` does it, on the host, as root in Dovecot's container, whenever
the directory has changed and until everything is done. Clients and deliveries are told of a
temporary failure meanwhile (holds.lua), or wait in their login.

Failures: what cannot be done now (a session that does not end, an operator's task that works on the
mailbox) is a line in the log, and is tried again.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from postal_plexus.maintenance import mailbox_hold, mailboxes

RECORDS = Path("/srv/mail/.homes")
HOLDS = Path("/run/plexus/dovecot/holds")
"""As Dovecot's container sees them."""

FIRST = 1
# Mailboxes that leave together: as many wait for each other.
_MOST_AT_ONCE = 20
# In one process, which starts more slowly than it works.
_MOST_OWNED = 100
_SESSIONS_SECONDS = 10.0
_BUSY = 75


@dataclass(frozen=True)
class Mailbox:
    """A mailbox of the directory.

    Attributes:
        stored: the address under which its mail lies.
        names: the users by which Dovecot knows it.
        home: the number of the host on which it is to live.
    """

    stored: str
    names: tuple[str, ...]
    home: int

    @property
    def path(self) -> str:
        """Its directory below the mail store: `example.org/ann`."""
        name, _, domain = self.stored.rpartition("@")
        return f"{domain}/{name}"


class Act(StrEnum):
    """What a host has to do about a mailbox. The values are the verbs of `indexes`."""

    OWN = "own"
    LEAVE = "leave"
    TAKE = "take"
    WAIT = "wait"


@dataclass(frozen=True)
class Record:
    """Who has a mailbox: its number, and whether it has the index already."""

    host: int
    has: bool
    is_old: bool = False

    @classmethod
    def parse(cls, text: str | None) -> "Record | None":
        """Parse a record; without one (None) host 1 has the mailbox. Return None if it is none."""
        if text is None:
            return cls(FIRST, has=True)
        number, _, how = text.removesuffix("\n").partition(" ")
        if not (number.isascii() and number.isdigit() and text.endswith("\n")):
            return None
        known = {"has": (True, False), "takes": (False, False), "takes a copy": (False, True)}
        return cls(int(number), *known[how]) if how in known else None


def read_table(table: str) -> list[Mailbox]:
    """Read the mailboxes from the directory's table for Dovecot (directory.tables)."""
    names: dict[str, list[str]] = {}
    homes: dict[str, int] = {}
    for line in table.splitlines():
        match line.split(":"):
            case [address, _, _, _, _, place, _, *_]:
                name, _, domain = address.rpartition("@")
                where = place.removeprefix("/srv/mail/") or f"{domain}/{name}"
                domain, _, name = where.partition("/")
                stored = f"{name}@{domain}"
                names.setdefault(stored, []).append(address)
                homes[stored] = mailboxes.host_of(line)
            case _:
                pass
    return [Mailbox(stored, tuple(users), homes[stored]) for stored, users in names.items()]


def plan(
    shard: int, there: Sequence[Mailbox], records: Mapping[str, str | None]
) -> list[tuple[Act, Mailbox]]:
    """Return what host `shard` has to do, in this order.

    Args:
        shard: this host's number.
        there: the directory's mailboxes.
        records: the text of each one's record, by `stored`; None where there is no file.
    """
    found: list[tuple[Act, Mailbox]] = []
    for mailbox in there:
        text = records[mailbox.stored]
        record = Record.parse(text)
        if record is None or record.host != shard:
            if mailbox.home == shard:
                found.append((Act.WAIT, mailbox))
        elif mailbox.home != shard:
            found.append((Act.LEAVE, mailbox))
        elif not record.has:
            found.append((Act.TAKE, mailbox))
        elif text is None:
            # Other hosts then read a file that exists: NFS answers from memory that none does.
            found.append((Act.OWN, mailbox))
    order = [Act.TAKE, Act.LEAVE, Act.OWN, Act.WAIT]
    return sorted(found, key=lambda each: order.index(each[0]))


def follow(shard: int) -> int:
    """Do what the directory says. Return 0, or 1 if something is left to do.

    Raises:
        OSError: the directory's table or a record cannot be read.
    """
    there = read_table(mailboxes.TABLE.read_text("utf-8"))
    planned = plan(shard, there, {each.stored: read_record(each.stored) for each in there})
    by_act = {act: [each for its, each in planned if its is act] for act in Act}
    done = _all(Act.TAKE, by_act[Act.TAKE])
    leaving = by_act[Act.LEAVE]
    done = _leave(leaving[:_MOST_AT_ONCE]) and done and len(leaving) <= _MOST_AT_ONCE
    done = _own(by_act[Act.OWN]) and done
    return 0 if done and not by_act[Act.WAIT] else 1


def read_record(stored: str, records: Path = RECORDS) -> str | None:
    """Return the text of a mailbox's record, or None if there is none. Raises OSError."""
    try:
        return (records / stored).read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def _leave(leaving: Sequence[Mailbox]) -> bool:
    """Let mailboxes go. The fence is closed for them since the directory names another home."""
    with contextlib.ExitStack() as holds:
        held: list[Mailbox] = []
        for mailbox in leaving:
            try:
                holds.enter_context(mailbox_hold.leave(mailbox.stored, HOLDS))
                # Neither a delivery of `deliver` nor an operator's task is at work, or begins.
                holds.enter_context(mailbox_hold.hold(mailbox.names[0], HOLDS))
            except mailbox_hold.MailboxBusyError as error:
                _cannot(mailbox, str(error))
            else:
                held.append(mailbox)
        free = [each for each in held if _has_no_sessions(each)]
        return _all(Act.LEAVE, free) and len(free) == len(leaving)


def _has_no_sessions(mailbox: Mailbox) -> bool:
    """End a mailbox's sessions; return whether none is left."""
    until = time.monotonic() + _SESSIONS_SECONDS
    while True:
        for name in mailbox.names:
            _doveadm("kick", name)
        if not any(_doveadm("-f", "flow", "who", name) for name in mailbox.names):
            return True
        if time.monotonic() > until:
            _cannot(mailbox, "sessions do not end")
            return False
        time.sleep(0.2)


def _doveadm(*words: str) -> str:
    done = subprocess.run(  # noqa: S603  no word of the world's
        ["/usr/bin/doveadm", *words], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip()


def _all(act: Act, concerned: Sequence[Mailbox]) -> bool:
    """Do it for each, also after one for which it cannot be done."""
    return min([_indexes(act, each) for each in concerned], default=True)


def _own(concerned: Sequence[Mailbox]) -> bool:
    """Note that host 1 has them: all that it has, when a stack gets its second host."""
    done = True
    for start in range(0, len(concerned), _MOST_OWNED):
        some = concerned[start : start + _MOST_OWNED]
        done = not _run_indexes(Act.OWN.value, *(each.path for each in some)) and done
    return done


def _cannot(mailbox: Mailbox, why: str) -> None:
    sys.stdout.write(f"homes: {mailbox.stored} cannot move yet: {why}\n")
    sys.stdout.flush()


def _indexes(act: Act, mailbox: Mailbox) -> bool:
    """Run `indexes` as the mail user; return whether it has done it. It says why not."""
    code = _run_indexes(act.value, mailbox.path, *([str(mailbox.home)] if act is Act.LEAVE else []))
    if code == _BUSY:
        _cannot(mailbox, "something has it open")
    return code == 0


def _run_indexes(*words: str) -> int:
    as_vmail = ("/usr/bin/setpriv", "--reuid=5000", "--regid=5000", "--groups=5003")
    done = subprocess.run(  # noqa: S603  no word of the world's
        [*as_vmail, "--inh-caps=-all", "/usr/local/bin/indexes", *words],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    return done.returncode
