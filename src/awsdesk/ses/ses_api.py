"""SES v1 calls that ministack lacks, or accepts where SES refuses.

UpdateReceiptRule, SetReceiptRulePosition and SendBounce are missing there; CreateReceiptRule
accepts rules that SES refuses. SES writes a setup notification through a new or changed rule and
refuses the rule if that does not work: InvalidS3Configuration, InvalidSnsTopic, LimitExceeded
(https://docs.aws.amazon.com/ses/latest/APIReference/API_CreateReceiptRule.html).

`install` puts `SesApi.handle` in front of ministack's own handler. ministack has by then checked
the signature and the caller's policies for the action.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from awsdesk.ministack_patches import private
from awsdesk.ministack_patches.service_principal import ActionError, ServicePrincipal
from awsdesk.ses import notification
from awsdesk.ses.rules import BounceAction, PublishAction, StoreAction
from awsdesk.ses.ses_account import SesAccount, rule_from
from awsdesk.ses.trace_fields import Arrival
from awsdesk.ses.verdicts import Status, Verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awsdesk.ses.rules import Rule

Answer = tuple[int, dict[str, str], Any]

RULES_A_SET = 200
RECIPIENTS_A_RULE = 500
ACTIONS_A_RULE = 10
# The actions that the stand-in runs. Lambda, WorkMail and Connect belong to other services.
_KINDS = frozenset({"S3Action", "SNSAction", "AddHeaderAction", "BounceAction", "StopAction"})


class BounceRefusedError(Exception):
    """SendBounce is refused: SES's error code and its text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class BouncedRecipient:
    """One recipient of a SendBounce call: a bounce type or the DSN fields themselves."""

    recipient: str
    bounce_type: str | None = None
    action: str | None = None
    status: str | None = None
    diagnostic: str | None = None
    remote_mta: str | None = None


@dataclass(frozen=True)
class BounceRequest:
    """A SendBounce call."""

    original_message_id: str
    sender: str
    recipients: tuple[BouncedRecipient, ...]
    explanation: str | None = None
    reporting_mta: str | None = None


class Bouncer(Protocol):
    """The sender of bounces: the SES stand-in."""

    async def bounce(self, request: BounceRequest) -> str:
        """Send the bounce and return its message id.

        Raises:
            BounceRefusedError: SES would refuse it.
        """
        ...


@dataclass(frozen=True)
class SesApi:
    """The handler in front of ministack's SES v1 handler."""

    account_id: str
    region: str
    bouncer: Bouncer
    inner: Callable[..., Awaitable[Answer]]

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        """Answer one call, by ministack's handler if nothing has to be added."""
        parameters = _parameters(body, query)
        match parameters.get("Action"):
            case "CreateReceiptRule":
                return await self._create_rule(parameters, (method, path, headers, body, query))
            case "UpdateReceiptRule":
                return self._update_rule(parameters)
            case "SetReceiptRulePosition":
                return self._move_rule(parameters)
            case "SendBounce":
                return await self._send_bounce(parameters)
            case _:
                return await self.inner(method, path, headers, body, query)

    async def _create_rule(self, parameters: dict[str, str], call: tuple[Any, ...]) -> Answer:
        if (refused := self._refuse_rule(parameters, is_new=True)) is not None:
            return refused
        answer = await self.inner(*call)
        if answer[0] == 200:
            self._announce(parameters)
        return answer

    def _update_rule(self, parameters: dict[str, str]) -> Answer:
        lists = {key: [value] for key, value in parameters.items()}
        given = private.SES.receipt_rule_from_params(lists)
        if (refused := private.SES.receipt_rule_error(given)) is not None:
            return refused
        rules = self._rules(parameters)
        if rules is None:
            return _missing_set(parameters)
        place = next((i for i, rule in enumerate(rules) if rule["Name"] == given["Name"]), None)
        if place is None:
            return _error("RuleDoesNotExist", f"Rule does not exist: {given['Name']}")
        if (refused := self._refuse_rule(parameters, is_new=False)) is not None:
            return refused
        rules[place] = given
        self._announce(parameters)
        return private.SES.receipt_result("UpdateReceiptRule")

    def _move_rule(self, parameters: dict[str, str]) -> Answer:
        rules = self._rules(parameters)
        if rules is None:
            return _missing_set(parameters)
        names = [rule["Name"] for rule in rules]
        name, after = parameters.get("RuleName", ""), parameters.get("After", "")
        for wanted in (name, after):
            if wanted and wanted not in names:
                return _error("RuleDoesNotExist", f"Rule does not exist: {wanted}")
        moved = rules.pop(names.index(name))
        names.remove(name)
        rules.insert(names.index(after) + 1 if after else 0, moved)
        return private.SES.receipt_result("SetReceiptRulePosition")

    def _rules(self, parameters: dict[str, str]) -> list[dict[str, Any]] | None:
        stored = private.SES.receipt_rule_sets
        rule_set = stored.get(parameters.get("RuleSetName", ""))
        return None if rule_set is None else rule_set["Rules"]

    def _refuse_rule(self, parameters: dict[str, str], *, is_new: bool) -> Answer | None:
        """Return SES's refusal of a rule that cannot work, or None."""
        given = private.SES.receipt_rule_from_params(
            {key: [value] for key, value in parameters.items()}
        )
        if private.SES.receipt_rule_error(given) is not None:
            return None  # ministack's own handler reports the error
        unknown = {kind for action in given["Actions"] for kind in action} - _KINDS
        if unknown:
            return _error(
                "InvalidParameterValue",
                f"the desk's SES stand-in does not run {', '.join(sorted(unknown))}",
            )
        rules = self._rules(parameters)
        if rules is None:
            return None
        for count, limit, what in (
            (len(rules) + is_new, RULES_A_SET, "rules in the rule set"),
            (len(given.get("Recipients") or ()), RECIPIENTS_A_RULE, "recipients in the rule"),
            (len(given["Actions"]), ACTIONS_A_RULE, "actions in the rule"),
        ):
            if count > limit:
                return _error("LimitExceeded", f"{count} {what}, of at most {limit}")
        return self._refuse_actions(rule_from(given), parameters["RuleSetName"])

    def _refuse_actions(self, rule: Rule, rule_set: str) -> Answer | None:
        principal = self._principal(rule_set, rule.name)
        for action in rule.actions:
            if isinstance(action, StoreAction):
                key = notification.object_key(action, notification.SETUP_MESSAGE_ID)
                try:
                    principal.require_put_object(action.bucket, key)
                except ActionError:
                    return _error(
                        "InvalidS3Configuration", f"Could not write to bucket: {action.bucket}"
                    )
            topic = getattr(action, "topic_arn", None)
            if topic is not None:
                try:
                    principal.require_publish(topic)
                except ActionError:
                    return _error("InvalidSnsTopic", f"Invalid SNS topic: {topic}")
            if isinstance(action, BounceAction) and not self._account().is_verified(action.sender):
                return _error(
                    "InvalidParameterValue", f"Bounce sender is not verified: {action.sender}"
                )
        return None

    def _announce(self, parameters: dict[str, str]) -> None:
        """Write the setup notification through a new or changed rule."""
        given = private.SES.receipt_rule_from_params(
            {key: [value] for key, value in parameters.items()}
        )
        rule = rule_from(given)
        principal = self._principal(parameters["RuleSetName"], rule.name)
        now = datetime.now(UTC)
        for action in rule.actions:
            if not isinstance(action, StoreAction | PublishAction):
                continue
            bucket = action.bucket if isinstance(action, StoreAction) else ""
            content = notification.setup_content(bucket, self.region)
            if isinstance(action, StoreAction):
                key = notification.object_key(action, notification.SETUP_MESSAGE_ID)
                principal.put_object(action.bucket, key, content)
            if action.topic_arn is None:
                continue
            principal.publish(
                action.topic_arn,
                json.dumps(self._setup_notification(action, content, now)),
                notification.SUBJECT,
            )

    def _setup_notification(
        self, action: StoreAction | PublishAction, content: bytes, now: datetime
    ) -> dict[str, object]:
        arrival = Arrival(
            message_id=notification.SETUP_MESSAGE_ID,
            helo="",
            client_address="",
            sender="aws@amazon.com",
            recipients=("recipient@example.com",),
            received_at=now,
            region=self.region,
        )
        passed = Verdicts(Status.PASS, Status.PASS, Status.PASS, Status.PASS, Status.PASS)
        described = notification.action_object(action, notification.SETUP_MESSAGE_ID)
        return notification.document(
            notification.mail_object(arrival, content),
            notification.receipt_object(arrival.recipients, passed, described, now, 0),
        )

    async def _send_bounce(self, parameters: dict[str, str]) -> Answer:
        request = BounceRequest(
            original_message_id=parameters.get("OriginalMessageId", ""),
            sender=parameters.get("BounceSender", ""),
            recipients=tuple(_bounced_recipients(parameters)),
            explanation=parameters.get("Explanation") or None,
            reporting_mta=parameters.get("MessageDsn.ReportingMta") or None,
        )
        try:
            message_id = await self.bouncer.bounce(request)
        except BounceRefusedError as refused:
            return _error(refused.code, str(refused))
        return private.SES.xml(
            200,
            "SendBounceResponse",
            f"<SendBounceResult><MessageId>{message_id}</MessageId></SendBounceResult>",
        )

    def _account(self) -> SesAccount:
        return SesAccount(self.account_id, self.region)

    def _principal(self, rule_set: str, rule: str) -> ServicePrincipal:
        arn = self._account().rule_arn(rule_set, rule)
        return ServicePrincipal(self.account_id, self.region, arn)


def install(account_id: str, region: str, bouncer: Bouncer) -> None:
    """Install the additions in front of ministack's SES handler."""
    inner = private.SES.handle_request
    private.SES.replace("handle_request", SesApi(account_id, region, bouncer, inner).handle)


def _parameters(body: bytes, query: dict[str, Any]) -> dict[str, str]:
    given = {**query, **parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)}
    return {key: value[0] if isinstance(value, list) else value for key, value in given.items()}


def _bounced_recipients(parameters: dict[str, str]) -> list[BouncedRecipient]:
    found: list[BouncedRecipient] = []
    while True:
        prefix = f"BouncedRecipientInfoList.member.{len(found) + 1}."
        if f"{prefix}Recipient" not in parameters:
            return found
        dsn = f"{prefix}RecipientDsnFields."
        found.append(
            BouncedRecipient(
                recipient=parameters[f"{prefix}Recipient"],
                bounce_type=parameters.get(f"{prefix}BounceType"),
                action=parameters.get(f"{dsn}Action"),
                status=parameters.get(f"{dsn}Status"),
                diagnostic=parameters.get(f"{dsn}DiagnosticCode"),
                remote_mta=parameters.get(f"{dsn}RemoteMta"),
            )
        )


def _error(code: str, text: str) -> Answer:
    return private.SES.error(code, text, 400, "Sender")


def _missing_set(parameters: dict[str, str]) -> Answer:
    return _error(
        "RuleSetDoesNotExist", f"Rule set does not exist: {parameters.get('RuleSetName', '')}"
    )
