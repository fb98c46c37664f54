"""Running the actions of the rules that apply to a mail.

S3 puts and SNS publishes are done as the SES service principal, so the action fails if a bucket or
topic policy does not allow SES to do it. As in SES, a failed action is retried with exponential
backoff until four hours after arrival, then abandoned and counted as PublishExpired
(https://docs.aws.amazon.com/ses/latest/dg/receiving-email-metrics.html).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from awsdesk.ministack_patches.service_principal import ActionError, ServicePrincipal
from awsdesk.ses import notification, trace_fields, verdicts
from awsdesk.ses.rules import BounceAction, HeaderAction, PublishAction, StopAction, StoreAction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awsdesk.ses.rules import Action, Match
    from awsdesk.ses.ses_account import SesAccount
    from awsdesk.ses.spool import Accepted, Spool
    from awsdesk.ses.trace_fields import Arrival

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a failing action is retried."""

    first_wait: float = 1.0
    longest_wait: float = 60.0
    give_up_after: timedelta = timedelta(hours=4)

    def waits(self) -> Iterator[float]:
        """Return the seconds to wait after each failure."""
        wait = self.first_wait
        while True:
            yield wait
            wait = min(wait * 2, self.longest_wait)


class RuleBouncer(Protocol):
    """The sender of a bounce action's bounces."""

    async def bounce_by_rule(self, accepted: Accepted, match: Match, action: BounceAction) -> None:
        """Send it."""
        ...


class ActionRunner:
    """Runs the actions of accepted messages in the background."""

    def __init__(
        self,
        account: SesAccount,
        spool: Spool,
        changed: Callable[[], None],
        retry: RetryPolicy,
    ) -> None:
        self._account = account
        self._spool = spool
        self._changed = changed
        self._retry = retry
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self.bouncer: RuleBouncer | None = None

    def start(self, accepted: Accepted) -> None:
        """Run a mail's actions. Return at once."""
        task = asyncio.create_task(self._run(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def resume(self) -> None:
        """Run the actions that an earlier daemon did not finish."""
        for accepted in self._spool.waiting():
            self.start(accepted)

    async def stop(self) -> None:
        """Stop; unfinished actions stay in the spool."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, accepted: Accepted) -> None:
        message_id = accepted.arrival.message_id
        try:
            content = await asyncio.to_thread(self._spool.content, message_id)
        except OSError as error:
            log.error("ses.spool_content_unreadable message_id=%s error=%s", message_id, error)  # noqa: TRY400
            return
        for match in accepted.matches:
            added = b""
            for action in match.rule.actions:
                if isinstance(action, HeaderAction):
                    added += f"{action.name}: {action.value}\r\n".encode()
                done = await self._until_it_works(accepted, match, action, added + content)
                self.counts["PublishSuccess" if done else "PublishExpired"] += 1
        self._spool.done(message_id)
        self._changed()

    async def _until_it_works(
        self, accepted: Accepted, match: Match, action: Action, content: bytes
    ) -> bool:
        deadline = accepted.arrival.received_at + self._retry.give_up_after
        where = f"message_id={accepted.arrival.message_id} rule={match.rule.name}"
        for wait in self._retry.waits():
            try:
                await self._act(accepted, match, action, content)
            except Exception as error:
                self.counts["PublishFailure"] += 1
                if datetime.now(UTC) + timedelta(seconds=wait) > deadline:
                    log.error("ses.publish_expired %s reason=%r", where, error)  # noqa: TRY400
                    return False
                is_ours = not isinstance(error, ActionError)
                log.warning(
                    "ses.publish_failure %s retry_in=%ss reason=%s",
                    *(where, wait, error),
                    exc_info=is_ours,
                )
                await asyncio.sleep(wait)
            else:
                return True
        return False

    async def _act(self, accepted: Accepted, match: Match, action: Action, content: bytes) -> None:
        rule_arn = self._account.rule_arn(accepted.rule_set, match.rule.name)
        principal = ServicePrincipal(self._account.account_id, self._account.region, rule_arn)
        found = accepted.verdicts if match.rule.scan else verdicts.unscanned(accepted.verdicts)
        stored = trace_fields.header_block(accepted.arrival, found) + content
        message_id = accepted.arrival.message_id
        match action:
            case StoreAction():
                key = notification.object_key(action, message_id)
                principal.put_object(action.bucket, key, stored)
                log.info(
                    "ses.stored message_id=%s bucket=%s key=%s", message_id, action.bucket, key
                )
                self._notify(principal, accepted, match, action, stored)
            case PublishAction():
                self._notify(principal, accepted, match, action, stored)
            case BounceAction():
                if self.bouncer is not None:
                    await self.bouncer.bounce_by_rule(accepted, match, action)
                self._notify(principal, accepted, match, action, stored)
            case StopAction():
                self._notify(principal, accepted, match, action, stored)
            case HeaderAction():
                pass

    def _notify(
        self,
        principal: ServicePrincipal,
        accepted: Accepted,
        match: Match,
        action: StoreAction | PublishAction | BounceAction | StopAction,
        stored: bytes,
    ) -> None:
        if action.topic_arn is None:
            return
        arrival = accepted.arrival
        now = datetime.now(UTC)
        found = accepted.verdicts if match.rule.scan else verdicts.unscanned(accepted.verdicts)
        document = notification.document(
            _described(arrival, stored),
            notification.receipt_object(
                match.recipients,
                found,
                notification.action_object(action, arrival.message_id),
                now,
                int((now - arrival.received_at).total_seconds() * 1000),
            ),
        )
        if isinstance(action, PublishAction):
            if len(stored) > notification.PUBLISH_LIMIT:
                raise ActionError(f"{len(stored)} bytes are too much for an SNS action")
            document["content"] = notification.content_field(stored, action.encoding)
        principal.publish(action.topic_arn, json.dumps(document), notification.SUBJECT)
        log.info("ses.notified message_id=%s topic=%s", arrival.message_id, action.topic_arn)


def _described(arrival: Arrival, stored: bytes) -> dict[str, object]:
    """Return the `mail` object, without headers that cannot be represented."""
    try:
        return notification.mail_object(arrival, stored)
    except Exception:
        log.exception("ses.header_not_described message_id=%s", arrival.message_id)
        return notification.bare_mail_object(arrival)
