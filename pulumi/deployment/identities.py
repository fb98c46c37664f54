"""Sending in the domains' own names: SES identities, Easy DKIM, MAIL FROM, configuration set.

Nothing here waits for verification: SES finds the DNS records by itself once the domain is
delegated, so the first deployment never fails because of a missing delegation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws
from pulumi.output import UNKNOWN

import pulumi
from deployment.stack import Stack
from postal_plexus.config.dns_records import MAIL_FROM_LABEL

# Easy DKIM has three tokens; the number is part of the API, so that records can be planned before
# SES has answered.
_DKIM_TOKENS = 3


@dataclass(frozen=True)
class IdentitiesArgs:
    """`configuration_set_name` is fixed: the SMTP user's permissions name it."""

    stack: Stack
    events_topic_arn: pulumi.Input[str]
    needed: Sequence[pulumi.Resource]
    domains: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("sending")


@dataclass(frozen=True)
class Identity:
    """One domain as SES has it."""

    domain: str
    arn: pulumi.Output[str]
    mail_from_domain: str
    dkim_tokens: tuple[pulumi.Output[str], ...]


class Identities(pulumi.ComponentResource):
    """The configuration set and one identity per domain; `identities` has what DNS needs."""

    def __init__(
        self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Identities", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.configuration_set = aws.sesv2.ConfigurationSet(
            args.name,
            configuration_set_name=args.name,
            # Receivers without TLS still get mail: SES's default, made explicit.
            delivery_options={"tls_policy": "OPTIONAL"},
            reputation_options={"reputation_metrics_enabled": True},
            sending_options={"sending_enabled": True},
            suppression_options={"suppressed_reasons": ["BOUNCE", "COMPLAINT"]},
            opts=child,
        )
        aws.sesv2.ConfigurationSetEventDestination(
            args.name,
            configuration_set_name=self.configuration_set.configuration_set_name,
            event_destination_name="sent-mail",
            event_destination={
                "enabled": True,
                # Deliveries are only logged, with the other server's reply (`plexus trace`): an SNS
                # notification and three SQS requests per recipient.
                "matching_event_types": [
                    "BOUNCE",
                    "COMPLAINT",
                    "DELIVERY",
                    "DELIVERY_DELAY",
                    "REJECT",
                ],
                "sns_destination": {"topic_arn": args.events_topic_arn},
            },
            # SES tests the topic when it is configured.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.needed)),
        )
        identities: list[Identity] = []
        for domain in args.domains:
            identity = aws.sesv2.EmailIdentity(
                domain,
                email_identity=domain,
                configuration_set_name=self.configuration_set.configuration_set_name,
                dkim_signing_attributes={"next_signing_key_length": "RSA_2048_BIT"},
                opts=child,
            )
            mail_from_domain = f"{MAIL_FROM_LABEL}.{domain}"
            aws.sesv2.EmailIdentityMailFromAttributes(
                domain,
                email_identity=identity.email_identity,
                mail_from_domain=mail_from_domain,
                # Until its MX is visible, mail is sent with amazonses.com instead of not at all.
                behavior_on_mx_failure="USE_DEFAULT_VALUE",
                opts=child,
            )
            # The events notify the sender of bounces; SES's own mail would notify twice.
            aws.sesv2.EmailIdentityFeedbackAttributes(
                domain,
                email_identity=identity.email_identity,
                email_forwarding_enabled=False,
                opts=child,
            )
            identities.append(
                Identity(
                    domain,
                    identity.arn,
                    mail_from_domain,
                    tuple(_token(identity, index) for index in range(_DKIM_TOKENS)),
                )
            )
        self.identities = tuple(identities)
        self.register_outputs({"configuration_set": self.configuration_set.configuration_set_name})


def _token(identity: aws.sesv2.EmailIdentity, index: int) -> pulumi.Output[str]:
    """Return one token of an identity. A preview knows the given attributes, but not the tokens."""

    def pick(attributes: Any) -> Any:
        tokens = attributes.tokens if attributes else None
        return tokens[index] if tokens else UNKNOWN

    return identity.dkim_signing_attributes.apply(pick)
