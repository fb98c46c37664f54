"""The domains' public DNS: Route 53 zones (created or adopted) and their records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pulumi_aws as aws

import pulumi
from deployment.identities import Identity
from deployment.stack import Stack
from postal_plexus.autoconfig import ClientSetup, client_records, domain_of
from postal_plexus.config import regions
from postal_plexus.config.dns_records import mail_records
from postal_plexus.config.settings import Settings

# Long enough to be cheap, short enough to correct a mistake within the hour.
_TTL_SECONDS = 3600

# The address is fixed, but if it must change one day, clients should not wait for an hour.
_ADDRESS_TTL_SECONDS = 300


@dataclass(frozen=True)
class ZonesArgs:
    """`existing`: domain -> id of a zone to adopt instead of creating one; `txt`: its other texts.

    `clients` are the domains' client hosts. `hosts` has the names that lead to each mail host, with
    its addresses by IPv4 and IPv6.
    """

    stack: Stack
    identities: Sequence[Identity]
    clients: Sequence[ClientSetup]
    hosts: Sequence[tuple[Sequence[str], pulumi.Input[str], pulumi.Input[str]]]
    existing: Mapping[str, str]
    txt: Mapping[str, Sequence[str]]
    dmarc: Callable[[str], str]


def names_of_hosts(settings: Settings) -> list[list[str]]:
    """Return the names that lead to each host: its own, and those of its domains' clients."""
    names = [[each] for each in settings.host_names]
    taken = {"", settings.mail_host}
    for domain, client in zip(settings.directory.domains, settings.clients, strict=True):
        for host in (client.host, client.webmail):
            if host not in taken:
                taken.add(host)
                names[domain.home - 1].append(host)
    return names


class Zones(pulumi.ComponentResource):
    """One zone per domain with its mail records; `name_servers` is what the registrar needs.

    `dkim_records`: names and targets of each domain's CNAME records.
    """

    def __init__(
        self, name: str, args: ZonesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Zones", name, None, opts)
        self._args = args
        self.zone_ids: dict[str, pulumi.Input[str]] = {}
        self.name_servers: dict[str, pulumi.Output[Sequence[str]]] = {}
        self.dkim_records: dict[str, list[list[pulumi.Output[str]]]] = {}
        for identity, client in zip(args.identities, args.clients, strict=True):
            self._zone(identity.domain)
            self._mail_records(identity)
            for record in client_records(
                client,
                tls_reports=f"postmaster@{identity.domain}",
                sieve=True,
                domains=[each.domain for each in args.clients],
            ):
                self.record(identity.domain, record.name, record.type, record.values, record.ttl)
        self._delegate_subdomains()
        for names, ipv4, ipv6 in args.hosts:
            for host in names:
                domain = domain_of(host, self.zone_ids)
                self.record(domain, host, "A", [ipv4], _ADDRESS_TTL_SECONDS)
                self.record(domain, host, "AAAA", [ipv6], _ADDRESS_TTL_SECONDS)
        self.register_outputs({"name_servers": self.name_servers})

    def _zone(self, domain: str) -> None:
        if domain in self._args.existing:
            self.zone_ids[domain] = self._args.existing[domain]
            return
        zone = aws.route53.Zone(
            domain,
            name=domain,
            comment="Postal Plexus",
            # Deleting a zone changes its name servers permanently: mail would stop for days.
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
        )
        self.zone_ids[domain] = zone.zone_id
        self.name_servers[domain] = zone.name_servers

    def _delegate_subdomains(self) -> None:
        """Delegate a zone of the stack that is below another zone of the stack."""
        for domain, servers in self.name_servers.items():
            if parent := domain_of(domain, self.zone_ids):
                self.record(parent, domain, "NS", servers)

    def _mail_records(self, identity: Identity) -> None:
        domain, region = identity.domain, self._args.stack.region
        for record in mail_records(
            domain,
            region=region,
            dmarc=self._args.dmarc(domain),
            texts=self._args.txt.get(domain, ()),
        ):
            self.record(domain, record.name, record.type, record.values)
        keys = [
            (
                token.apply(lambda text: f"{text}._domainkey.{domain}"),
                token.apply(lambda text: regions.dkim_target(text, region)),
            )
            for token in identity.dkim_tokens
        ]
        for index, (name, target) in enumerate(keys):
            aws.route53.Record(
                f"{domain}-dkim-{index + 1}",
                zone_id=self.zone_ids[domain],
                name=name,
                type="CNAME",
                ttl=_TTL_SECONDS,
                records=[target],
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.dkim_records[domain] = [list(pair) for pair in keys]

    def record(
        self,
        domain: str,
        name: str,
        record_type: str,
        values: pulumi.Input[Sequence[pulumi.Input[str]]],
        ttl: int = _TTL_SECONDS,
    ) -> None:
        """Create one record set in `domain`'s zone."""
        aws.route53.Record(
            f"{name}-{record_type.lower()}",
            zone_id=self.zone_ids[domain],
            name=name,
            type=record_type,
            ttl=ttl,
            records=pulumi.Output.from_input(values).apply(list),
            opts=pulumi.ResourceOptions(parent=self),
        )
