"""Query the mailboxes of the running Dovecot: sizes, logins, sessions, quota.

The running Dovecot's own doveadm server answers, on a socket that only root in a task can open. So
no second process opens index files, and what Dovecot keeps in memory (who is connected) is correct.
An answer consists of tab-escaped fields without row ends, so this module counts a command's
columns.

In a stack of several hosts each host answers about its own mailboxes, and says of others where they
live (a line of the kind "elsewhere").
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from postal_plexus.deliver import doveadm
from postal_plexus.maintenance import calls
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import DATA, NO_USER, StatusError
from postal_plexus.maintenance.output import ELSEWHERE, Output
from postal_plexus.maintenance.programs import ProgramError

SOCKET = "/run/plexus/live-dovecot/maintenance.sock"
TABLE = Path("/run/plexus/directory/dovecot-passwd")
STORE = Path("/srv/mail")
LOGINS = STORE / "last-logins"

_ANSWER_SECONDS = 300.0
_LONGEST_ANSWER = 8 << 20
# A mailbox that is filled at once must still accept mail.
_MOST_FULL = 0.95
_SHARD = re.compile(r"[: ]shard=(\d+)")
_ESCAPED = re.compile(r"\x01([01tnr])")
_PLAIN = {"0": "\x00", "1": "\x01", "t": "\t", "n": "\n", "r": "\r"}


@dataclass(frozen=True)
class Quota:
    """The content of a mailbox: messages and octets; and the most octets, None for no limit."""

    mails: int
    octets: int
    most: int | None

    def has_room(self, octets: int) -> bool:
        """Return whether the mailbox still accepts mail after adding these octets."""
        return self.most is None or self.octets + octets <= self.most * _MOST_FULL

    def full(self, address: str, octets: int) -> str:
        """Return why this mailbox does not accept that many octets more."""
        return (
            f"{address} has {self.octets / 1e6:.1f} MB of {(self.most or 0) / 1e6:.1f}: with"
            f" {octets / 1e6:.1f} MB more it would refuse mail"
        )


class RefusedError(ProgramError):
    """Dovecot refuses the command; the text is Dovecot's, such as NOUSER."""


class UnknownMailboxError(StatusError):
    """There is no mailbox with that address."""

    def __init__(self, address: str) -> None:
        super().__init__(NO_USER, f"there is no mailbox {address}")


def addresses(table: str) -> list[str]:
    """Return the mailboxes of a directory's table for Dovecot, in order.

    The first address of a renamed mailbox is also a user, but not a mailbox.
    """
    return sorted(homes(table))


def homes(table: str) -> dict[str, Path]:
    """Read from that table where mail is stored: mailbox -> a path below the mail store."""
    found: dict[str, Path] = {}
    for line in table.splitlines():
        match line.split(":"):
            case [address, *_, home, _, more] if "renamed=" not in more.split("app-")[0]:
                name, _, domain = address.rpartition("@")
                found[address] = Path(home.removeprefix("/srv/mail/") or f"{domain}/{name}")
            case _:
                pass
    return found


def host_of(line: str) -> int:
    """Return the number of the host on which the mailbox of a line of that table lives."""
    found = _SHARD.search(line)
    return int(found[1]) if found else 1


def hosts(table: str) -> dict[str, int]:
    """Read from that table on which host each mailbox lives."""
    there = addresses(table)
    found = {line.partition(":")[0]: host_of(line) for line in table.splitlines()}
    return {each: found[each] for each in there}


def first_address(table: str, address: str) -> str:
    """Return the address under which a mailbox's mail is stored: its own, or its first if renamed.

    For Dovecot that is a user whose home follows from the address, so programs that do no user
    lookup find the mailbox by it.
    """
    place = homes(table).get(address)
    return address if place is None else f"{place.name}@{place.parent}"


def mail_address(address: str) -> str:
    """Return the address under which the mail of an existing mailbox is stored.

    Raises:
        UnknownMailboxError: the mailbox does not exist.
    """
    table = TABLE.read_text("utf-8")
    if address not in addresses(table):
        raise UnknownMailboxError(address)
    return first_address(table, address)


def home(below: Path, address: str) -> Path:
    """Return the directory of a mailbox below a root."""
    name, _, domain = address.rpartition("@")
    return below / domain / name


def unescaped(text: str) -> str:
    """Return a field of doveadm's answer without the escapes of tabs, line ends and the like."""
    return _ESCAPED.sub(lambda found: _PLAIN[found[1]], text)


def fields(answer: str) -> list[str]:
    """Return the fields of the doveadm server's answer."""
    if not answer:
        return []
    return [unescaped(each) for each in answer.removesuffix("\t").split("\t")]


def rows(answer: str, columns: int) -> Iterator[tuple[str, ...]]:
    """Return the rows of an answer.

    Raises:
        ProgramError: the number of fields is not a multiple of the columns.
    """
    found = fields(answer)
    if len(found) % columns:
        raise ProgramError(f"Dovecot's answer has {len(found)} fields, not rows of {columns}")
    for at in range(0, len(found), columns):
        yield tuple(found[at : at + columns])


def ask(user: str, *words: str, path: str = SOCKET) -> str:
    """Run a command of the running Dovecot's doveadm for one user ("" for none); return its answer.

    Raises:
        RefusedError: it refuses.
        ProgramError: Dovecot does not answer.
    """
    try:
        return doveadm.ask(path, user, *words, seconds=_ANSWER_SECONDS, longest=_LONGEST_ANSWER)
    except doveadm.RefusedError as error:
        raise RefusedError(f"Dovecot refuses {words[0]}: {str(error) or 'it failed'}") from error
    except doveadm.DoveadmError as error:
        raise ProgramError(f"{error}; see plexus doctor") from error


def last_login(text: str) -> dict[str, str] | None:
    """Return the newest line of a user's login records: TIME PASSWORD PROTOCOL ADDRESS."""
    lines = [line.split() for line in text.splitlines()]
    found = max((line for line in lines if len(line) >= 4), default=None)
    if found is None:
        return None
    return {"at": found[0], "password": found[1], "protocol": found[2], "from": found[3]}


def _logins(address: str) -> dict[str, str] | None:
    try:
        return last_login((LOGINS / address).read_text(errors="replace"))
    except OSError:
        return None


def _known(call: Call, output: Output) -> list[str]:
    """Return the requested mailboxes of this host, all of them if none is named.

    Raises UnknownMailboxError.
    """
    there = hosts(TABLE.read_text(encoding="utf-8"))
    asked = [word.lower() for word in call.words]
    for each in asked:
        if each not in there:
            raise UnknownMailboxError(each)
    shard = int(os.environ.get("PLEXUS_SHARD") or 0)
    if not shard:
        return asked or list(there)
    for each in asked:
        if there[each] != shard:
            output.say(ELSEWHERE, address=each, host=there[each])
    return [each for each in asked or there if there[each] == shard]


def _each(call: Call, output: Output, *, recalculate: bool) -> int:
    worst = 0
    for address in _known(call, output):
        try:
            if recalculate:
                ask(address, "quota recalc")
            output.say("mailbox", address=address, **asdict(quota(address)), login=_logins(address))
        except RefusedError as error:
            worst = output.fail(DATA, f"{address}: {error}")
    return worst


def quota(address: str, path: str = SOCKET) -> Quota:
    """Ask Dovecot for a mailbox's size and quota. Raises ProgramError."""
    mails = octets = 0
    most: int | None = None
    for _name, kind, value, limit, _percent in rows(ask(address, "quota get", path=path), 5):
        if kind == "STORAGE":
            octets = int(value) * 1024
            most = int(limit) * 1024 if limit.isdigit() and int(limit) else None
        elif kind == "MESSAGE":
            mails = int(value)
    return Quota(mails, octets, most)


def sessions_of(answer: Sequence[tuple[str, ...]]) -> Iterator[dict[str, object]]:
    """Yield who is connected, from the rows of `doveadm who`."""
    for user, number, protocol, _pids, networks, *_ in answer:
        yield {
            "address": user,
            "sessions": int(number) if number.isdigit() else 1,
            "protocol": protocol,
            "from": networks.strip("()").split(),
        }


def _list(call: Call, output: Output) -> int:
    return _each(call, output, recalculate=False)


def _recalculate(call: Call, output: Output) -> int:
    return _each(call, output, recalculate=True)


def _sessions(call: Call, output: Output) -> int:
    wanted = _known(call, output)
    for session in sessions_of(list(rows(ask("", "who"), 5))):
        if session["address"] in wanted or not call.words:
            output.say("session", **session)
    return 0


def _kick(call: Call, output: Output) -> int:
    for address in _known(call, output):
        ended = fields(ask("", "kick", address))
        output.say("kicked", address=address, sessions=int(ended[0]) if ended else 0)
    return 0


VERBS = {
    "mailbox-list": Verb(_list, calls.ADDRESS, 0, calls.MOST_WORDS),
    "mailbox-sessions": Verb(_sessions, calls.ADDRESS, 0, calls.MOST_WORDS),
    "mailbox-kick": Verb(_kick, calls.ADDRESS, 1, calls.MOST_WORDS),
    "mailbox-recalculate": Verb(_recalculate, calls.ADDRESS, 0, calls.MOST_WORDS),
}
