"""The DNS records of a stack's domains: what they should be, and whether the found ones match.

`mail_records` are those that the program writes. `expected` lists everything that should be
publicly visible, and `judge` compares. A record set without values stands for one whose values only
AWS knows: any value will do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from postal_plexus.autoconfig import (
    MtaStsMode,
    MtaStsPolicy,
    client_records,
    domain_of,
    site_records,
    txt_value,
)
from postal_plexus.autoconfig.records import Record
from postal_plexus.config import regions
from postal_plexus.config.settings import Settings

MAIL_FROM_LABEL = "bounce"
"""The envelope sender's subdomain.

SPF passes for it, and it aligns with the domain (RFC 7489, 3.1).
"""


@dataclass(frozen=True)
class Made:
    """Values from the stack's outputs that only a deployment knows.

    `name_servers`: for each domain, those of its zone (adopted zones are not included); `dkim`: for
    each domain, names and targets of its CNAME records; `address`: the mail host's IPv4 address.
    """

    name_servers: Mapping[str, Sequence[str]] = field(default_factory=dict[str, list[str]])
    dkim: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict[str, list[list[str]]])
    address: str = ""


class State(Enum):
    """The state of a record set."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"


def mail_records(
    domain: str, *, region: str, dmarc: str, texts: Sequence[str] = ()
) -> tuple[Record, ...]:
    """Return the records for receiving and authentic mail: MX, SPF, DMARC, MAIL FROM.

    `texts` are other TXT values of the domain itself, which share its record set.
    """
    sender = f"{MAIL_FROM_LABEL}.{domain}"
    return (
        Record(domain, "MX", (f"10 {regions.inbound_host(region)}",)),
        # Outgoing mail uses the MAIL FROM below. This record is for receivers that check the bare
        # domain.
        Record(
            domain,
            "TXT",
            ("v=spf1 include:amazonses.com ~all", *(txt_value(each) for each in texts)),
        ),
        Record(
            f"_dmarc.{domain}", "TXT", (f"v=DMARC1; p={dmarc}; rua=mailto:postmaster@{domain}",)
        ),
        Record(sender, "MX", (f"10 {regions.feedback_host(region)}",)),
        Record(sender, "TXT", ("v=spf1 include:amazonses.com -all",)),
    )


def expected(settings: Settings, made: Made) -> dict[str, list[Record]]:
    """Return all records that should be found for each domain."""
    policy = MtaStsPolicy((regions.inbound_host(settings.region),), MtaStsMode(settings.mta_sts))
    found: dict[str, list[Record]] = {}
    for client in settings.clients:
        domain = client.domain
        records = [Record(domain, "NS", tuple(made.name_servers.get(domain, ())))]
        records += mail_records(
            domain,
            region=settings.region,
            dmarc=settings.dmarc(domain),
            texts=settings.txt_records.get(domain, ()),
        )
        records += [Record(name, "CNAME", (target,)) for name, target in made.dkim.get(domain, ())]
        records += client_records(
            client, tls_reports=f"postmaster@{domain}", sieve=True, domains=settings.domains
        )
        address = (made.address,) if made.address else ()
        hosts = dict.fromkeys(filter(None, (client.host, client.webmail)))
        if domain_of(settings.mail_host, settings.domains) == domain:
            hosts[settings.mail_host] = None
        for host in hosts:
            records += [Record(host, "A", address), Record(host, "AAAA", ())]
        if settings.client_setup:
            records += site_records(client, policy)
            records += [Record(name, "A", ()) for name in client.site_names]
        found[domain] = records
    return found


def judge(record: Record, found: Collection[str]) -> State:
    """Return whether the values that a resolver returned match the record set.

    Of TXT values, only those with the same version as ours (`v=spf1`) count, and there must be only
    one of them. Other texts are allowed.
    """
    values = {_plain(value) for value in found}
    wanted = {_plain(value) for value in record.values}
    if record.type == "TXT":
        kinds = {_kind(value) for value in wanted}
        values = {value for value in values if value in wanted or _kind(value) in kinds}
    if not values:
        return State.MISSING
    return State.OK if not wanted or values == wanted else State.WRONG


def _kind(text: str) -> str:
    """Return the version that a policy's text begins with, such as `v=spf1`, or the whole text."""
    first = text.replace(";", " ").split(" ", 1)[0]
    return first if first.startswith("v=") else text


def _plain(value: str) -> str:
    """Return a value without the differences between its written and its returned form."""
    return value.replace('""', "").removesuffix(".").strip().lower()
