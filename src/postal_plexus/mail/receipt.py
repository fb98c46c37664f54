"""The receipt: SES's record of one accepted message, parsed from the queue's notification.

The queue's body is SNS's JSON with the notification as a string in `Message`, or, with raw message
delivery, the notification itself; both are supported. Anything else raises `NotificationError`,
whose text is the reason in the dead letter. Sender and recipients may be any text: each is checked
separately later, so that a malformed one does not affect the others. SES's own setup notification,
published whenever a receipt rule is created, is recognised: it has no message.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from postal_plexus.mail.envelope import RawEnvelope
from postal_plexus.mail.verdicts import Verdict, Verdicts, read_verdict

_SETUP = "AMAZON_SES_SETUP_NOTIFICATION"
RELEASE = "plexusRelease"
"""The notification's field with which the operator releases a held message (`mail.held`)."""
_LONGEST_MESSAGE_ID = 256
_Fields = dict[str, object]


class NotificationError(ValueError):
    """A queue body is not a notification of received mail. The text says why, for people."""


class SetupNotification:
    """SES created or changed a receipt rule: nothing to deliver."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What SES accepted.

    `accepted_at` is seconds since the epoch. `headers` are the message's, each with its name in
    lower case and its value. `headers_truncated` means that there were more.
    """

    message_id: str
    envelope: RawEnvelope
    bucket: str
    key: str
    verdicts: Verdicts
    accepted_at: float
    headers: tuple[tuple[str, str], ...] = ()
    headers_truncated: bool = False

    def header(self, name: str) -> str:
        """Return the first header with that lower-case name, or ""."""
        return next(self.header_values(name), "")

    def header_values(self, *names: str) -> Iterator[str]:
        """Return the values of all headers with these lower-case names, in their order."""
        return (value for known, value in self.headers if known in names)


def read_notification(body: str) -> Receipt | SetupNotification:
    """Parse one queue body. Raise only NotificationError, whatever the body."""
    notification = unwrap(body)
    kind = notification.get("notificationType")
    mail = _fields(notification, "mail")
    if mail.get("messageId") == _SETUP:
        return SetupNotification()
    if kind != "Received":
        raise NotificationError(f"not a notification of received mail: type {_short(kind)}")
    receipt = _fields(notification, "receipt")
    action = _fields(receipt, "action")
    if action.get("type") != "S3":
        raise NotificationError(
            f"the message was not stored in S3: action {_short(action.get('type'))}"
        )
    message_id = _text(mail, "messageId")
    if (
        len(message_id) > _LONGEST_MESSAGE_ID
        or not message_id.isascii()
        or not message_id.isprintable()
    ):
        raise NotificationError("mail.messageId is not an identifier of SES")
    return Receipt(
        message_id=message_id,
        envelope=_envelope(mail, receipt),
        bucket=_text(action, "bucketName"),
        key=_text(action, "objectKey"),
        verdicts=_verdicts(receipt, released=notification.get(RELEASE) == "virus"),
        accepted_at=_time(mail),
        headers=_headers(mail),
        headers_truncated=mail.get("headersTruncated") is True,
    )


def unwrap(body: str) -> dict[str, object]:
    """Return the notification in either body form of the queue. Raise NotificationError."""
    outer = _object(body, "the body")
    if "notificationType" in outer or "eventType" in outer:
        return outer
    inner = outer.get("Message")
    if not isinstance(inner, str):
        raise NotificationError("neither a notification nor SNS's JSON with one in it")
    return _object(inner, "SNS's Message")


def is_released(body: str) -> bool:
    """Return whether an operator has released this entry's message. Raise NotificationError."""
    return RELEASE in unwrap(body)


def _object(text: str, what: str) -> _Fields:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotificationError(f"{what} is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise NotificationError(f"{what} is JSON, but not an object")
    return cast("_Fields", value)


def _envelope(mail: _Fields, receipt: _Fields) -> RawEnvelope:
    source = mail.get("source")
    # A sender that is not a text cannot be replied to.
    sender = _whole(source) if isinstance(source, str) else ""
    # Never mail.destination: it comes from the headers and lacks Bcc.
    recipients = receipt.get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise NotificationError("receipt.recipients is missing or empty")
    addresses = dict.fromkeys(
        _whole(recipient if isinstance(recipient, str) else f"({type(recipient).__name__})")
        for recipient in cast("list[object]", recipients)
    )
    return RawEnvelope("" if sender == "<>" else sender, tuple(addresses))


def _whole(text: str) -> str:
    """Return the text without lone surrogates, which JSON can express but UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _verdicts(receipt: _Fields, *, released: bool) -> Verdicts:
    def status(name: str) -> object:
        verdict = receipt.get(name)
        return cast("_Fields", verdict).get("status") if isinstance(verdict, dict) else None

    policy = receipt.get("dmarcPolicy")
    return Verdicts(
        spam=read_verdict(status("spamVerdict")),
        # What a person has checked is neither proven clean nor a virus.
        virus=Verdict.GRAY if released else read_verdict(status("virusVerdict")),
        spf=read_verdict(status("spfVerdict")),
        dkim=read_verdict(status("dkimVerdict")),
        dmarc=read_verdict(status("dmarcVerdict")),
        dmarc_policy=policy if isinstance(policy, str) else "",
    )


def _headers(mail: _Fields) -> tuple[tuple[str, str], ...]:
    """Return names and values; what is neither, or not text, is left out: the sender wrote them."""
    headers = mail.get("headers")
    found: list[tuple[str, str]] = []
    for header in cast("list[object]", headers) if isinstance(headers, list) else ():
        if isinstance(header, dict):
            fields = cast("_Fields", header)
            name, value = fields.get("name"), fields.get("value")
            if isinstance(name, str) and isinstance(value, str):
                found.append((name.lower(), value))
    return tuple(found)


def _time(mail: _Fields) -> float:
    text = _text(mail, "timestamp")
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise NotificationError(f"mail.timestamp is not a time: {_short(text)}") from error


def _fields(parent: _Fields, name: str) -> _Fields:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise NotificationError(f"{name} is missing or not an object")
    return cast("_Fields", value)


def _text(parent: _Fields, name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise NotificationError(f"{name} is missing or not a string")
    try:
        value.encode()  # JSON can spell half a character (a lone surrogate); no name has one
    except UnicodeEncodeError as error:
        raise NotificationError(f"{name} is not text: {_short(value)}") from error
    return value


def _short(value: object) -> str:
    return repr(value)[:80]
