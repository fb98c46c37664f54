"""Parse lines of Postfix and its guard.

Postfix writes `program[pid]: QUEUEID: name=value, ...` and replaces what is not printable. Each
pattern is for the one program that writes such lines, and is anchored at both ends, so that a
recipient, a Message-ID or a reply that looks like the rest of a line is not taken for it.
"""

import re
from datetime import datetime

from postal_plexus.tracing.step import (
    LONGEST_LINE,
    Fate,
    State,
    Step,
    address,
    bare_message_id,
    words,
)

_LINE = re.compile(
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,255} )?"
    r"(postfix(?:/[\w-]{1,40}){1,3})\[\d{1,10}\]: (.*)",
    re.DOTALL,
)
_QUEUED = re.compile(r"(?!NOQUEUE)([0-9A-Za-z]{6,32}): (.*)", re.DOTALL)
# A quoted local part may contain anything.
_PATH = r'<((?:"(?:[^"\\]|\\.)*"|[^">])*)>'
_TO = re.compile(
    rf"to={_PATH}, (?:orig_to={_PATH}, )?relay=([^,]{{1,300}}), (?:conn_use=\d+, )?"
    r"delay=[\d.]+, delays=[\d./]+, dsn=(\d\.\d+\.\d+), status=(\w+)(?: \((.*)\))?",
    re.DOTALL,
)
_FROM = re.compile(rf"from={_PATH}, size=(\d+), nrcpt=(\d+) \(queue active\)")
_EXPIRED = re.compile(rf"from={_PATH}, status=(?:force-)?expired, returned to sender")
_CLIENT = re.compile(r"client=(\S{1,300}?)(?:, .*?sasl_username=(\S{1,320}?))?(?:, .*)?")
_SUBJECT = re.compile(r"info: header Subject: (.*) from \S+; from=<.*", re.DOTALL | re.IGNORECASE)
_REFUSED = re.compile(
    rf"(?:milter-)?reject: (.*); from={_PATH}(?: to={_PATH})?(?: proto=.*)?", re.DOTALL
)
_NOTICE = re.compile(r"(sender[\w -]{1,60} notification): ([0-9A-Za-z]{6,32})")
_TAKEN_BY_SES = re.compile(r"250 (?:\d\.\d\.\d )?Ok ([\w.-]{10,200})", re.ASCII)
_SAVED = re.compile(r"250 2\.0\.0 <[^>]{1,320}> ([\w+/:.=-]{8,80}) Saved", re.ASCII)
_GUARD = re.compile(
    r"submission-guard: (passed|refused) way=(\w+) owner=(\S*) queue=([0-9A-Za-z]{6,32})"
    r"(?: receipt=([\w-]{1,256})|.*? turned=(yes|no): (.*))",
    re.DOTALL | re.ASCII,
)
_WAYS = {
    "submission": "from the client of",
    "submissions": "from the client of",
    "inject": "from deliver",
    "sieve": "from a filter",
}
_OF_QUEUE = {
    "removed": "left Postfix's queue",
    "placed on hold": "put on hold in Postfix's queue by an operator",
    "released from hold": "released from hold by an operator",
    "requeued": "put into Postfix's queue anew by an operator",
}


def steps(at: datetime, line: str) -> tuple[Step, ...]:
    """Return the steps in a line; none if it is not about a message."""
    if len(line) > LONGEST_LINE:
        return ()
    if line.startswith("submission-guard: "):
        return _guard(at, line)
    found = _LINE.fullmatch(line)
    if found is None:
        return ()
    *ways, program = found[1].split("/")
    queued = _QUEUED.fullmatch(found[2])
    if queued is not None:
        return _of_program(at, program, ways, queued)
    # Refused before it had a queue id: a message about which there is no other line.
    ids = frozenset({f"refusal:{at.isoformat()}{found[2][:200]}"})
    return _refused(at, ids, found[2].removeprefix("NOQUEUE: "))


def _of_program(
    at: datetime, program: str, ways: list[str], queued: re.Match[str]
) -> tuple[Step, ...]:
    ids, said = frozenset({f"queue:{queued[1]}"}), queued[2]
    match program:
        case "smtpd" | "pickup":
            return _taken(at, ids, ways, said) or _refused(at, ids, said)
        case "cleanup":
            return _cleaned_up(at, ids, said) or _refused(at, ids, said)
        case "qmgr" | "postsuper":
            return _queue_manager(at, ids, said)
        case "bounce":
            return _notice(at, ids, said)
        case "smtp" | "lmtp" | "error" | "retry":
            return _attempted(at, ids, program, said)
        case _:
            return ()


def _step(at: datetime, ids: frozenset[str], text: str) -> tuple[Step, ...]:
    return (Step(at, "Postfix", text, ids),)


def _taken(at: datetime, ids: frozenset[str], ways: list[str], said: str) -> tuple[Step, ...]:
    found = _CLIENT.fullmatch(said)
    if found is None:
        return ()
    way = _WAYS.get(ways[-1], "from")
    who = address(found[2]) if found[2] else ""
    client = "" if ways[-1] in ("inject", "sieve") else f" at {words(found[1])}"
    text = " ".join(part for part in ("accepted a message", way, who) if part) + client
    return _step(at, ids, text)


def _cleaned_up(at: datetime, ids: frozenset[str], said: str) -> tuple[Step, ...]:
    for name in ("message-id=", "resent-message-id="):
        if said.startswith(name):
            named = bare_message_id(said.removeprefix(name)) if name[0] == "m" else ""
            return (Step(at, "Postfix", "", ids, message_id=named),)
    found = _SUBJECT.fullmatch(said)
    return (Step(at, "Postfix", "", ids, subject=words(found[1])),) if found else ()


def _refused(at: datetime, ids: frozenset[str], said: str) -> tuple[Step, ...]:
    found = _REFUSED.fullmatch(said)
    if found is None:
        return ()
    why, sender, to = words(found[1]), address(found[2]), address(found[3] or "")
    fates = (Fate(to, State.FAILED, f"refused: {why}"),) if to else ()
    text = f"refused it: {why}"
    return (Step(at, "Postfix", text, ids, "", sender, (to,) if to else (), "", fates),)


def _queue_manager(at: datetime, ids: frozenset[str], said: str) -> tuple[Step, ...]:
    if said in _OF_QUEUE:
        return _step(at, ids, _OF_QUEUE[said])
    if found := _FROM.fullmatch(said):
        text = f"queued: {int(found[2]):,} octets for {found[3]} recipients"
        return (Step(at, "Postfix", text, ids, sender=address(found[1])),)
    if found := _EXPIRED.fullmatch(said):
        text = "given up after five days"
        return (Step(at, "Postfix", text, ids, sender=address(found[1])),)
    return ()


def _notice(at: datetime, ids: frozenset[str], said: str) -> tuple[Step, ...]:
    found = _NOTICE.fullmatch(said)
    if found is None:
        return ()
    return _step(at, ids | {f"queue:{found[2]}"}, f"told the sender ({found[1]} {found[2]})")


_STATES = {
    "sent": State.SENT,
    "deferred": State.WAITING,
    "bounced": State.FAILED,
    "expired": State.FAILED,
    "undeliverable": State.FAILED,
}


def _attempted(at: datetime, ids: frozenset[str], program: str, said: str) -> tuple[Step, ...]:
    found = _TO.fullmatch(said)
    state = _STATES.get(found[5]) if found else None
    if found is None or state is None:
        return ()
    to, first, reply = address(found[1]), address(found[2] or ""), words(found[6])
    whom = f"{to} (for {first})" if first else to
    if state is State.SENT and program == "lmtp":
        if saved := _SAVED.fullmatch(reply):
            ids |= {f"session:{saved[1]}"}
        text, fate = f"delivered to {whom}", Fate(to, State.DELIVERED)
    elif state is State.SENT:
        if taken := _TAKEN_BY_SES.fullmatch(reply):
            ids |= {f"ses:{taken[1]}"}
        text, fate = f"handed to SES for {whom}: {reply}", Fate(to, state, reply)
    else:
        done = "not yet sent to" if state is State.WAITING else "failed for"
        text, fate = f"{done} {whom}: {reply}", Fate(to, state, reply)
    people = (to, first) if first else (to,)
    return (Step(at, "Postfix", text, ids, recipients=people, fates=(fate,)),)


def _guard(at: datetime, line: str) -> tuple[Step, ...]:
    found = _GUARD.fullmatch(line)
    if found is None:
        return ()
    ids, owner = frozenset({f"queue:{found[4]}"}), address(found[3])
    if found[1] == "passed":
        if found[5] and found[5] != "-":
            ids |= {f"receipt:{found[5]}"}
        return (Step(at, "Postfix", f"sent on by the right of {owner}", ids),)
    stays = ": it stays in the mailbox" if found[6] == "yes" else ""
    text = f"the way out refused it to {owner}{stays}: {words(found[7] or '')}"
    return (Step(at, "Postfix", text, ids),)
