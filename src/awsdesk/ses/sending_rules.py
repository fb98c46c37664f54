"""What SES accepts from senders: one table, `RULES`, with the AWS page for each rule.

`refusal` evaluates the table and returns the SMTP reply that refuses a message, or None if SES
accepts it. Pure: `submission` decides what depends on the account (verified identities, policies,
configuration sets). If AWS documents no text for a refusal, it is the one that public reports
quote.

In addition, according to the same pages: Message-ID and Date are replaced, References is left
alone; the control fields (`CONTROL_FIELDS`) are obeyed and removed; SMTPUTF8 is not offered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from typing import TYPE_CHECKING

from awsdesk.ses import addresses, header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GUIDE = "https://docs.aws.amazon.com/ses/latest/dg/"
_REFERENCE = "https://docs.aws.amazon.com/ses/latest/APIReference-V2/"

SIZE_LIMIT = 40 * 1024 * 1024
RECIPIENT_LIMIT = 50
# "The length of any single line of text in the message can't exceed 1,000 characters": with CRLF.
LINE_LIMIT = 998

# "The following fields can't appear more than once in the header section of a message".
_ONCE_ONLY = """
    Accept-Language acceptLanguage Archived-At Auto-Submitted Bounces-to Comments
    Content-Alternative Content-Base Content-Class Content-Description Content-Disposition
    Content-Duration Content-ID Content-Language Content-Length Content-Location Content-MD5
    Content-Transfer-Encoding Content-Type Date Delivered-To Disposition-Notification-Options
    Disposition-Notification-To DKIM-Signature DomainKey-Signature Errors-To From Importance
    In-Reply-To Keywords List-Archive List-Help List-Id List-Owner List-Post List-Subscribe
    List-Unsubscribe List-Unsubscribe-Post Message-Context Message-ID MIME-Version Organization
    Original-From Original-Message-ID Original-Recipient Original-Subject Precedence Priority
    References Reply-To Return-Path Return-Receipt-To Sender Solicitation Sensitivity Subject
    Thread-Index Thread-Topic User-Agent VBR-Info
"""
ONCE_ONLY = frozenset(_ONCE_ONLY.lower().split())

# Fields that SES obeys and removes:
# https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html (the first two),
# .../sending-authorization-delegate-sender-tasks-email.html (the ARNs: "removed by Amazon SES
# before sending the email"), .../sending-email-subscription-management.html, .../tenants.html.
_CONTROL_FIELDS = """
    X-SES-CONFIGURATION-SET X-SES-MESSAGE-TAGS X-SES-SOURCE-ARN X-SES-FROM-ARN
    X-SES-RETURN-PATH-ARN X-SES-LIST-MANAGEMENT-OPTIONS X-SES-TENANT
"""
CONTROL_FIELDS = frozenset(_CONTROL_FIELDS.lower().split())

# "all file attachment types except for attachments with the file extensions in the following list"
_ATTACHMENTS_REFUSED = """
    ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its
    js jse ksh lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh
    msh1 msh2 mshxml msh1xml msh2xml msi msp mst ops pcd pif plg prf prg reg scf scr sct shb shs
    sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf
    wsh xnk
"""
ATTACHMENTS_REFUSED = frozenset(_ATTACHMENTS_REFUSED.split())

_ADDRESS_FIELDS = frozenset({"from", "sender", "reply-to", "return-path", "to", "cc", "bcc"})
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_DELIMITER = re.compile(rb"^--([^\r\n]+?)[ \t]*\r?$", re.MULTILINE)
_TAG = re.compile(r"[A-Za-z0-9_.@-]{1,256}\Z")


@dataclass(frozen=True)
class Mail:
    """A submitted message: envelope, content, and its parsed header fields."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    fields: tuple[header.Field, ...]


@dataclass(frozen=True)
class Rule:
    """One reason for SES to refuse: what, AWS's page, and the reply (None: not refused)."""

    about: str
    page: str
    reply: Callable[[Mail], str | None]


def refusal(sender: str, recipients: tuple[str, ...], content: bytes) -> str | None:
    """Return the SMTP reply that refuses a message; None if a verified identity may send it."""
    mail = Mail(sender, recipients, content, header.fields(content))
    return next((reply for rule in RULES if (reply := rule.reply(mail)) is not None), None)


def _envelope_sender(mail: Mail) -> str | None:
    wrong = addresses.problem_of(mail.sender) is not None
    return "501 Invalid MAIL FROM address provided" if wrong else None


def _envelope_recipients(mail: Mail) -> str | None:
    if len(mail.recipients) > RECIPIENT_LIMIT:
        return f"554 Transaction failed: Recipient count exceeds {RECIPIENT_LIMIT}."
    return _failed(next(filter(None, map(addresses.problem_of, mail.recipients)), None))


def _size(mail: Mail) -> str | None:
    return "552 Message is too long." if len(mail.content) > SIZE_LIMIT else None


def _long_line(mail: Mail) -> str | None:
    is_long = any(len(line) > LINE_LIMIT for line in mail.content.splitlines())
    return "554 Transaction failed: Line is longer than 1000 characters." if is_long else None


def _once_only(mail: Mail) -> str | None:
    seen: set[str] = set()
    for field in mail.fields:
        name = field.name.lower()
        if name in ONCE_ONLY and name in seen:
            return f"554 Transaction failed: Duplicate header '{field.name}'."
        seen.add(name)
    return None


def _author(mail: Mail) -> str | None:
    senders = header.addresses(mail.fields, "From")
    return None if senders else "554 Transaction failed: Missing final '@domain'."


def _address_fields(mail: Mail) -> str | None:
    for field in mail.fields:
        if field.name.lower() not in _ADDRESS_FIELDS:
            continue
        reading = addresses.read(field.value)
        # Delivered mail has an empty Return-Path if its envelope sender was.
        named = [
            one.address
            for one in reading.mailboxes
            if one.address or field.name.lower() != "return-path"
        ]
        problem = reading.problem or next(filter(None, map(addresses.problem_of, named)), None)
        if problem is not None:
            return _failed(problem)
    return None


def _attachments(mail: Mail) -> str | None:
    for name in _file_names(mail.content):
        if name.lower().rpartition(".")[2].strip() in ATTACHMENTS_REFUSED and "." in name:
            return f"554 Transaction failed: Illegal filename '{name}'."
    return None


def _tags(mail: Mail) -> str | None:
    for value in header.values(mail.fields, "X-SES-MESSAGE-TAGS"):
        for pair in value.split(","):
            name, _, text = pair.partition("=")
            if not (_TAG.match(name.strip()) and _TAG.match(text.strip())):
                return f"554 Transaction failed: Invalid message tag '{pair.strip()}'."
    return None


def _failed(problem: str | None) -> str | None:
    return None if problem is None else f"554 Transaction failed: {problem}."


def _file_names(content: bytes) -> Iterator[str]:
    """Return the file names of a mail's parts; attached messages are not opened."""
    for block in _part_headers(content):
        part = message_from_bytes(block)
        try:
            name = part.get_filename()
        except (HeaderParseError, LookupError, UnicodeError, ValueError):
            continue
        if name:
            yield " ".join(header.decoded(name).split())


def _part_headers(content: bytes) -> Iterator[bytes]:
    """Return the header block of the mail and of each of its parts, in one pass."""
    block, body = header.split(content)
    yield block
    boundaries = _boundaries(block)
    if not boundaries:
        return
    for match in _DELIMITER.finditer(content, body):
        if match.group(1) in boundaries:
            start = content.find(b"\n", match.end()) + 1
            part, _ = header.split(content[start : start + 64 * 1024] if start else b"")
            boundaries |= _boundaries(part)
            yield part


def _boundaries(block: bytes) -> set[bytes]:
    found = header.values(header.fields(block), "Content-Type")
    pairs = [pair for value in found for pair in _BOUNDARY.findall(value)]
    return {(quoted or plain).strip().encode("utf-8", "replace") for quoted, plain in pairs}


RULES: tuple[Rule, ...] = (
    Rule(
        "the envelope sender is an address, never empty",
        f"{_GUIDE}troubleshoot-smtp.html",
        _envelope_sender,
    ),
    Rule(
        "at most 50 recipients, each an address in ASCII",
        f"{_GUIDE}quotas.html",
        _envelope_recipients,
    ),
    Rule("at most 40 MB", f"{_GUIDE}quotas.html", _size),
    Rule("no line over 1,000 characters", f"{_REFERENCE}API_RawMessage.html", _long_line),
    Rule("some fields stand only once", f"{_GUIDE}header-fields.html", _once_only),
    Rule("there is an author", f"{_GUIDE}troubleshoot-error-messages.html", _author),
    Rule("address fields hold addresses", f"{_REFERENCE}API_Destination.html", _address_fields),
    Rule("no attachment of a refused kind", f"{_GUIDE}attachments.html", _attachments),
    Rule(
        "message tags are letters, digits, and _ - . @",
        f"{_REFERENCE}API_MessageTag.html",
        _tags,
    ),
)
