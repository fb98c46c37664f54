"""The envelope: who sent a message and who should get it (RFC 5321, section 2.3.1).

An envelope's addresses are sent between angle brackets, so an address that could end the command
early is refused here, with `EnvelopeError`, and nowhere else. What SES accepted is a `RawEnvelope`:
any texts, each checked separately, because one malformed address must not affect other recipients.
`wire_sender` decides about an unusual sender.
"""

import re
from dataclasses import dataclass

# RFC 5321 section 4.1.2 without the optional source route: a dot-string or quoted string, then a
# domain or an address literal. The local part is checked leniently, because SES has accepted it
# already. A control character, a space or an angle bracket outside quotes must never pass.
_ADDRESS = re.compile(
    r"""(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"|[\x21\x23-\x3b\x3d\x3f\x41-\x7e]+)"""
    r"""@(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[\x21-\x3b\x3d\x3f-\x5a\x5e-\x7e]+\])"""
)
_LONGEST_PATH = 512  # twice RFC 5321's 256, section 4.5.3.1.3: seen in the wild, harmless to us


# The same with non-ASCII characters (RFC 6531): Dovecot accepts such a sender unchanged.
_UTF8_SENDER = re.compile(
    r"""[\x21\x23-\x3b\x3d\x3f\x41-\x7e\xa1-\U0010ffff]+"""
    r"""@[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"""
)
_SOURCE_ROUTE = re.compile(r"@[^:<>\s]*:")


class EnvelopeError(ValueError):
    """An address that cannot be used in an SMTP command."""


@dataclass(frozen=True, slots=True)
class RawEnvelope:
    """Sender and recipients as SES wrote them: any text without a lone surrogate."""

    sender: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Envelope(RawEnvelope):
    """Envelope sender ("" for the null sender of a bounce) and its recipients, each once.

    Raises:
        EnvelopeError: some of it cannot be used in an SMTP command.
    """

    def __post_init__(self) -> None:
        sender, recipients = self.sender, self.recipients
        if sender and not (is_address(sender) or _is_utf8_sender(sender)):
            raise EnvelopeError(f"envelope sender {sender!r} is not an address")
        if not recipients:
            raise EnvelopeError("an envelope needs a recipient")
        if len(set(recipients)) != len(recipients):
            raise EnvelopeError("a recipient appears twice")
        for recipient in recipients:
            if not is_address(recipient):
                raise EnvelopeError(f"recipient {recipient!r} is not an address")


def wire_sender(sender: str) -> str:
    """Return the sender for delivering a message from `sender`; "" if it is not an address.

    A trailing dot and a source route are removed (RFC 5321, appendix F.2), and U-labels in the
    domain become A-labels. If the result is not an address (`MAILER-DAEMON`, or with a space), it
    is the null sender: nothing that is sent to it could arrive.
    """
    if not sender or is_address(sender):
        return sender
    local, at, domain = _SOURCE_ROUTE.sub("", sender.strip(), count=1).rpartition("@")
    plain = f"{local}{at}{ascii_domain(domain)}"
    return plain if is_address(plain) or _is_utf8_sender(plain) else ""


def ascii_domain(domain: str) -> str:
    """Return the domain for comparison: A-labels (RFC 5891), lower case, no trailing dot.

    This works without the IDNA tables, which the service does not need: a label in NFC and lower
    case, as every U-label is, has exactly one A-label. A label that is not a U-label gives a name
    that no domain has, or stays as it is. Never raises.
    """
    domain = domain.removesuffix(".")
    if domain.isascii():
        return domain.lower()
    return ".".join(map(_ascii_label, re.split("[.\u3002\uff0e\uff61]", domain)))


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    from unicodedata import normalize  # noqa: PLC0415  (1 MB that few messages need)

    mapped = normalize("NFC", label.lower())
    try:
        # A label that becomes ASCII by mapping was not a U-label; it must not pass for another
        # name.
        return label if mapped.isascii() else f"xn--{mapped.encode('punycode').decode()}"
    except UnicodeError:
        return label


def _is_utf8_sender(text: str) -> bool:
    return (
        len(text.encode("utf-8", "replace")) <= _LONGEST_PATH
        and text.isprintable()
        and _UTF8_SENDER.fullmatch(text) is not None
    )


def is_address(text: str) -> bool:
    """Return whether `text` can be used between the angle brackets of MAIL FROM and RCPT TO."""
    return len(text) <= _LONGEST_PATH and _ADDRESS.fullmatch(text) is not None
