"""How the world finds the domains: Route 53 zones (made or adopted) and their records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment import regions
from deployment.identities import Identity

# Long enough to be cheap, short enough to put a mistake right within the hour.
_TTL_SECONDS = 3600


@dataclass(frozen=True)
class ZonesArgs:
    """`existing`: domain -> id of a zone to adopt instead of making one."""

    region: str
    identities: Sequence[Identity]
    existing: Mapping[str, str]
    dmarc_policy: str


class Zones(pulumi.ComponentResource):
    """One zone a domain with its mail records; `name_servers` is what the registrar needs."""

    def __init__(
        self, name: str, args: ZonesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Zones", name, None, opts)
        self._args = args
        self.zone_ids: dict[str, pulumi.Input[str]] = {}
        self.name_servers: dict[str, pulumi.Output[Sequence[str]]] = {}
        for identity in args.identities:
            domain = identity.domain
            if domain in args.existing:
                self.zone_ids[domain] = args.existing[domain]
            else:
                zone = aws.route53.Zone(
                    domain,
                    name=domain,
                    comment="Postal Plexus",
                    # Deleting a zone changes its name servers for good: mail would stop for days.
                    opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
                )
                self.zone_ids[domain] = zone.zone_id
                self.name_servers[domain] = zone.name_servers
            self._mail_records(identity)
        self.register_outputs({"name_servers": self.name_servers})

    def _mail_records(self, identity: Identity) -> None:
        domain, region = identity.domain, self._args.region
        self.record(domain, domain, "MX", [f"10 {regions.inbound_host(region)}"])
        self.record(domain, domain, "TXT", ["v=spf1 include:amazonses.com ~all"])
        self.record(
            domain,
            f"_dmarc.{domain}",
            "TXT",
            [f"v=DMARC1; p={self._args.dmarc_policy}; rua=mailto:postmaster@{domain}"],
        )
        sender = identity.mail_from_domain
        self.record(domain, sender, "MX", [f"10 {regions.feedback_host(region)}"])
        self.record(domain, sender, "TXT", ["v=spf1 include:amazonses.com -all"])
        for index, token in enumerate(identity.dkim_tokens):
            aws.route53.Record(
                f"{domain}-dkim-{index + 1}",
                zone_id=self.zone_ids[domain],
                name=token.apply(lambda text, domain=domain: f"{text}._domainkey.{domain}"),
                type="CNAME",
                ttl=_TTL_SECONDS,
                records=[token.apply(lambda text: regions.dkim_target(text, region))],
                opts=pulumi.ResourceOptions(parent=self),
            )

    def record(
        self, domain: str, name: str, record_type: str, values: Sequence[pulumi.Input[str]]
    ) -> None:
        """One record set of `domain`'s zone."""
        aws.route53.Record(
            f"{name}-{record_type.lower()}",
            zone_id=self.zone_ids[domain],
            name=name,
            type=record_type,
            ttl=_TTL_SECONDS,
            records=list(values),
            opts=pulumi.ResourceOptions(parent=self),
        )
