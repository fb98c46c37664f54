"""SendBounce: a bounce for a mail that SES received.

The checks that SES documents: only for a mail received in the last 24 hours, from a verified
identity, at most one a second (https://docs.aws.amazon.com/ses/latest/APIReference/
API_SendBounce.html). A mail with the null envelope sender has nobody to bounce to (RFC 5321 4.5.5).
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from awsdesk.ses import report
from awsdesk.ses.events import Sent
from awsdesk.ses.report import FailedRecipient, Report
from awsdesk.ses.ses_api import BouncedRecipient, BounceRefusedError, BounceRequest

if TYPE_CHECKING:
    from awsdesk.ses.received import ReceivedMail, ReceivedMails
    from awsdesk.ses.routing import Router
    from awsdesk.ses.rules import BounceAction, Match
    from awsdesk.ses.ses_account import SesAccount
    from awsdesk.ses.spool import Accepted

log = logging.getLogger(__name__)

# "You can execute this operation no more than once per second."
CALLS_A_SECOND = 1.0


class Bounces:
    """Sends the bounces that SendBounce and bounce actions ask for."""

    def __init__(self, account: SesAccount, received: ReceivedMails, router: Router) -> None:
        self._account = account
        self._received = received
        self._router = router
        self._last_call = 0.0

    async def bounce(self, request: BounceRequest) -> str:
        """Answer SendBounce (`ses_api.Bouncer`)."""
        self._throttle()
        now = datetime.now(UTC)
        mail = self._received.find(request.original_message_id, now)
        if mail is None:
            raise BounceRefusedError(
                "MessageRejected",
                "The original message was not found, or is older than 24 hours: "
                f"{request.original_message_id}",
            )
        if not self._account.is_verified(request.sender):
            raise BounceRefusedError(
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in"
                f" region {self._account.region.upper()}: {request.sender}",
            )
        if not request.recipients:
            raise BounceRefusedError(
                "InvalidParameterValue", "At least one bounced recipient must be given"
            )
        if not mail.sender:
            raise BounceRefusedError(
                "InvalidParameterValue", "A message without an envelope sender has no one to tell"
            )
        recipients = tuple(_failed(recipient) for recipient in request.recipients)
        return await self._send(mail, request, recipients, now)

    async def bounce_by_rule(self, accepted: Accepted, match: Match, action: BounceAction) -> None:
        """Run a bounce action (`actions.RuleBouncer`)."""
        mail = self._received.find(accepted.arrival.message_id, datetime.now(UTC))
        if mail is None or not mail.sender:
            return
        status = action.status_code or f"{action.smtp_reply_code[:1]}.0.0"
        diagnostic = f"smtp; {action.smtp_reply_code} {action.message}"
        recipients = tuple(
            FailedRecipient(recipient, "failed", status, diagnostic)
            for recipient in match.recipients
        )
        request = BounceRequest(mail.message_id, action.sender, (), action.message)
        await self._send(mail, request, recipients, datetime.now(UTC))

    def _throttle(self) -> None:
        now = time.monotonic()
        if now - self._last_call < 1 / CALLS_A_SECOND:
            raise BounceRefusedError("Throttling", "Maximum sending rate exceeded.")
        self._last_call = now

    async def _send(
        self,
        mail: ReceivedMail,
        request: BounceRequest,
        recipients: tuple[FailedRecipient, ...],
        now: datetime,
    ) -> str:
        message_id = f"0100{int(now.timestamp() * 1000):012x}-{uuid4()}-000000"
        content = report.compose(
            Report(
                sender=request.sender,
                to=mail.sender,
                message_id=f"<{message_id}@email.amazonses.com>",
                written_at=now,
                reporting_mta=request.reporting_mta
                or f"dns; inbound-smtp.{self._account.region}.amazonaws.com",
                explanation=request.explanation or report.explanation_for(recipients),
                recipients=recipients,
                arrival_date=mail.received_at,
                original_header=mail.header_block.encode("utf-8", errors="replace"),
                original_message_id=mail.header_message_id,
            )
        )
        sent = Sent(
            message_id=message_id,
            sender=request.sender,
            identity_arn="",
            account_id=self._account.account_id,
            caller="SendBounce",
            source_address="",
            recipients=(mail.sender,),
            content=content,
            accepted_at=now,
        )
        identity = self._account.identity_for(request.sender)
        await self._router.route(sent, identity, content, is_report=True)
        log.info("ses.bounced original=%s bounce=%s", mail.message_id, message_id)
        return message_id


def _failed(recipient: BouncedRecipient) -> FailedRecipient:
    status, diagnostic = report.STATUS_OF_BOUNCE_TYPE.get(
        recipient.bounce_type or "Undefined", report.STATUS_OF_BOUNCE_TYPE["Undefined"]
    )
    return FailedRecipient(
        recipient=recipient.recipient,
        action=recipient.action or "failed",
        status=recipient.status or status,
        diagnostic=recipient.diagnostic or diagnostic,
        remote_mta=recipient.remote_mta,
    )
