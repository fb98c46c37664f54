"""What SES accepts: receipt rules that name the addresses of the directory, and no others.

Rules have no Stop action: SES runs every rule that matches, so that one message to several
mailboxes reaches them all. There is one active rule set per account and region; ours is activated
on request, or if there is no other.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pulumi_aws as aws
import pulumi_command as command

import pulumi
from deployment.archive import Archive
from deployment.directory_object import DirectoryObject
from deployment.notifications import Notifications
from deployment.stack import Stack
from postal_plexus.config.names import INBOUND_PREFIX
from postal_plexus.directory.entries import DirectoryError
from postal_plexus.directory.model import Directory
from postal_plexus.directory.receipt_rules import (
    RECIPIENTS_A_RULE,
    RuleRecipients,
    receipt_rules,
)

# How the provider's versions report that no rule set is active: SES's response is empty.
_NONE_ACTIVE = ("empty result", "no active", "no matching", "couldn't find resource")

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ReceivingArgs:
    """`rule_set_name` is fixed by the stack, because bucket and topic policies name it first."""

    stack: Stack
    rules: tuple[RuleRecipients, ...]
    archive: Archive
    notifications: Notifications
    directory: DirectoryObject
    scan: bool
    activate: bool

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("rules")


class Receiving(pulumi.ComponentResource):
    """The rule set, its rules and, if `activate`, its activation."""

    def __init__(
        self, name: str, args: ReceivingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Receiving", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        rule_set = aws.ses.ReceiptRuleSet(args.name, rule_set_name=args.name, opts=child)
        settled = self._settled(args, rule_set)
        rules = [self._rule(args, rule_set, rule, settled) for rule in args.rules]
        if args.activate:
            aws.ses.ActiveReceiptRuleSet(
                args.name,
                rule_set_name=rule_set.rule_set_name,
                opts=pulumi.ResourceOptions(parent=self, depends_on=rules),
            )
        self.register_outputs({"rule_set": rule_set.rule_set_name})

    def _settled(self, args: ReceivingArgs, rule_set: aws.ses.ReceiptRuleSet) -> pulumi.Resource:
        """Wait until SES may write to the bucket and publish to the topic.

        SES tests both when a rule is created, and a policy does not take effect everywhere in its
        first seconds: the provider would give up with InvalidS3Configuration. This is done once for
        each bucket and topic, not in later runs.
        """
        domain = args.rules[0].recipients[0].rpartition("@")[2]
        environment: dict[str, pulumi.Input[str]] = {
            "PLEXUS_RULE_SET": rule_set.rule_set_name,
            "PLEXUS_RECIPIENT": f"receiving-settled@{domain}",
            "PLEXUS_BUCKET": args.archive.bucket.bucket,
            "PLEXUS_PREFIX": INBOUND_PREFIX,
            "PLEXUS_TOPIC": args.notifications.topic.arn,
            "AWS_REGION": args.stack.region,
        }
        if args.stack.profile:
            environment["AWS_PROFILE"] = args.stack.profile
        return command.local.Command(
            f"{args.name}-settled",
            # The interpreter that runs this program has what the tool needs.
            create=f"{sys.executable} {_ROOT / 'tools' / 'receiving-settled'}",
            environment=environment,
            triggers=[args.archive.bucket.arn, args.notifications.topic.arn],
            # Another path or profile on another machine, or another first address, is not a change.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*args.archive.ready, *args.notifications.ready],
                ignore_changes=["create", "environment"],
            ),
        )

    def _rule(
        self,
        args: ReceivingArgs,
        rule_set: aws.ses.ReceiptRuleSet,
        rule: RuleRecipients,
        settled: pulumi.Resource,
    ) -> aws.ses.ReceiptRule:
        return aws.ses.ReceiptRule(
            rule_name(args.name, rule),
            name=rule_name(args.name, rule),
            rule_set_name=rule_set.rule_set_name,
            enabled=True,
            recipients=list(rule.recipients),
            scan_enabled=args.scan,
            # Refusing senders without TLS would lose mail that some servers still send.
            tls_policy="Optional",
            s3_actions=[
                {
                    "position": 1,
                    "bucket_name": args.archive.bucket.bucket,
                    "object_key_prefix": INBOUND_PREFIX,
                    "topic_arn": args.notifications.topic.arn,
                }
            ],
            # SES tests the bucket and the topic when a rule is created. The addresses that it
            # accepts must be in the directory before: `deliver` reads the directory again for an
            # address that it does not know.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[
                    *args.archive.ready,
                    *args.notifications.ready,
                    args.directory.stored,
                    settled,
                ],
            ),
        )


def rule_name(rule_set_name: str, rule: RuleRecipients) -> str:
    """Return a rule's name. SES's metrics use only the name, so two stacks must not share one."""
    return f"{rule_set_name}-{rule.name}"


def rules_for(directory: Directory, accept: str) -> tuple[RuleRecipients, ...]:
    """Return the recipients of each rule.

    With addresses, SES refuses unknown recipients during the SMTP session. With more addresses than
    200 rules can hold, or if `accept` is "domains", whole domains are accepted, and `deliver`
    bounces unknown recipients.
    """
    if accept == "addresses":
        try:
            return receipt_rules(directory)
        except DirectoryError as error:
            pulumi.warn(f"{error}: whole domains are accepted, and unknown recipients bounced")
    names = sorted(domain.name for domain in directory.domains)
    return tuple(
        RuleRecipients(
            f"domains-{start // RECIPIENTS_A_RULE}", tuple(names[start:][:RECIPIENTS_A_RULE])
        )
        for start in range(0, len(names), RECIPIENTS_A_RULE)
    )


def should_activate(choice: str, rule_set_name: str, provider: aws.Provider) -> bool:
    """Return whether to activate our rule set.

    "auto" activates it if none is active or ours already is; another one is never displaced
    unasked.
    """
    if choice != "auto":
        return choice == "yes"
    try:
        active = aws.ses.get_active_receipt_rule_set(opts=pulumi.InvokeOptions(provider=provider))
    except Exception as error:
        if not any(words in str(error).lower() for words in _NONE_ACTIVE):
            raise
        return True
    if active.rule_set_name == rule_set_name:
        return True
    pulumi.warn(
        f"SES's active receipt rule set is {active.rule_set_name!r}, so mail does not reach this "
        "stack; set postal-plexus:activate-rule-set to yes to take its place"
    )
    return False
