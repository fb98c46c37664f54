"""The count at the end: what each mailbox holds, what was accounted for, and the judgement.

`judge` is pure, and strict: every (mail, mailbox) once, every recipient without a mailbox bounced
or dead-lettered with a reason, nothing else anywhere, each content byte for byte what was accepted.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.chaos.client import FLAG
from tests.chaos.filters import judge_filters
from tests.chaos.plan import DIRECTORY, ECHO, MARK, WRITTEN, Plan, PlannedMail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.chaos.client import Door, Imap

_NOTICE = re.compile(rb"^In-Reply-To: (<" + ECHO.encode() + rb"[^>]*>)\r\n", re.MULTILINE)
_HELD = re.compile(rb"^X-Plexus-Receipt: held-([!-~]+)\r\n", re.MULTILINE)
_MARKED = re.compile(rb"^" + MARK + rb"(\d+)\r\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kept:
    """One mail found in a mailbox."""

    mailbox: str
    folder: str
    number: int
    content: bytes  # without the trace headers on top
    echo: str = ""  # of a notice: the Message-ID that it answers to
    held: str = ""  # of a notice that a mail is held: SES's id of that mail
    flagged: bool = False  # by a client of the run


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One mail that Postfix has taken for an address outside."""

    number: int
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """A recipient for whom somebody was told that the mail could not be delivered."""

    ses_message_id: str
    recipient: str  # "" where the whole mail is meant
    how: str  # "bounce" or "dead letter"
    reason: str


@dataclass(slots=True)
class Judgement:
    """What is wrong, each with a line for a person. Nothing in it: the run is good."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)  # in a mailbox that it was not for
    damaged: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    misreported: list[str] = field(default_factory=list)  # told as failed, and delivered
    unsettled: list[str] = field(default_factory=list)  # still in the queue
    # With several hosts.
    unflagged: list[str] = field(default_factory=list)  # a flag that was answered with OK is gone
    misled: list[str] = field(default_factory=list)  # what clients saw and must not
    outdated: list[str] = field(default_factory=list)  # deliveries by too old a directory
    delivered: int = 0
    accounted: int = 0
    forwarded: int = 0
    forwarded_again: int = 0  # at least once is what can be had, so these are no fault
    notices: int = 0
    redirected: int = 0
    rejected: int = 0
    answers: int = 0

    def faults(self) -> dict[str, list[str]]:
        """Only the kinds that occurred."""
        kinds = {
            "lost": self.lost,
            "doubled": self.doubled,
            "strayed": self.strayed,
            "damaged": self.damaged,
            "unaccounted": self.unaccounted,
            "misreported": self.misreported,
            "unsettled": self.unsettled,
            "flags lost": self.unflagged,
            "clients misled": self.misled,
            "by an old directory": self.outdated,
        }
        return {name: lines for name, lines in kinds.items() if lines}


def judge(
    plan: Plan,
    kept: Iterable[Kept],
    accounts: Iterable[Account],
    unsettled: Iterable[str] = (),
    forwarded: Iterable[Forwarded] = (),
    sent_by_filters: Iterable[Forwarded] = (),
) -> Judgement:
    """Hold what was found against what the plan demands."""
    found = Judgement(unsettled=list(unsettled))
    copies: Counter[tuple[int, str]] = Counter()
    notices: Counter[tuple[str, str]] = Counter()
    by_number = {mail.number: mail for mail in plan.mails}
    kept = list(kept)
    _judge_held(found, plan, Counter((one.held, one.mailbox) for one in kept if one.held))
    for one in kept:
        if one.held:
            continue
        mail = by_number.get(one.number)
        if one.echo:
            notices[one.echo, one.mailbox] += 1
            continue
        if mail is None or one.mailbox not in mail.expected:
            found.strayed.append(f"mail {one.number} in {one.mailbox}/{one.folder}")
            continue
        copies[one.number, one.mailbox] += 1
        if one.content != mail.content():
            found.damaged.append(f"mail {one.number} in {one.mailbox}/{one.folder}")
        if one.folder == "INBOX" and (mail.quarantined or mail.spam):
            found.strayed.append(f"mail {one.number} ({mail.verdicts}) in {one.mailbox}/INBOX")
    told: defaultdict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        told[account.ses_message_id].append(account)
    sent_on = _judge_forwards(found, by_number, forwarded)
    away = judge_filters(found, by_number, sent_by_filters)
    for mail in plan.mails:
        _judge_mail(found, mail, copies, away, told[mail.ses_message_id])
        for address in sorted(mail.outside):
            accounted = [one for one in told[mail.ses_message_id] if one.recipient in {"", address}]
            where = f"mail {mail.number} for {address} ({', '.join(mail.faults()) or 'no fault'})"
            if address not in mail.forwarded:
                _judge_failed(found, where, accounted)
            elif not sent_on[mail.number, address]:
                found.lost.append(where)
    _judge_echoes(found, plan, notices)
    return found


def _judge_forwards(
    found: Judgement, mails: Mapping[int, PlannedMail], forwarded: Iterable[Forwarded]
) -> Counter[tuple[int, str]]:
    sent_on: Counter[tuple[int, str]] = Counter()
    for one in forwarded:
        mail = mails.get(one.number)
        if mail is None or one.recipient not in mail.forwarded:
            found.strayed.append(f"mail {one.number} forwarded to {one.recipient}")
            continue
        sent_on[one.number, one.recipient] += 1
        # A forward has another header block, and the same body.
        if not one.content.endswith(b"\r\n\r\n" + mail.content().partition(b"\r\n\r\n")[2]):
            found.damaged.append(f"mail {one.number} forwarded to {one.recipient}")
    found.forwarded = len(sent_on)
    found.forwarded_again = sent_on.total() - len(sent_on)
    return sent_on


def _judge_held(found: Judgement, plan: Plan, notices: Counter[tuple[str, str]]) -> None:
    """Of a mail with a virus each reader has one notice, unless the mailbox takes nothing."""
    for mail in filter(lambda each: each.quarantined, plan.mails):
        for box in sorted(mail.expected):
            count = notices.pop((mail.ses_message_id, box), 0)
            where = f"notice that mail {mail.number} for {box} is held"
            if count > 1:
                found.doubled.append(f"{where}: {count} copies")
            elif not count and mail.refused.get(box) != -1:
                found.lost.append(where)
    found.strayed += [f"notice that {name} is held in {mailbox}" for name, mailbox in notices]


def _judge_echoes(found: Judgement, plan: Plan, notices: Counter[tuple[str, str]]) -> None:
    for echo in plan.echoes:
        count = notices.pop((echo.message_id, echo.mailbox), 0)
        where = f"notice of {echo.kind} {echo.number} for {echo.mailbox}"
        if count == 1:
            found.notices += 1
        elif count:
            found.doubled.append(f"{where}: {count} copies")
        else:
            found.lost.append(where)
    found.strayed += [f"notice {name} in {mailbox}" for name, mailbox in notices]


def _judge_mail(
    found: Judgement,
    mail: PlannedMail,
    copies: Mapping[tuple[int, str], int],
    away: Mapping[tuple[int, str], int],
    accounts: Sequence[Account],
) -> None:
    for box in sorted(mail.expected):
        count = copies.get((mail.number, box), 0) or min(1, away.get((mail.number, box), 0))
        names = {"", box, *_written_for(mail, box)}
        told = [account for account in accounts if account.recipient in names]
        where = f"mail {mail.number} for {box} ({', '.join(mail.faults()) or 'no fault'})"
        if count > 1:
            found.doubled.append(f"{where}: {count} copies")
        if box in mail.delivered:
            _judge_owed(found, box, where, count, told)
        elif count:
            found.strayed.append(f"{where}: was to be refused")
        else:
            _judge_failed(found, where, told)
    for recipient in sorted(mail.unknown):
        told = [account for account in accounts if account.recipient in {"", recipient}]
        _judge_failed(found, f"mail {mail.number} for {recipient}, whom nobody has", told)


def _judge_owed(
    found: Judgement, box: str, where: str, count: int, told: Sequence[Account]
) -> None:
    """Judge a mailbox that must have the mail."""
    if not count and told:
        found.misreported.append(f"{where}: given up, {told[0].how}, {told[0].reason}")
    elif not count:
        found.lost.append(where)
    else:
        found.delivered += 1
        # A report that names an alias may be about another mailbox of the alias.
        wrong = [account for account in told if account.recipient in {"", box}]
        if wrong:
            found.misreported.append(f"{where}: {wrong[0].how}, {wrong[0].reason}")


def _judge_failed(found: Judgement, where: str, told: Sequence[Account]) -> None:
    """Judge a recipient that cannot have the mail: someone must be told, with the reason."""
    if any(account.reason for account in told):
        found.accounted += 1
    else:
        found.unaccounted.append(where)


def _written_for(mail: PlannedMail, box: str) -> set[str]:
    """Return the envelope recipients of a mail that lead to this mailbox."""
    leads = dict(WRITTEN)
    found: set[str] = set()
    for written in mail.recipients:
        plain = re.sub(r"\+[^@]*", "", written)
        if box in leads.get(written, ()) or plain == box:
            found.add(written)
            found.add(written.lower())
    return found


# --- reading what there is


def mailboxes(door: Callable[[str], Door]) -> list[Kept]:
    """Return all that lies in all folders of all users, over IMAP; `door` is an address's."""
    return [
        kept
        for mailbox in DIRECTORY.mailboxes
        for kept in _mailbox(door(mailbox.address).enter(mailbox.address), mailbox.address)
    ]


def _mailbox(imap: Imap, address: str) -> list[Kept]:
    found: list[Kept] = []
    try:
        _, folders = imap.list()
        for line in folders:
            assert isinstance(line, bytes)
            name = line.rpartition(b' "/" ')[2].decode().strip('"')
            status, count = imap.select(f'"{name}"', readonly=True)
            assert status == "OK", (name, count)
            total = int(count[0] or b"0")
            for first in range(1, total + 1, 200):
                _, parts = imap.fetch(f"{first}:{min(total, first + 199)}", "(FLAGS BODY.PEEK[])")
                found += [
                    replace(_kept(address, name, part[1]), flagged=FLAG.encode() in part[0])
                    for part in parts
                    if isinstance(part, tuple)
                ]
    finally:
        imap.logout()
    return found


def _kept(address: str, folder: str, content: bytes) -> Kept:
    marked = _MARKED.search(content)
    if marked is None:
        if held := _HELD.search(content):
            return Kept(address, folder, -1, content, held=held.group(1).decode())
        notice = _NOTICE.search(content)
        echo = notice.group(1).decode() if notice else ""
        return Kept(address, folder, -1, content, echo)
    return Kept(address, folder, int(marked.group(1)), content[marked.start() :])


def accounts(dump: Mapping[str, Any]) -> list[Account]:
    """Return who was told of a failure: SES's bounces and the dead letters with their reasons."""
    found: list[Account] = []
    for bounce in dump["bounces"]:
        number = 1
        while recipient := bounce.get(f"BouncedRecipientInfoList.member.{number}.Recipient"):
            field = f"BouncedRecipientInfoList.member.{number}"
            reason = bounce.get(f"{field}.RecipientDsnFields.DiagnosticCode") or bounce.get(
                f"{field}.BounceType", ""
            )
            found.append(Account(bounce["OriginalMessageId"], recipient, "bounce", reason))
            number += 1
    for name, letters in dump["queues"].items():
        if name.startswith("dead-letters"):
            for letter in letters:
                found += _dead_letter(letter)
    return found


def _dead_letter(letter: Mapping[str, Any]) -> list[Account]:
    """Return the recipients of one dead letter; all of the mail where it names none."""
    body = json.loads(letter["body"])
    notification = json.loads(body["Message"]) if "Message" in body else body
    attributes = {
        name.lower(): value.get("StringValue", "") for name, value in letter["attributes"].items()
    }
    reason = attributes.get("reason", "")
    recipients = attributes.get("recipients") or attributes.get("recipient") or ""
    message_id = notification["mail"]["messageId"]
    return [
        Account(message_id, recipient, "dead letter", reason)
        for recipient in (re.split(r"[,\s]+", recipients) if recipients else [""])
    ]
