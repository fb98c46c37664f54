"""The lines of an entry as the server's library will read them, and those that it must not. Pure.

Radicale's parser, vobject, reads a line's parameters with a regular expression that takes twice as
long for each further one if the line then turns out to be malformed: thirty would take hours. No
other thread runs meanwhile. So such a line is refused before it gets there; vobject would refuse it
too.

What is looked for in an entry is looked for in these lines: a check that unfolds or decodes in
another way than vobject could be evaded.
"""

import re
from collections.abc import Iterator

MOST_PARAMETERS = 32
LONGEST_HEAD = 8192
"""Characters before a line's colon."""

_MOST_DOUBTS = 12
_CONTROLS = re.compile(r"[\x00-\x08\x0B\x0C\x0E-\x1F]")
_NAME = re.compile(r"(?:[A-Za-z0-9_-]+\.)?([A-Za-z0-9_-]+)")
_VALUE = r'(?:"[^"]*"|[^";:,=]*)'
# A parameter may have values without "=", or with several: vobject's pattern allows both.
_PARAMETER = re.compile(rf";[A-Za-z0-9_-]+(?:[=,]{_VALUE})*")
_ENCODED = "quoted-printable"


def text_of(content: bytes) -> str:
    """Return the text that Radicale hands to vobject: without control characters."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return _CONTROLS.sub("", text)


def logical_lines(text: str) -> Iterator[str]:
    """Yield the lines as vobject's `getLogicalLines` does: unfolded, also as quoted-printable."""
    pieces: list[str] = []
    goes_on = is_encoded = False
    for physical in text.split("\n"):
        line = physical.rstrip("\r\n")
        if not line.rstrip():
            if pieces:
                yield "".join(pieces)
            pieces, goes_on, is_encoded = [], False, False
            continue
        if goes_on:
            pieces.append(f"\n{line}")
        elif line[0] in " \t":
            pieces.append(line[1:])
        else:
            if pieces:
                yield "".join(pieces)
            pieces, is_encoded = [line], False
        # The word may be in two physical lines.
        window = "".join(each[-len(_ENCODED) :] for each in pieces[-4:-1]) + pieces[-1]
        is_encoded = is_encoded or _ENCODED in window.lower()
        goes_on = is_encoded and pieces[-1].endswith("=")
    if pieces:
        yield "".join(pieces)


def read_line(line: str) -> tuple[str, str, str] | None:
    """Return a line's name in capitals, its parameters and its value; None if it is malformed."""
    name = _NAME.match(line)
    if name is None:
        return None
    at = name.end()
    # vobject allows one more semicolon before the parameters.
    if line[at : at + 1] == ";" and not _PARAMETER.match(line, at):
        at += 1
    while found := _PARAMETER.match(line, at):
        at = found.end()
    if line[at : at + 1] != ":":
        return None
    return name[1].upper().replace("_", "-"), line[name.end() : at], line[at + 1 :]


def takes_too_long(text: str) -> bool:
    """Return whether a line would occupy vobject's parser."""
    for line in logical_lines(text):
        read = read_line(line)
        if read is None:
            doubts = line.count(";") + line.count(",")
            if doubts > _MOST_DOUBTS:
                return True
        elif read[1].count(";") > MOST_PARAMETERS or len(read[1]) > LONGEST_HEAD:
            return True
    return False
