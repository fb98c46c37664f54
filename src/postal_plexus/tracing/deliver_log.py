"""Parse lines of `deliver`: one JSON object each (`deliver.maillog`)."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import cast

from postal_plexus.tracing.step import (
    LONGEST_LINE,
    Fate,
    State,
    Step,
    address,
    bare_message_id,
    words,
)

_Fields = dict[str, object]

_ID = re.compile(r"[\w.+/=-]{1,256}", re.ASCII)
# Postfix's and Dovecot's replies to accepted messages; the second contains Dovecot's session.
_QUEUED = re.compile(r"250 2\.0\.0 Ok: (?:\d{1,12} bytes )?queued as ([0-9A-Za-z]{6,32})")
_SAVED = re.compile(r"250 2\.0\.0 <[^>]{1,320}> ([\w+/:.=-]{8,80}) Saved", re.ASCII)
_MOST_PEOPLE = 1000


def steps(at: datetime, line: str) -> tuple[Step, ...]:
    """Return the steps in a line; none if it is not about a message.

    Args:
        at: when it was written, for a line without a time of its own.
        line: one line of the log.
    """
    if len(line) > LONGEST_LINE or not line.startswith("{"):
        return ()
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(read, dict):
        return ()
    fields = cast("_Fields", read)
    event = fields.get("event")
    tell = EVENTS.get(event) if isinstance(event, str) else None
    if tell is None:
        return ()
    return tell(_Line(_moment(fields.get("time")) or at, fields))


class _Line:
    """The fields of a line, with their types checked."""

    def __init__(self, at: datetime, fields: _Fields) -> None:
        self.at = at
        self.fields = fields
        self.ids = frozenset(
            f"{kind}:{value}"
            for kind, name in (("receipt", "receipt"), ("ses", "ses_id"))
            if isinstance(value := fields.get(name), str) and _ID.fullmatch(value)
        )

    def words(self, name: str) -> str:
        return words(self.fields.get(name))

    def people(self, name: str) -> tuple[str, ...]:
        found = self.fields.get(name)
        given = cast("list[object]", found)[:_MOST_PEOPLE] if isinstance(found, list) else []
        return tuple(address(each) for each in given if isinstance(each, str))

    def table(self, name: str) -> dict[str, str]:
        found = self.fields.get(name)
        given = (
            list(cast("_Fields", found).items())[:_MOST_PEOPLE] if isinstance(found, dict) else []
        )
        return {address(key): words(value) for key, value in given}

    def step(
        self,
        text: str,
        *fates: Fate,
        ids: frozenset[str] = frozenset(),
        recipients: tuple[str, ...] = (),
        at: datetime | None = None,
        where: str = "deliver",
    ) -> Step:
        sender = self.fields.get("sender")
        return Step(
            at or self.at,
            where,
            text,
            self.ids | ids,
            bare_message_id(self.fields.get("message_id")),
            address(sender) if isinstance(sender, str) else None,
            recipients or tuple(each.recipient for each in fates),
            self.words("subject"),
            fates,
        )

    def accepted(self, recipients: tuple[str, ...]) -> tuple[Step, ...]:
        """Return SES's own step, which the attempt's lines imply."""
        moment = _moment(self.fields.get("accepted"))
        if moment is None or not self.ids:
            return ()
        verdicts = self.words("verdicts")
        text = "accepted the message" + (f" ({verdicts})" if verdicts else "")
        return (self.step(text, at=moment, where="SES", recipients=recipients),)


def _delivered(line: _Line) -> tuple[Step, ...]:
    if (one := line.words("recipient")) and "recipients" not in line.fields:
        people, replies, firsts = (one,), (line.words("reason"),), (line.words("for"),)
    else:
        people, replies = line.people("recipients"), line.people("replies")
        firsts = line.people("for")
    sessions = frozenset(
        f"session:{found[1]}" for each in replies if (found := _SAVED.fullmatch(each))
    )
    fates = tuple(Fate(each, State.DELIVERED) for each in people)
    everybody = _everybody(people, firsts)
    led = [
        f"{each} (for {first})" if first and first.lower() != each.lower() else each
        for each, first in zip_longest(people, firsts[: len(people)], fillvalue="")
    ]
    text = f"delivered to {_listed(led)}"
    step = line.step(text, *fates, ids=sessions, recipients=everybody)
    return (*line.accepted(everybody), step)


def _of_one(line: _Line, text: str, fate: Fate, ids: frozenset[str]) -> tuple[Step, ...]:
    everybody = _everybody((fate.recipient,), (line.words("for"),))
    return (*line.accepted(everybody), line.step(text, fate, ids=ids, recipients=everybody))


def _everybody(people: tuple[str, ...], firsts: tuple[str, ...]) -> tuple[str, ...]:
    """Return whom the message is for, and whom its sender knows."""
    return tuple(dict.fromkeys(each for each in (*people, *firsts) if each))


def _whom(line: _Line) -> str:
    to, first = line.words("recipient"), line.words("for")
    return f"{to} (for {first})" if first and first.lower() != to.lower() else to


def _forwarded(line: _Line) -> tuple[Step, ...]:
    found = _QUEUED.fullmatch(line.words("reason"))
    ids = frozenset({f"queue:{found[1]}"}) if found else frozenset[str]()
    fate = Fate(line.words("recipient"), State.FORWARDED, "in Postfix's queue")
    return _of_one(line, f"handed to Postfix for {_whom(line)}", fate, ids)


def _deferred(line: _Line) -> tuple[Step, ...]:
    fate = Fate(line.words("recipient"), State.WAITING, _status(line))
    return _of_one(line, f"not yet delivered to {_whom(line)}: {fate.words}", fate, frozenset())


def _failed(line: _Line) -> tuple[Step, ...]:
    fate = Fate(line.words("recipient"), State.FAILED, _status(line))
    return _of_one(line, f"failed for {_whom(line)}: {fate.words}", fate, frozenset())


def _bounced(line: _Line) -> tuple[Step, ...]:
    people = line.people("recipients")
    fates = tuple(Fate(each, State.BOUNCED) for each in people)
    return (line.step(f"told the sender that it failed for {_listed(people)}", *fates),)


def _dead_lettered(line: _Line) -> tuple[Step, ...]:
    to, why = line.words("recipient"), line.words("reason")
    fates = (Fate(to, State.HELD, why),) if to else ()
    whom = f" for {to}" if to else ""
    return (line.step(f"put among the dead letters{whom}: {why}", *fates),)


def _held(line: _Line) -> tuple[Step, ...]:
    fates = tuple(Fate(each, State.HELD, "virus") for each in line.table("recipients"))
    return (line.step("held among the dead letters: SES found a virus", *fates),)


def _dropped(line: _Line) -> tuple[Step, ...]:
    return (line.step(f"dropped: {line.words('reason')}"),)


def _postponed(line: _Line) -> tuple[Step, ...]:
    seconds = line.fields.get("in_seconds")
    again = f", again in {seconds} s" if isinstance(seconds, int) else ""
    return (line.step(f"waits: {line.words('reason')}{again}"),) if line.ids else ()


def _fault(line: _Line) -> tuple[Step, ...]:
    return (line.step(f"fault of deliver: {line.words('error')}"),) if line.ids else ()


def _asked(line: _Line) -> tuple[Step, ...]:
    text = f"asked Dovecot whether {line.words('recipient')} has it: {line.words('answer')}"
    states = {"there": State.DELIVERED, "no answer": State.WAITING}
    state = states.get(line.words("answer"))
    fates = (Fate(line.words("recipient"), state),) if state else ()
    return (line.step(text, *fates),)


def _unfiltered(line: _Line) -> tuple[Step, ...]:
    return (line.step(f"filed past the filters of {line.words('recipient')}: they took too much"),)


def _repeated(line: _Line) -> tuple[Step, ...]:
    return (line.step("came once more; everybody has it"),)


def _redriven(line: _Line) -> tuple[Step, ...]:
    fate = Fate(line.words("recipient"), State.WAITING, "put back from the dead letters")
    return (line.step("put back from the dead letters", fate),)


def _replayed(line: _Line) -> tuple[Step, ...]:
    return (line.step(f"brought back into {line.words('recipient')} by an operator (replay)"),)


def _bounce_refused(line: _Line) -> tuple[Step, ...]:
    return (line.step(f"SES does not take the bounce: {line.words('reason')}"),)


_OUTCOMES = {
    "failed": (State.FAILED, "failed for"),
    "complaint": (State.COMPLAINED, "called unwanted by"),
    "delayed": (State.WAITING, "not yet taken by the server of"),
}


def _feedback(line: _Line) -> tuple[Step, ...]:
    about = line.table("about")
    outcome = _OUTCOMES.get(line.words("outcome"))
    kind, reason = line.words("kind"), line.words("reason")
    named = " ".join(part for part in (kind, reason) if part)
    told = [
        f"{outcome[1] if outcome else 'an automatic answer of'} {who}" + (f": {why}" if why else "")
        for who, why in about.items()
    ]
    fates = (
        tuple(Fate(who, outcome[0], why or named) for who, why in about.items()) if outcome else ()
    )
    text = f"{named}: {'; '.join(told)}"
    return (line.step(text, *fates, where="SES", recipients=tuple(about)),)


def _arrived(line: _Line) -> tuple[Step, ...]:
    people, reply = line.people("recipients"), line.words("reply")
    fates = tuple(Fate(each, State.ARRIVED, reply) for each in people)
    text = f"delivered to the server of {_listed(people)}: {reply}"
    return (line.step(text, *fates, at=_moment(line.fields.get("happened")), where="SES"),)


EVENTS: dict[str, Callable[[_Line], tuple[Step, ...]]] = {
    "arrived": _arrived,
    "asked": _asked,
    "bounce refused": _bounce_refused,
    "bounced": _bounced,
    "dead-lettered": _dead_lettered,
    "deferred": _deferred,
    "delivered": _delivered,
    "dropped": _dropped,
    "failed": _failed,
    "fault": _fault,
    "feedback": _feedback,
    "forwarded": _forwarded,
    "held": _held,
    "postponed": _postponed,
    "redriven": _redriven,
    "repeated": _repeated,
    "replayed": _replayed,
    "unfiltered": _unfiltered,
}
"""The parser of each event about a message."""


def _status(line: _Line) -> str:
    status, reason = line.words("status"), line.words("reason")
    return reason if status in reason else f"{status} {reason}".strip()


def _listed(people: Sequence[str]) -> str:
    shown = ", ".join(people[:5])
    return f"{shown} and {len(people) - 5} others" if len(people) > 5 else shown


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
