"""The envelope: who sent a mail and who is to have it (RFC 5321, section 2.3.1).

An envelope's addresses are put on the wire between angle brackets, so an address that could end
the command early is refused here, with `EnvelopeError`, and nowhere else.
"""

import re
from typing import NamedTuple, Self

# RFC 5321 section 4.1.2 without the optional source route: dot-string or quoted string, then a
# domain or an address literal. The local part is read generously (SES has accepted it already);
# what must never pass is a control character, a space or an angle bracket outside quotes.
_ADDRESS = re.compile(
    r"""(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"|[\x21\x23-\x3b\x3d\x3f\x41-\x7e]+)"""
    r"""@(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[\x21-\x3b\x3d\x3f-\x5a\x5e-\x7e]+\])"""
)
_LONGEST_PATH = 512  # twice RFC 5321's 256, section 4.5.3.1.3: seen in the wild, harmless to us


class EnvelopeError(ValueError):
    """An address that cannot be put on the wire."""


class _Envelope(NamedTuple):
    sender: str
    recipients: tuple[str, ...]


class Envelope(_Envelope):
    """Envelope sender ("" for the null sender of a bounce) and its recipients, each once."""

    __slots__ = ()

    def __new__(cls, sender: str, recipients: tuple[str, ...]) -> Self:
        """Raises EnvelopeError unless all of it can be put on the wire."""
        if sender and not is_address(sender):
            raise EnvelopeError(f"envelope sender {sender!r} is not an address")
        if not recipients:
            raise EnvelopeError("an envelope needs a recipient")
        if len(set(recipients)) != len(recipients):
            raise EnvelopeError("a recipient appears twice")
        for recipient in recipients:
            if not is_address(recipient):
                raise EnvelopeError(f"recipient {recipient!r} is not an address")
        return super().__new__(cls, sender, recipients)


def is_address(text: str) -> bool:
    """Whether `text` can stand between the angle brackets of MAIL FROM and RCPT TO."""
    return len(text) <= _LONGEST_PATH and _ADDRESS.fullmatch(text) is not None
