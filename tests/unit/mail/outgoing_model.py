"""What the rules' edits make of a header as Postfix makes them, and what SES documents to refuse.

Written after AWS's pages and RFC 5321/5322/2047, without the code that is tested.
"""

from __future__ import annotations

import re
from email import message_from_bytes, policy

from postal_plexus.mail.outgoing.fields import Field
from postal_plexus.mail.outgoing.rules import Edits, Mail, decide
from postal_plexus.mail.outgoing.senders import Senders

# https://docs.aws.amazon.com/ses/latest/dg/header-fields.html, "can't appear more than once".
ONCE = """
Accept-Language acceptLanguage Archived-At Auto-Submitted Bounces-to Comments Content-Alternative
Content-Base Content-Class Content-Description Content-Disposition Content-Duration Content-ID
Content-Language Content-Length Content-Location Content-MD5 Content-Transfer-Encoding Content-Type Date
Delivered-To Disposition-Notification-Options Disposition-Notification-To DKIM-Signature
DomainKey-Signature Errors-To From Importance In-Reply-To Keywords List-Archive List-Help List-Id
List-Owner List-Post List-Subscribe List-Unsubscribe List-Unsubscribe-Post Message-Context Message-ID
MIME-Version Organization Original-From Original-Message-ID Original-Recipient Original-Subject
Precedence Priority References Reply-To Return-Path Return-Receipt-To Sender Solicitation Sensitivity
Subject Thread-Index Thread-Topic User-Agent VBR-Info
""".lower().split()

SENDERS = Senders(
    [
        "ann@example.org ann@example.org",
        "ben@example.org ben@example.org",
        "eva@xn--strae-oqa.example eva@xn--strae-oqa.example",
        "info@example.org ann@example.org, ben@example.org",
        "away@example.org ben@example.org",
        "out@example.org out@example.org",
        "@example.net ann@example.org",
    ],
    [
        "ann@example.org OK",
        "ben@example.org OK",
        "eva@xn--strae-oqa.example OK",
    ],
    ["example.org OK", "example.net OK", "xn--strae-oqa.example OK"],
)
OURS = ("example.org", "example.net", "xn--strae-oqa.example")
OUTSIDE = ("someone@elsewhere.example",)
REDIRECTED = [("X-Sieve", "Pigeonhole"), ("X-Sieve-Redirected-From", "ben@example.org")]


def fields_of(*fields: tuple[str, str | bytes]) -> list[Field]:
    """Return fields as Postfix gives them."""
    return [Field(n, v.encode() if isinstance(v, str) else v) for n, v in fields]


def decided(
    way: str,
    *fields: tuple[str, str | bytes],
    owner: str = "ann@example.org",
    sender: str | None = None,
    to: tuple[str, ...] = OUTSIDE,
) -> tuple[object, list[tuple[str, bytes]]]:
    """Return what the rules say, and the header that follows (as it was if they refuse)."""
    mail = Mail(way, owner, owner if sender is None else sender, to, fields_of(*fields))
    found = decide(mail, SENDERS)
    header = [(field.name, field.value) for field in mail.fields]
    return found, applied(header, found) if isinstance(found, Edits) else header


def applied(header: list[tuple[str, bytes]], edits: Edits) -> list[tuple[str, bytes]]:
    """Return a header after a milter's edits (smfi_chgheader, smfi_addheader, smfi_insheader)."""
    made = list(header)
    for change in edits.changes:
        value = change.value.encode("ascii") if change.value is not None else b""
        if not change.nth:
            made.append((change.name, value))
            continue
        places = [i for i, (name, _) in enumerate(made) if name.lower() == change.name.lower()]
        assert change.nth <= len(places), change
        place = places[change.nth - 1]
        if change.value is None:
            del made[place]
        else:
            made[place] = (made[place][0], value)
    return [(each.name, (each.value or "").encode("ascii")) for each in edits.on_top] + made


def objections(header: list[tuple[str, bytes]], sender: str) -> list[str]:
    """Why SES would refuse a mail, by its documents; and what must never leave."""
    found: list[str] = []
    names = [name.strip().lower() for name, _ in header]
    found += [f"{name} twice" for name in ONCE if names.count(name) > 1]
    found += [
        f"{name} leaves"
        for name in names
        if name.startswith(("x-ses-", "x-plexus-", "x-forged-"))
        or name in ("authentication-results", "return-path")
    ]
    if not _is_verified(sender):
        found.append(f"envelope sender {sender!r}")
    if names.count("from") != 1:
        found.append("no From")
    for name, value in header:
        if name.strip().lower() in ("from", "sender"):
            if not value.isascii():
                found.append(f"{name} is not ASCII")
            addresses = _addresses(value)
            if not addresses or not all(map(_is_verified, addresses)):
                found.append(f"{name} not verified: {value!r}")
        elif name.strip().lower() in ("reply-to", "to", "cc") and not all(
            map(_is_address, _addresses(value))
        ):
            found.append(f"{name}: illegal address: {value!r}")
        lines = value.split(b"\n")
        if max(map(len, lines)) + (len(name) + 2 if lines else 0) > 998:
            found.append(f"{name} has a long line")
        if any(not line.startswith((b" ", b"\t")) or not line.strip() for line in lines[1:]):
            found.append(f"{name} has a line that is no fold: {value!r}")
    return found


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_ADDRESS = re.compile(
    rf'(?:{_DOT_ATOM}|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")@{_LABEL}(?:\.{_LABEL})+'
)


def _is_address(text: str) -> bool:
    return text.isascii() and _ADDRESS.fullmatch(text) is not None


def _is_verified(address: str) -> bool:
    return _is_address(address) and address.rpartition("@")[2].lower() in OURS


def _addresses(value: bytes) -> list[str]:
    """By Python's own strict parser of RFC 5322, on the value alone."""
    parsed = message_from_bytes(
        b"From: " + value.replace(b"\n", b"\r\n") + b"\r\n\r\n", policy=policy.default
    )["From"]
    assert not parsed.defects, (value, parsed.defects)
    # Python's addr_spec loses the quotes of a local part that begins or ends with a dot.
    return [f"{_quoted(each.username)}@{each.domain}" for each in parsed.addresses]


def _quoted(local: str) -> str:
    if re.fullmatch(_DOT_ATOM, local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
