"""SES's configuration in the emulated account, as typed values.

Reads ministack's stores of SES v1 (receipt rules, identities) and v2 (identities, configuration
sets). Rule actions that the stand-in cannot run are never stored (`ses_api` refuses them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from awsdesk.ministack_patches import environment, private
from awsdesk.ses.rules import (
    Action,
    BounceAction,
    HeaderAction,
    PublishAction,
    Rule,
    RuleSet,
    StopAction,
    StoreAction,
)


@dataclass(frozen=True)
class EventDestination:
    """An SNS destination of a configuration set: which events go to which topic."""

    configuration_set: str
    event_types: frozenset[str]
    topic_arn: str


@dataclass(frozen=True)
class SesAccount:
    """SES in one account and region."""

    account_id: str
    region: str

    def active_rule_set(self) -> RuleSet | None:
        """Return the active receipt rule set, or None if there is none."""
        with environment.scope(self.account_id, self.region):
            name = private.SES.active_receipt_rule_set.get("name")
            stored = private.SES.receipt_rule_sets.get(name) if name else None
            if stored is None:
                return None
            return RuleSet(str(name), tuple(rule_from(rule) for rule in stored["Rules"]))

    def rule_arn(self, rule_set: str, rule: str) -> str:
        """Return the ARN that bucket and topic policies see as `aws:SourceArn`."""
        return (
            f"arn:aws:ses:{self.region}:{self.account_id}"
            f":receipt-rule-set/{rule_set}:receipt-rule/{rule}"
        )

    def identity_arn(self, identity: str) -> str:
        """Return the ARN of an identity."""
        return f"arn:aws:ses:{self.region}:{self.account_id}:identity/{identity}"

    def verified_domains(self) -> frozenset[str]:
        """Return the domains that are verified identities, lower case."""
        return frozenset(name.lower() for name in self._identities() if "@" not in name)

    def is_verified(self, address: str) -> bool:
        """Return whether the address, its domain or a parent domain is a verified identity."""
        return self.identity_for(address) is not None

    def identity_for(self, address: str) -> str | None:
        """Return the verified identity that covers an address: itself, its domain, a parent."""
        identities = self._identities()
        if address in identities:
            return address
        by_lower_case = {name.lower(): name for name in identities if "@" not in name}
        labels = address.rpartition("@")[2].lower().split(".")
        parents = (".".join(labels[start:]) for start in range(len(labels) - 1))
        return next((by_lower_case[one] for one in parents if one in by_lower_case), None)

    def configuration_set_of(self, identity: str) -> str | None:
        """Return the identity's default configuration set."""
        stored = self._identity(identity).get("ConfigurationSetName")
        return str(stored) if stored else None

    def has_configuration_set(self, name: str) -> bool:
        """Return whether there is a configuration set of that name."""
        with environment.scope(self.account_id, self.region):
            return name in private.SES_V2.config_sets

    def event_destinations(self, configuration_set: str) -> tuple[EventDestination, ...]:
        """Return the enabled SNS destinations of a configuration set."""
        with environment.scope(self.account_id, self.region):
            sets = private.SES_V2.config_sets
            record = cast("dict[str, Any]", sets.get(configuration_set) or {})
        destinations = cast("dict[str, Any]", record.get("EventDestinations") or {})
        return tuple(
            EventDestination(
                configuration_set,
                frozenset(str(kind).upper() for kind in one["MatchingEventTypes"]),
                str(one["SnsDestination"]["TopicArn"]),
            )
            for one in destinations.values()
            if one.get("Enabled") and one.get("SnsDestination")
        )

    def feedback_topic(self, identity: str, kind: str) -> str | None:
        """Return the topic set on an identity for `Bounce`, `Complaint` or `Delivery`."""
        with environment.scope(self.account_id, self.region):
            stored: Any = private.SES.identities.get(identity)
        topic = stored and stored.get("NotificationTopics", {}).get(kind)
        return str(topic) if topic else None

    def forwards_feedback(self, identity: str) -> bool:
        """Return whether bounces and complaints are mailed to the sender (the default)."""
        with environment.scope(self.account_id, self.region):
            stored: Any = private.SES.identities.get(identity)
        if stored is not None and not stored.get("FeedbackForwardingEnabled", True):
            return False
        return bool(self._identity(identity).get("FeedbackForwardingStatus", True))

    def mail_from_domain(self, identity: str) -> str | None:
        """Return the identity's custom MAIL FROM domain, once its MX record is published.

        Until then SES sends under amazonses.com (behaviour USE_DEFAULT_VALUE):
        https://docs.aws.amazon.com/ses/latest/dg/mail-from.html
        """
        attributes = cast("dict[str, Any]", self._identity(identity).get("MailFromAttributes"))
        domain = str((attributes or {}).get("MailFromDomain") or "")
        wanted = (_absolute(domain), f"10 feedback-smtp.{self.region}.amazonses.com.")
        return domain if domain and wanted in self._published("MX") else None

    def signs(self, identity: str) -> bool:
        """Return whether messages of this identity get a DKIM signature of its domain.

        Easy DKIM signs once its three CNAME records are published. On the desk this means that they
        are in a hosted zone of this account and lead to Amazon's DKIM domain.
        """
        tokens = self.dkim_tokens(identity)
        if not tokens:
            return False
        published = self._published("CNAME")
        return all(
            any(
                (_absolute(f"{token}._domainkey.{identity}"), f"{token}.{domain}.") in published
                for domain in ("dkim.amazonses.com", f"dkim.{self.region}.amazonses.com")
            )
            for token in tokens
        )

    def dkim_tokens(self, identity: str) -> tuple[str, ...]:
        """Return the identity's Easy DKIM tokens; none where it has no Easy DKIM."""
        attributes = cast("dict[str, Any]", self._identity(identity).get("DkimAttributes") or {})
        return tuple(str(token) for token in attributes.get("Tokens") or ())

    def all_dkim_tokens(self) -> frozenset[str]:
        """Return the tokens of all identities."""
        return frozenset(token for name in self._identities() for token in self.dkim_tokens(name))

    def _published(self, record_type: str) -> set[tuple[str, str]]:
        """Return name and value of the records of a type in all zones; names in values absolute."""
        with environment.scope(self.account_id, self.region):
            records = private.ROUTE53.records
            zones = [cast("list[dict[str, Any]]", records[zone]) for zone in list(records)]
        found: set[tuple[str, str]] = set()
        for record in (record for zone in zones for record in zone):
            if record.get("Type") == record_type:
                name = _absolute(str(record.get("Name", "")))
                values = cast("list[str]", record.get("ResourceRecords") or [])
                found |= {(name, _absolute(value)) for value in values}
        return found

    def _identity(self, identity: str) -> dict[str, Any]:
        with environment.scope(self.account_id, self.region):
            stored = private.SES_V2.identities.get(identity)
        return cast("dict[str, Any]", stored or {})

    def _identities(self) -> set[str]:
        with environment.scope(self.account_id, self.region):
            first = private.SES.identities
            second = private.SES_V2.identities
            return {
                *(n for n in first if first[n].get("VerificationStatus") == "Success"),
                *(n for n in second if second[n].get("VerifiedForSendingStatus")),
            }


def _absolute(name: str) -> str:
    return f"{name.lower().rstrip('.')}."


def rule_from(stored: dict[str, Any]) -> Rule:
    """Return a rule as the SES API describes it as a value."""
    return Rule(
        name=str(stored["Name"]),
        actions=tuple(_action(action) for action in stored["Actions"]),
        recipients=tuple(str(r) for r in stored.get("Recipients") or ()),
        enabled=bool(stored["Enabled"]),
        scan=bool(stored["ScanEnabled"]),
        requires_tls=stored.get("TlsPolicy") == "Require",
    )


def _action(stored: dict[str, Any]) -> Action:
    (kind, given), *_ = stored.items()
    topic = str(given["TopicArn"]) if given.get("TopicArn") else None
    match kind:
        case "S3Action":
            return StoreAction(given["BucketName"], given.get("ObjectKeyPrefix", ""), topic)
        case "SNSAction":
            return PublishAction(given["TopicArn"], given.get("Encoding", "UTF-8"))
        case "AddHeaderAction":
            return HeaderAction(given["HeaderName"], given["HeaderValue"])
        case "BounceAction":
            return BounceAction(
                sender=given["Sender"],
                smtp_reply_code=given["SmtpReplyCode"],
                message=given["Message"],
                status_code=given.get("StatusCode"),
                topic_arn=topic,
            )
        case "StopAction":
            return StopAction(topic)
        case _:
            raise ValueError(f"the stand-in runs no {kind}")
