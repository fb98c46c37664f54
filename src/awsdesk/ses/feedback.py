"""Report on sent messages: events to topics, bounces by mail.

Events go to the configuration set's SNS destinations (those that subscribe to them) and to the
identity's feedback topics. A bounce without a topic is mailed to the envelope sender if forwarding
is on (the default):
https://docs.aws.amazon.com/ses/latest/dg/monitor-sending-activity-using-notifications-email.html.
If a topic does not allow SES to publish, the event is lost, as on AWS, with a line in the log.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from awsdesk.ministack_patches.service_principal import ActionError, ServicePrincipal
from awsdesk.ses import events, header, report
from awsdesk.ses.events import Kind, Outcome, Sent
from awsdesk.ses.report import FailedRecipient, Report

if TYPE_CHECKING:
    from awsdesk.ses.routing import Router
    from awsdesk.ses.ses_account import SesAccount

log = logging.getLogger(__name__)

_SUBJECT = "Amazon SES Email Event Notification"
_POSTMASTER = "MAILER-DAEMON@amazonses.com"


class Feedback:
    """Publishes and mails the outcome of sent messages."""

    def __init__(self, account: SesAccount, router: Router) -> None:
        self._account = account
        self._router = router

    async def report(
        self, sent: Sent, identity: str, outcomes: list[Outcome], feedback_to: str
    ) -> None:
        """Report a sent message and its outcome for each recipient.

        Never fails: the message is already sent, and a failed report must not refuse it.
        """
        try:
            await self._report(sent, identity, outcomes, feedback_to)
        except Exception:
            log.exception("ses.feedback_lost message_id=%s", sent.message_id)

    async def _report(
        self, sent: Sent, identity: str, outcomes: list[Outcome], feedback_to: str
    ) -> None:
        now = datetime.now(UTC)
        for outcome in [*(Outcome(r, Kind.SEND) for r in sent.recipients[:1]), *outcomes]:
            self._to_configuration_set(sent, outcome, now)
            self._to_identity_topic(sent, identity, outcome, now)
        failed = [o for o in outcomes if o.kind is Kind.BOUNCE]
        if failed and self._mails_bounces(sent, identity):
            await self._mail_bounce(sent, failed, feedback_to, now)

    def _to_configuration_set(self, sent: Sent, outcome: Outcome, now: datetime) -> None:
        if sent.configuration_set is None:
            return
        for destination in self._account.event_destinations(sent.configuration_set):
            if outcome.kind.value.upper() not in destination.event_types:
                continue
            source = (
                f"arn:aws:ses:{self._account.region}:{self._account.account_id}"
                f":configuration-set/{sent.configuration_set}"
            )
            self._publish(source, destination.topic_arn, events.event(sent, outcome, now))

    def _to_identity_topic(
        self, sent: Sent, identity: str, outcome: Outcome, now: datetime
    ) -> None:
        if outcome.kind is Kind.SEND:
            return
        topic = self._account.feedback_topic(identity, outcome.kind.value)
        if topic is not None:
            source = self._account.identity_arn(identity)
            self._publish(source, topic, events.notification(sent, outcome, now))

    def _publish(self, source_arn: str, topic_arn: str, document: dict[str, object]) -> None:
        principal = ServicePrincipal(self._account.account_id, self._account.region, source_arn)
        try:
            principal.publish(topic_arn, json.dumps(document), _SUBJECT)
        except ActionError as error:
            log.error("ses.event_lost topic=%s reason=%s", topic_arn, error)  # noqa: TRY400

    def _mails_bounces(self, sent: Sent, identity: str) -> bool:
        """Return whether a bounce is mailed: also with forwarding off, if nothing else reports it.

        https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_PutEmailIdentityFeedbackAttributes.html
        """
        if self._account.feedback_topic(identity, Kind.BOUNCE.value) is not None:
            return False
        destinations = self._account.event_destinations(sent.configuration_set or "")
        is_told = any(Kind.BOUNCE.value.upper() in one.event_types for one in destinations)
        return self._account.forwards_feedback(identity) or not is_told

    async def _mail_bounce(self, sent: Sent, failed: list[Outcome], to: str, now: datetime) -> None:
        recipients = tuple(
            FailedRecipient(o.recipient, "failed", o.status, f"smtp; {o.smtp_reply}")
            for o in failed
        )
        block, _ = header.split(sent.content)
        content = report.compose(
            Report(
                sender=_POSTMASTER,
                to=to,
                message_id=f"<{uuid4()}@amazonses.com>",
                written_at=now,
                reporting_mta="dns; a0-0.smtp-out.amazonses.com",
                explanation=report.explanation_for(recipients),
                recipients=recipients,
                arrival_date=sent.accepted_at,
                original_header=block,
                original_message_id=next(
                    iter(header.values(header.fields(block), "Message-ID")), None
                ),
            )
        )
        mail = Sent(
            message_id=str(uuid4()),
            sender=_POSTMASTER,
            identity_arn="",
            account_id=self._account.account_id,
            caller="ses",
            source_address="",
            recipients=(to,),
            content=content,
            accepted_at=now,
        )
        await self._router.route(mail, None, content, is_report=True)
