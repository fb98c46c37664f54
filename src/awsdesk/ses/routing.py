"""Where a mail that SES sends goes: back in, to the simulator, or to the outbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awsdesk.ses import events
from awsdesk.ses.events import Kind, Outcome
from awsdesk.ses.outbox import OutgoingMail
from awsdesk.ses.receiving import Peer, ReceptionRefusedError
from awsdesk.ses.rules import is_at_verified_domain
from awsdesk.ses.submission import is_simulator, return_path
from awsdesk.ses.verdicts import Origin

if TYPE_CHECKING:
    from awsdesk.ses.dkim_signer import DkimSigner
    from awsdesk.ses.events import Sent
    from awsdesk.ses.outbox import Outbox
    from awsdesk.ses.receiving import Reception
    from awsdesk.ses.ses_account import SesAccount

_HOST = "a0-0.smtp-out.amazonses.com"
_ADDRESS = "192.0.2.25"


class Router:
    """Delivers what SES sends."""

    def __init__(
        self, account: SesAccount, signer: DkimSigner, reception: Reception, outbox: Outbox
    ) -> None:
        self._account = account
        self._signer = signer
        self._reception = reception
        self._outbox = outbox

    async def route(
        self, sent: Sent, identity: str | None, content: bytes, *, is_report: bool = False
    ) -> list[Outcome]:
        """Sign a message and deliver it to all its recipients. Return the outcome for each.

        A report (a bounce) has the null envelope sender and causes no bounce itself.

        Raises:
            OSError: the outbox could not be written.
        """
        content = await asyncio.to_thread(self._signer.sign, content, identity)
        domain = self._account.mail_from_domain(identity) if identity else None
        envelope_sender = "" if is_report else return_path(sent.message_id, domain)
        simulated = [r for r in sent.recipients if is_simulator(r)]
        domains = self._account.verified_domains()
        ours = [r for r in sent.recipients if is_at_verified_domain(r, domains)]
        others = tuple(r for r in sent.recipients if r not in ours and r not in simulated)
        outcomes = events.outcomes_of_simulator(simulated)
        outcomes += await self._back_in(envelope_sender, identity, ours, content)
        if others:
            mail = OutgoingMail(
                message_id=sent.message_id,
                sender=sent.sender,
                return_path=envelope_sender,
                recipients=others,
                content=content,
                sent_at=sent.accepted_at,
                caller=sent.caller,
                configuration_set=sent.configuration_set,
            )
            await asyncio.to_thread(self._outbox.put, mail)
            outcomes += [Outcome(r, Kind.DELIVERY) for r in others]
        return outcomes

    async def _back_in(
        self, envelope_sender: str, identity: str | None, recipients: list[str], content: bytes
    ) -> list[Outcome]:
        """Deliver to the account's own domains as any other server would: by the receipt rules."""
        refusals = {r: self._reception.refusal(r, uses_tls=True) for r in recipients}
        outcomes = [
            events.bounced(r, reply, "5.1.1") for r, reply in refusals.items() if reply is not None
        ]
        taken = tuple(r for r, reply in refusals.items() if reply is None)
        if not taken:
            return outcomes
        peer = Peer(
            helo=_HOST,
            address=_ADDRESS,
            uses_tls=True,
            origin=Origin(
                relayed_by_ses=True,
                signed_by_ses=identity is not None and self._account.signs(identity),
            ),
        )
        try:
            await self._reception.accept(peer, envelope_sender, taken, content)
        except ReceptionRefusedError as refused:
            return outcomes + [events.bounced(r, refused.reply, "5.3.0") for r in taken]
        return outcomes + [Outcome(r, Kind.DELIVERY) for r in taken]
