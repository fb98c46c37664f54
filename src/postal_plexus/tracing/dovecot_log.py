"""Parse lines of Dovecot's LMTP: what filters did with a message, and by which rule.

    lmtp(USER)<PID><SESSION>: Info: sieve: msgid=<ID>: fileinto action: stored mail into mailbox 'F'
    lmtp(USER)<PID><SESSION>: Info: sieve rule: session=<SESSION> action=fileinto by=rules: line 3

The session is that of the reply to the LMTP client. Dovecot logs a Message-ID up to its first `>`
and without blanks, so that text that looks like an action within one is not an action.
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
    r"lmtp\(([^()\s]{1,320})\)<\d{1,10}><([\w+/:.=-]{8,80})>: (Info|Warning|Error): (.*)",
    re.DOTALL | re.ASCII,
)
_RULE = re.compile(r"sieve rule: session=<\S{1,80}> action=([\w-]{1,40}) by=(.*)", re.DOTALL)
_ACTION = re.compile(
    r"(?:sieve: )?msgid=(<[^\s<>]*>|unspecified): (?:([\w-]{1,40}) action: )?(.*)", re.DOTALL
)
_STORED = re.compile(r"(?:stored mail into mailbox|saved mail to) '?(.*?)'?", re.DOTALL)
_TO = re.compile(r"(?:forwarded to|sent vacation response to) <(.*)>", re.DOTALL)


def steps(at: datetime, line: str) -> tuple[Step, ...]:
    """Return the steps in a line; none if it is not about a message."""
    if len(line) > LONGEST_LINE:
        return ()
    found = _LINE.fullmatch(line)
    if found is None:
        return ()
    user, ids, said = address(found[1]), frozenset({f"session:{found[2]}"}), found[4]
    if rule := _RULE.fullmatch(said):
        by = words(rule[2])
        text = f"{rule[1]} for {user}, by the rule {by}"
        return (Step(at, "Dovecot", text, ids, recipients=(user,), rule=f"{rule[1]} {by}"),)
    action = _ACTION.fullmatch(said)
    if action is None:
        return ()
    name = "" if action[1] == "unspecified" else bare_message_id(action[1])
    text, fates = _told(user, action[2] or "", action[3], is_good=found[3] == "Info")
    return (Step(at, "Dovecot", text, ids, name, recipients=(user,), fates=fates),)


def _told(user: str, action: str, said: str, *, is_good: bool) -> tuple[str, tuple[Fate, ...]]:
    if not is_good:
        return f"trouble for {user}: {words(said)}", ()
    # It occurs twice, and one occurrence is a stranger's text.
    if said.count("mailbox '") < 2 and (stored := _STORED.fullmatch(said)):
        folder = words(stored[1])
        return f"stored for {user} in {folder}", (Fate(user, State.DELIVERED, "", folder),)
    to = _TO.fullmatch(said)
    match action:
        case "redirect" if to:
            further = Fate(address(to[1]), State.FORWARDED, f"by a filter of {user}")
            own = Fate(user, State.REDIRECTED, f"to {address(to[1])}")
            return f"sent on for {user} to {address(to[1])}", (own, further)
        case "discard":
            return f"thrown away for {user}", (Fate(user, State.DISCARDED),)
        case "reject" | "ereject" if said.startswith("rejected message"):
            fate = Fate(user, State.BOUNCED, "rejected by the recipient's own filter")
            return f"rejected for {user}: {words(said)}", (fate,)
        case _:
            return f"{words(said)} (for {user})", ()
