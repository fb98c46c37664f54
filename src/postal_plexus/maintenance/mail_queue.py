"""List, retry, hold and drop messages in Postfix's queue, from a separate container beside Postfix.

The queue's directory is the host's and contains the sockets of the running Postfix, which
`postqueue` uses. `postsuper` renames and removes queue files, which is allowed while Postfix runs
(postsuper(1)). Short queue ids are reused (an inode and microseconds). So a message can be named
ID@ARRIVAL; one that arrived at another second is a different message, and is not dropped.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from email.header import decode_header, make_header
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, cast

from postal_plexus.maintenance import calls, programs
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import DATA
from postal_plexus.maintenance.output import Output
from postal_plexus.maintenance.programs import ProgramError

MAIL = "mail"
_NAMED = re.compile(rf"{calls.QUEUE_ID.pattern}(@{calls.MOMENT.pattern})?")
# These keep lines short even if each character is escaped as twelve: a message with many recipients
# takes several lines, and each of its texts is truncated.
_RECIPIENT_OCTETS = 12_000
_LONGEST_TEXT, _LONGEST_REASON = 300, 500
_FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Id")

_CONFIGURATION = Path("/usr/local/share/plexus/postfix")
_MADE = Path("/run/postfix-configuration")

Mail = Mapping[str, Any]


def configure() -> None:
    """Write the configuration for Postfix's programs: the image's, with the values that they need.

    The stack's own values matter only to the running Postfix, because no program here delivers.
    """
    if not _MADE.exists():
        shutil.copytree(_CONFIGURATION, _MADE, symlinks=True)
        name = os.environ.get("PLEXUS_HOSTNAME") or "localhost"
        with (_MADE / "main.cf").open("a", encoding="utf-8") as file:
            file.write(f"plexus_hostname = {name}\nses_host = localhost\nses_port = 587\n")


def mails() -> list[Mail]:
    """Yield the messages in the queue, as `postqueue -j` prints them.

    Raises:
        ProgramError: Postfix does not answer.
    """
    lines = programs.run(["postqueue", "-j"]).splitlines()
    return [cast("Mail", json.loads(line, strict=False)) for line in lines if line.strip()]


def lines_of(mail: Mail) -> Iterator[dict[str, Any]]:
    """Yield a message as a task's results: several if it has many recipients."""
    recipients = [
        {
            "address": str(each.get("address", ""))[:_LONGEST_TEXT],
            "reason": str(each.get("delay_reason", ""))[:_LONGEST_REASON],
        }
        for each in cast("list[dict[str, Any]]", mail.get("recipients") or ())
    ]
    about = {
        "id": mail["queue_id"],
        "queue": mail["queue_name"],
        "arrived": int(mail.get("arrival_time", 0)),
        "size": int(mail.get("message_size", 0)),
        "sender": str(mail.get("sender", ""))[:_LONGEST_TEXT],
    }
    part: list[dict[str, str]] = []
    for recipient in recipients:
        part.append(recipient)
        if len(json.dumps(part)) > _RECIPIENT_OCTETS:
            yield {**about, "recipients": part}
            about, part = {"id": about["id"]}, []
    if part or len(about) > 1:
        yield {**about, "recipients": part}


def chosen(found: list[Mail], words: tuple[str, ...]) -> list[Mail]:
    """Return the named messages, in the order of their names.

    Raises:
        LookupError: one is not in the queue, or its id now belongs to another message.
    """
    by_id = {str(mail["queue_id"]): mail for mail in found}
    named: dict[str, Mail] = {}
    for word in words:
        identifier, _, arrived = word.partition("@")
        mail = by_id.get(identifier)
        if mail is None:
            raise LookupError(f"no message {identifier} is in the queue: it may have left by now")
        if arrived and int(arrived) != int(mail.get("arrival_time", 0)):
            raise LookupError(f"{identifier} is another message by now: list the queue again")
        named[identifier] = mail
    return list(named.values())


def header_of(text: str) -> dict[str, str]:
    """Return the main fields of a header, decoded, each truncated."""
    read = HeaderParser().parsestr(text)
    found: dict[str, str] = {}
    for name in _FIELDS:
        if name not in read:
            continue
        raw = str(read[name])
        try:
            decoded = str(make_header(decode_header(raw)))
        except (LookupError, ValueError, UnicodeError):
            decoded = raw
        found[name.lower()] = decoded[:_LONGEST_TEXT]
    return found


def _list(_call: Call, output: Output) -> int:
    configure()
    for mail in mails():
        _say(output, mail)
    return 0


def _show(call: Call, output: Output) -> int:
    configure()
    try:
        named = chosen(mails(), call.words)
    except LookupError as error:
        return output.fail(DATA, str(error))
    for mail in named:
        try:
            header = header_of(programs.run(["postcat", "-q", "-h", str(mail["queue_id"])]))
        except ProgramError:
            header = {}  # it has left the queue meanwhile
        _say(output, mail, header=header)
    return 0


def _say(output: Output, mail: Mail, **more: object) -> None:
    for number, fields in enumerate(lines_of(mail)):
        output.say(MAIL, **fields, **({} if number else more))


def _retry(call: Call, output: Output) -> int:
    configure()
    if not call.words:
        waiting = [mail for mail in mails() if mail["queue_name"] != "hold"]
        programs.run(["postqueue", "-f"])
        for mail in waiting:
            _say(output, mail)
        return 0
    try:
        named = chosen(mails(), call.words)
    except LookupError as error:
        return output.fail(DATA, str(error))
    held = [str(mail["queue_id"]) for mail in named if mail["queue_name"] == "hold"]
    if held:
        return output.fail(DATA, f"{', '.join(held)} is on hold: release it")
    for mail in named:
        programs.run(["postqueue", "-i", str(mail["queue_id"])])
        _say(output, mail)
    return 0


def _change(option: str, call: Call, output: Output) -> int:
    configure()
    try:
        named = chosen(mails(), call.words)
    except LookupError as error:
        return output.fail(DATA, str(error))
    # Through its standard input, which has no limit.
    programs.run(
        ["postsuper", option, "-"], given="".join(f"{mail['queue_id']}\n" for mail in named)
    )
    after = {str(mail["queue_id"]): str(mail["queue_name"]) for mail in mails()}
    for mail in named:
        _say(output, {**mail, "queue_name": after.get(str(mail["queue_id"]), "")})
    return 0


def _hold(call: Call, output: Output) -> int:
    return _change("-h", call, output)


def _release(call: Call, output: Output) -> int:
    return _change("-H", call, output)


def _drop(call: Call, output: Output) -> int:
    return _change("-d", call, output)


VERBS = {
    "queue-list": Verb(_list),
    "queue-show": Verb(_show, _NAMED, 1, calls.MOST_WORDS),
    "queue-retry": Verb(_retry, _NAMED, 0, calls.MOST_WORDS),
    "queue-hold": Verb(_hold, _NAMED, 1, calls.MOST_WORDS),
    "queue-release": Verb(_release, _NAMED, 1, calls.MOST_WORDS),
    "queue-drop": Verb(_drop, _NAMED, 1, calls.MOST_WORDS),
}
