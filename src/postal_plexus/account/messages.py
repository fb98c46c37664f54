"""The protocol between the page and the keeper: one JSON object on a line in each direction. Pure.

A request names its verb; every value is a string. An answer has `ok`; if that is false, `problem`
is one of PROBLEMS, and `text` is the message for the user.
"""

import json
from collections.abc import Mapping
from typing import cast

SOCKET = "/run/plexus/web/account.sock"
LONGEST = 32 * 1024
"""Octets of a request."""

PROBLEMS = frozenset(
    {
        "session",  # the session has ended, or never existed
        "password",  # the password, or the code, is wrong
        "code",  # the password is right, but a code of the second factor is missing
        "later",  # too many were wrong, or Dovecot does not answer
        "refused",  # the change is invalid
        "broken",  # the user's record cannot be read; the operator must help
        "failed",  # it could not be stored
    }
)


class MessageError(ValueError):
    """A line is not a request, or not an answer."""


def request(line: bytes) -> Mapping[str, str]:
    """Parse a request.

    Raises:
        MessageError: it is not one.
    """
    if len(line) > LONGEST or not line.endswith(b"\n"):
        raise MessageError("it is too long, or not whole")
    read = _object(line)
    if not all(isinstance(value, str) and is_unicode(value) for value in read.values()):
        raise MessageError("a value is no text")
    return cast("Mapping[str, str]", read)


def answer(line: bytes) -> Mapping[str, object]:
    """Parse an answer.

    Raises:
        MessageError: it is not one.
    """
    read = _object(line)
    if read.get("ok") is not True and read.get("problem") not in PROBLEMS:
        raise MessageError("it is no answer")
    return read


def written(message: Mapping[str, object]) -> bytes:
    """Return the line for a request or an answer."""
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
    """Return whether a text can be encoded: JSON can contain lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
