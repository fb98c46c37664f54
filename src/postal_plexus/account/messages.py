"""What the page and the keeper say to each other: a JSON object on one line each way. Pure.

A request names its verb; every value is a text. An answer has `ok`; where that is false, `problem`
is one of PROBLEMS and `text` says it to the user.
"""

import json
from collections.abc import Mapping
from typing import cast

SOCKET = "/run/plexus/web/account.sock"
LONGEST = 32 * 1024
"""Octets of a request."""

PROBLEMS = frozenset(
    {
        "session",  # it has ended, or never was
        "password",  # the password, or the code, is wrong
        "code",  # the password is right, and a code of the second factor is missing
        "later",  # too many were wrong, or Dovecot is away
        "refused",  # the change cannot be made so
        "broken",  # the user's record cannot be read: the operator's matter
        "failed",  # the store did not take it
    }
)


class MessageError(ValueError):
    """A line is no request, or no answer."""


def request(line: bytes) -> Mapping[str, str]:
    """Read a request.

    Raises:
        MessageError: it is none.
    """
    if len(line) > LONGEST or not line.endswith(b"\n"):
        raise MessageError("it is too long, or not whole")
    read = _object(line)
    if not all(isinstance(value, str) and is_unicode(value) for value in read.values()):
        raise MessageError("a value is no text")
    return cast("Mapping[str, str]", read)


def answer(line: bytes) -> Mapping[str, object]:
    """Read an answer.

    Raises:
        MessageError: it is none.
    """
    read = _object(line)
    if read.get("ok") is not True and read.get("problem") not in PROBLEMS:
        raise MessageError("it is no answer")
    return read


def written(message: Mapping[str, object]) -> bytes:
    """Write either."""
    return json.dumps(message).encode() + b"\n"


def _object(line: bytes) -> Mapping[str, object]:
    try:
        read = cast("object", json.loads(line))
    except (ValueError, RecursionError) as error:
        raise MessageError("it is no JSON") from error
    if not isinstance(read, dict):
        raise MessageError("it is no object")
    return cast("Mapping[str, object]", read)


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: JSON can hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
