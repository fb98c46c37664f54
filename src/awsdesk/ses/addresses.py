"""Addresses in header fields and envelopes, read in one pass.

`read` parses the value of From, To and the like and never fails: what it cannot parse is in
`problem`. `problem_of` returns SES's objection to one address. AWS documents that an address
is 7-bit ASCII, its domain in Punycode (https://docs.aws.amazon.com/ses/latest/APIReference/
API_Destination.html); the texts are the ones that the service answers, as public reports quote them
("Domain contains illegal character", "Illegal semicolon, not in group").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Octets of a value that are parsed; no legitimate field of addresses is longer.
_READ_LIMIT = 256 * 1024
_ILLEGAL_IN_LOCAL_PART = frozenset('()<>,;:\\"[]@')
_DOMAIN = re.compile(r"[A-Za-z0-9.-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_OR_BLANK = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True)
class Mailbox:
    """One address as it stands, with the name in front of it ("" if there is none)."""

    name: str
    address: str


@dataclass(frozen=True)
class Reading:
    """The content of a field's value; `problem` is None if its form is valid."""

    mailboxes: tuple[Mailbox, ...]
    problem: str | None


def read(value: str) -> Reading:
    """Read an address list (RFC 5322 3.4): mailboxes, groups, comments, nested to any depth."""
    reader = _Reader()
    for char in value[:_READ_LIMIT]:
        reader.take(char)
    return reader.end()


def problem_of(address: str) -> str | None:
    """Return SES's objection to an address, or None if SES accepts it."""
    local_part, at, domain = _split(address)
    if not address:
        return "Empty address"
    return (
        _problem_of_local_part(local_part)
        or (None if at else "Missing final '@domain'")
        or _problem_of_domain(domain)
    )


def _split(address: str) -> tuple[str, str, str]:
    """Split at the @ behind the local part, which may hold one in quotes."""
    quoted = re.match(r'"(?:[^"\\]|\\.)*"', address, re.DOTALL)
    start = quoted.end() if quoted else 0
    at = address.find("@", start)
    return (address, "", "") if at < 0 else (address[:at], "@", address[at + 1 :])


def _problem_of_local_part(text: str) -> str | None:
    if text.isascii() and len(text) > 1 and text.startswith('"'):
        return _problem_of_quoted(text)
    return _first(
        (not text.isascii(), "Local address contains control or whitespace"),
        (_CONTROL_OR_BLANK.search(text), "Local address contains control or whitespace"),
        (_ILLEGAL_IN_LOCAL_PART & set(text), "Local address contains illegal character"),
        (not text, "Missing local name"),
        (text.startswith("."), "Local address starts with dot"),
        (text.endswith("."), "Local address ends with dot"),
        (".." in text, "Local address contains dot-dot"),
    )


def _problem_of_quoted(text: str) -> str | None:
    return _first(
        (not text.endswith('"'), "Quote not at end of local address"),
        (_CONTROL.search(text), "Local address contains control or whitespace"),
    )


def _problem_of_domain(text: str) -> str | None:
    if text.startswith("[") and text.endswith("]"):
        return None
    return _first(
        (not text, "Missing domain"),
        (_CONTROL_OR_BLANK.search(text), "Domain contains control or whitespace"),
        (not _DOMAIN.match(text), "Domain contains illegal character"),
        (text.startswith("."), "Domain starts with dot"),
        (text.endswith("."), "Domain ends with dot"),
        (".." in text, "Domain contains dot-dot"),
        # The last label of a name is never a number (RFC 3696 2).
        (text.rpartition(".")[2].isdigit(), f"Invalid domain name: '{text}'"),
    )


def _first(*checks: tuple[object, str]) -> str | None:
    """Return the reason of the first check that holds."""
    return next((reason for holds, reason in checks if holds), None)


class _Reader:
    """A parser that reads character by character without recursion, so any nesting depth works."""

    def __init__(self) -> None:
        self._found: list[Mailbox] = []
        self._problem: str | None = None
        self._text: list[str] = []
        self._angle: list[str] | None = None
        self._comment: list[str] = []
        self._depth = 0
        self._is_angle_closed = False
        self._is_quoted = False
        self._is_literal = False
        self._is_escaped = False
        self._is_in_group = False

    def take(self, char: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
            self._add(char)
        elif char == "\\":
            self._is_escaped = True
            self._add(char)
        elif self._depth:
            self._in_comment(char)
        elif self._is_quoted or self._is_literal:
            self._add(char)
            self._is_quoted = self._is_quoted and char != '"'
            self._is_literal = self._is_literal and char != "]"
        else:
            self._plain(char)

    def end(self) -> Reading:
        for is_open, reason in (
            (self._depth, "Missing ')'"),
            (self._is_quoted, "Missing '\"'"),
            (self._angle is not None and not self._is_angle_closed, "Missing '>'"),
        ):
            if is_open:
                self._fail(reason)
        self._finish()
        return Reading(tuple(self._found), self._problem)

    def _in_comment(self, char: str) -> None:
        self._depth += (char == "(") - (char == ")")
        if self._depth:
            self._comment.append(char)

    def _plain(self, char: str) -> None:
        is_in_angle = self._angle is not None and not self._is_angle_closed
        match char:
            case "(":
                self._depth = 1
            case ")":
                self._fail("Missing '('")
            case "<" if self._angle is not None:
                self._fail("Extra route-addr")
            case "<":
                self._angle = []
            case ">" if not is_in_angle:
                self._fail("Missing '<'")
            case ">":
                self._is_angle_closed = True
            case "," if not is_in_angle:
                self._finish()
            case ":" if not is_in_angle:
                self._begin_group()
            case ";" if not is_in_angle:
                self._end_group()
            case _:
                self._is_quoted = char == '"'
                self._is_literal = char == "["
                self._add(char)

    def _begin_group(self) -> None:
        if self._is_in_group:
            self._fail("Nested group")
        self._is_in_group = True
        self._text.clear()
        self._comment.clear()

    def _end_group(self) -> None:
        if not self._is_in_group:
            self._fail("Illegal semicolon, not in group")
        self._finish()
        self._is_in_group = False

    def _add(self, char: str) -> None:
        if self._depth:
            self._comment.append(char)
        elif self._angle is not None and not self._is_angle_closed:
            self._angle.append(char)
        else:
            self._text.append(char)

    def _finish(self) -> None:
        text = "".join(self._text).strip()
        if self._angle is not None:
            address = _without_route("".join(self._angle).strip())
            self._found.append(Mailbox(_unquoted(text), address))
        elif text:
            self._found.append(Mailbox("".join(self._comment).strip(), text))
        self._text.clear()
        self._comment.clear()
        self._angle = None
        self._is_angle_closed = False

    def _fail(self, reason: str) -> None:
        self._problem = self._problem or reason


def _without_route(address: str) -> str:
    """Take off a source route: `@one,@two:local@domain` (RFC 5322 4.4)."""
    return address.partition(":")[2] if address.startswith("@") and ":" in address else address


def _unquoted(phrase: str) -> str:
    """Return a display name without the quotes around it and the backslashes in it."""
    if len(phrase) > 1 and phrase[0] == phrase[-1] == '"':
        return re.sub(r"\\(.)", r"\1", phrase[1:-1], flags=re.DOTALL)
    return phrase
