"""SES's inbound SMTP server, and what it does with a message.

A recipient that no rule names is refused during the session. A message is written to the spool,
then accepted with 250, then the rules' actions run. Replies: 550 5.1.1 unknown recipient, 552 over
40 MB, 530 a rule requires TLS, 451 the desk could not store the message.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awsdesk.ses import faults, header, rules, trace_fields, verdicts
from awsdesk.ses.protocol import Greeting, MailProtocol
from awsdesk.ses.received import ReceivedMail, ReceivedMails
from awsdesk.ses.spool import Accepted, Spool
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import Origin

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from awsdesk.ses.actions import ActionRunner
    from awsdesk.ses.ses_account import SesAccount

log = logging.getLogger(__name__)

SIZE_LIMIT = 40 * 1024 * 1024
TOO_BIG = "552 5.3.4 Message size exceeds fixed limit"
# Larger content is scanned in a thread: scanning 40 MB takes a moment.
_LOOK_IN_PLACE = 1024 * 1024


class ReceptionRefusedError(Exception):
    """A message is refused; contains the SMTP reply."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


@dataclass(frozen=True)
class Peer:
    """The client that delivers a message."""

    helo: str
    address: str
    uses_tls: bool
    origin: Origin


class Reception:
    """Accepts messages from the SMTP server and from SES's own sending side."""

    def __init__(
        self, account: SesAccount, spool: Spool, received: ReceivedMails, runner: ActionRunner
    ) -> None:
        self._account = account
        self._spool = spool
        self._received = received
        self._runner = runner

    def refusal(self, recipient: str, *, uses_tls: bool) -> str | None:
        """Return the SMTP reply that refuses a recipient, or None if SES accepts it."""
        found = rules.matching_rules(
            self._account.active_rule_set(), recipient, self._account.verified_domains()
        )
        if not found:
            return "550 5.1.1 Requested action not taken: mailbox unavailable"
        if not uses_tls and any(rule.requires_tls for rule in found):
            return "530 5.7.0 Must issue a STARTTLS command first"
        return None

    async def accept(
        self, peer: Peer, sender: str, recipients: tuple[str, ...], content: bytes
    ) -> str:
        """Accept a message: store it on disk and start its actions. Return its SES message id.

        Raises:
            ReceptionRefusedError: it is too large, has no recipient, or could not be stored.
        """
        if len(content) > SIZE_LIMIT:
            raise ReceptionRefusedError(TOO_BIG)
        rule_set = self._account.active_rule_set()
        matches = rules.evaluate(rule_set, recipients, self._account.verified_domains())
        if rule_set is None or not matches:
            raise ReceptionRefusedError("550 5.1.1 Requested action not taken: mailbox unavailable")
        arrival = _arrival(peer, sender, recipients, content, self._account.region)
        if len(content) > _LOOK_IN_PLACE:
            found = await asyncio.to_thread(verdicts.scan, content)
        else:
            found = verdicts.scan(content)
        accepted = Accepted(
            arrival=arrival,
            verdicts=verdicts.judge(found, peer.origin),
            rule_set=rule_set.name,
            matches=matches,
        )
        try:
            await asyncio.to_thread(self._spool.keep, accepted, content)
            self._received.add(_received(arrival, content))
        except OSError as error:
            self._spool.forget(arrival.message_id)
            log.error("ses.spool_failed message_id=%s error=%s", arrival.message_id, error)  # noqa: TRY400
            raise ReceptionRefusedError("451 4.3.0 Temporary service failure") from error
        log.info(
            "ses.accepted message_id=%s sender=<%s> recipients=%d size=%d rules=%s",
            arrival.message_id,
            sender,
            len(recipients),
            len(content),
            ",".join(match.rule.name for match in matches),
        )
        self._runner.start(accepted)
        return arrival.message_id


class InboundHandler:
    """aiosmtpd's hooks for the inbound server."""

    def __init__(
        self, reception: Reception, faults_file: Path, *, strangers_pass_spf: bool = False
    ) -> None:
        self._reception = reception
        self._strangers_pass_spf = strangers_pass_spf
        self._faults_file = faults_file

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's signature
        self,
        _server: Any,
        session: Any,
        _envelope: Any,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Offer 8BITMIME, SIZE and STARTTLS, but no AUTH."""
        session.host_name = hostname
        kept = [r for r in responses if not r.startswith(("250-AUTH", "250 HELP"))]
        return [*kept, "250 Ok"]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's signature
        self, _server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept a recipient that a rule names."""
        refusal = self._reception.refusal(address, uses_tls=session.ssl is not None)
        if refusal is not None:
            log.info("ses.recipient_refused recipient=%s reply=%r", address, refusal)
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Accept a message."""
        if (reply := faults.read(self._faults_file).inbound_reply) is not None:
            return reply
        peer = Peer(
            helo=session.host_name,
            address=session.peer[0] if session.peer else "127.0.0.1",
            uses_tls=session.ssl is not None,
            origin=Origin(passes_spf=self._strangers_pass_spf),
        )
        sender = "" if envelope.mail_from == "<>" else envelope.mail_from
        try:
            message_id = await self._reception.accept(
                peer, sender, tuple(envelope.rcpt_tos), envelope.content
            )
        except ReceptionRefusedError as refused:
            return refused.reply
        except Exception:  # a bug: the sender will retry
            log.exception("ses.reception_failed sender=%r", sender)
            return "451 4.3.0 Temporary service failure"
        return f"250 OK {message_id}"


def protocol(handler: InboundHandler, region: str, tls: ssl.SSLContext) -> MailProtocol:
    """Create the protocol for one connection to the inbound server."""
    greeting = Greeting(
        hostname=f"inbound-smtp.{region}.amazonaws.com",
        ident="ESMTP SimpleEmailService-desk",
        size_limit=SIZE_LIMIT,
        size_reply=TOO_BIG,
    )
    return MailProtocol(handler, greeting, tls=tls)


def _arrival(
    peer: Peer, sender: str, recipients: tuple[str, ...], content: bytes, region: str
) -> Arrival:
    found = header.fields(content)
    senders = header.addresses(found, "From")
    from_domain = senders[0].rpartition("@")[2] if senders else ""
    return Arrival(
        message_id=trace_fields.receipt_id(secrets.token_bytes(25)),
        helo=peer.helo,
        client_address=peer.address,
        sender=sender,
        recipients=recipients,
        received_at=datetime.now(UTC),
        region=region,
        header_from_domain=from_domain,
        dkim_domain=from_domain if peer.origin.signed_by_ses else "",
    )


def _received(arrival: Arrival, content: bytes) -> ReceivedMail:
    block, _ = header.split(content)
    return ReceivedMail(
        message_id=arrival.message_id,
        sender=arrival.sender,
        recipients=arrival.recipients,
        received_at=arrival.received_at,
        header_message_id=next(iter(header.values(header.fields(block), "Message-ID")), None),
        header_block=block[:4096].decode("utf-8", errors="replace"),
    )
