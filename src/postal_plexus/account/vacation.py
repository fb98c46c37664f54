"""The out-of-office reply, as a separate Sieve script beside the user's filters. Pure.

Dovecot runs it before the user's own scripts (containers/dovecot/filters.conf), so those stay
unchanged. Its first line contains the form's values as JSON, from which they are read back.
"""

import json
import re
from dataclasses import dataclass
from datetime import date
from typing import cast

from postal_plexus.account.messages import is_unicode

FILE_NAME = ".vacation.sieve"
LARGEST = 32 * 1024
LONGEST_SUBJECT = 200
LONGEST_TEXT = 4000
_MARK = "# plexus-vacation "
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class VacationError(ValueError):
    """The reply is invalid; the text is the reason for the user."""


@dataclass(frozen=True, slots=True)
class Vacation:
    """A reply: its subject, its text, and the first and last day on which it is sent (UTC)."""

    subject: str
    text: str
    first: date
    last: date


def vacation(subject: str, text: str, first: str, last: str) -> Vacation:
    """Create a reply from a form's values.

    Raises:
        VacationError: a field is invalid; the text says which.
    """
    try:
        days = date.fromisoformat(first.strip()), date.fromisoformat(last.strip())
    except ValueError as error:
        raise VacationError("Write the days as 2026-12-24.") from error
    if days[1] < days[0]:
        raise VacationError("The last day is before the first.")
    lines = "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n"))
    subject = " ".join(subject.split())
    if not subject or not lines.strip():
        raise VacationError("An answer needs a subject and a text.")
    if len(subject) > LONGEST_SUBJECT or len(lines) > LONGEST_TEXT:
        raise VacationError(
            f"The subject may have {LONGEST_SUBJECT} characters, the text {LONGEST_TEXT}."
        )
    if not subject.isprintable() or _CONTROL.search(lines) or not is_unicode(lines):
        raise VacationError("There is a character in it that cannot be sent.")
    return Vacation(subject, lines, *days)


def script(asked: Vacation) -> str:
    """Return the Sieve script (RFC 5230, RFC 5260 for the days)."""
    noted = json.dumps(
        {
            "subject": asked.subject,
            "text": asked.text,
            "first": asked.first.isoformat(),
            "last": asked.last.isoformat(),
        }
    )
    text = asked.text.replace("\n", "\r\n")
    return "\r\n".join(
        (
            f"{_MARK}{noted}",
            'require ["vacation", "date", "relational"];',
            f'if allof (currentdate :zone "+0000" :value "ge" "date" "{asked.first}",',
            f'          currentdate :zone "+0000" :value "le" "date" "{asked.last}") {{',
            f"  vacation :days 7 :subject {_quoted(asked.subject)} {_quoted(text)};",
            "}",
            "",
        )
    )


def read(text: str) -> Vacation | None:
    """Return the reply in a script; None if it is not such a script."""
    first, _, _ = text.partition("\r\n")
    if not first.startswith(_MARK):
        return None
    try:
        noted = cast("object", json.loads(first.removeprefix(_MARK)))
        match noted:
            case {
                "subject": str(subject),
                "text": str(body),
                "first": str(begin),
                "last": str(end),
            }:
                return vacation(subject, body, begin, end)
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
