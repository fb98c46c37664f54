"""The header lines that SES puts on top of a mail that it stores, and the ids it gives.

Modelled on stored messages of the real service: Return-Path, Received, X-SES-Spam-Verdict,
X-SES-Virus-Verdict, Received-SPF, Authentication-Results, X-SES-RECEIPT. Below them the content is
what arrived, byte for byte.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING

from awsdesk.ses.verdicts import Status, Verdicts

if TYPE_CHECKING:
    from datetime import datetime

_BASE32_HEX = "0123456789abcdefghijklmnopqrstuv"
_RESULT = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.GRAY: "none",
    Status.PROCESSING_FAILED: "temperror",
    Status.DISABLED: "none",
}


@dataclass(frozen=True)
class Arrival:
    """How a mail came in: the id SES gave it, who brought it, the envelope, the time (UTC)."""

    message_id: str
    helo: str
    client_address: str
    sender: str
    recipients: tuple[str, ...]
    received_at: datetime
    region: str
    header_from_domain: str = ""
    dkim_domain: str = ""


def receipt_id(random_bytes: bytes) -> str:
    """Return a message id as SES writes them for received mail: 40 characters of base32hex.

    `random_bytes`: 25 bytes or more; equal bytes give equal ids.
    """
    number = int.from_bytes(random_bytes[:25], "big")
    return "".join(_BASE32_HEX[(number >> (5 * place)) & 31] for place in reversed(range(40)))


def header_block(arrival: Arrival, verdicts: Verdicts) -> bytes:
    """Return the lines that go on top of the content, with CRLF line ends."""
    spf = _spf(arrival, verdicts.spf)
    dkim = f" header.i=@{arrival.dkim_domain}" if arrival.dkim_domain else ""
    header_from = arrival.header_from_domain or "unknown"
    lines = [
        f"Return-Path: <{arrival.sender}>",
        f"Received: from {arrival.helo} ({arrival.helo} [{arrival.client_address}])",
        f" by inbound-smtp.{arrival.region}.amazonaws.com with SMTP id {arrival.message_id}",
        # RFC 5321 4.4: at most one address after "for".
        *([f" for {arrival.recipients[0]};"] if len(arrival.recipients) == 1 else [" ;"]),
        f" {format_datetime(arrival.received_at)} (UTC)",
    ]
    if verdicts.spam is not Status.DISABLED:
        lines += [
            f"X-SES-Spam-Verdict: {verdicts.spam}",
            f"X-SES-Virus-Verdict: {verdicts.virus}",
        ]
    lines += [
        f"Received-SPF: {spf}",
        "Authentication-Results: amazonses.com;",
        f" spf={spf}",
        f" dkim={_RESULT[verdicts.dkim]}{dkim};",
        f" dmarc={_RESULT[verdicts.dmarc]} header.from={header_from};",
        f"X-SES-RECEIPT: {base64.b64encode(arrival.message_id.encode()).decode()}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", errors="surrogateescape")


def _spf(arrival: Arrival, status: Status) -> str:
    domain = arrival.sender.rpartition("@")[2] or arrival.helo
    address = arrival.client_address
    because = {
        Status.PASS: f"domain of {domain} designates {address} as permitted sender",
        Status.FAIL: f"domain of {domain} does not designate {address} as permitted sender",
    }.get(status, f"{address} is neither permitted nor denied by domain of {domain}")
    return (
        f"{_RESULT[status]} (spfCheck: {because}) client-ip={address};"
        f" envelope-from={arrival.sender}; helo={arrival.helo};"
    )
