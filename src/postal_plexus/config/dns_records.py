"""The DNS records of a stack's domains: what they should be, and whether what was found is that.

`mail_records` is what the program writes. `expected` is all that the world should find, and
`judge` compares. A record set without values stands for one whose values are known only to AWS:
something has to be there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from postal_plexus.autoconfig import (
    MtaStsMode,
    MtaStsPolicy,
    client_records,
    site_records,
    txt_value,
)
from postal_plexus.autoconfig.records import Record
from postal_plexus.config import regions
from postal_plexus.config.settings import Settings

MAIL_FROM_LABEL = "bounce"
"""The envelope sender's subdomain: SPF passes for it, so it aligns with the domain."""


@dataclass(frozen=True)
class Made:
    """What only a deployment knows, of the stack's outputs.

    `name_servers`: domain to those of its zone (an adopted one has none here); `dkim`: domain to
    names and targets of its CNAME records; `address`: the mail host's IPv4.
    """

    name_servers: Mapping[str, Sequence[str]] = field(default_factory=dict[str, list[str]])
    dkim: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict[str, list[list[str]]])
    address: str = ""


class State(Enum):
    """What a look at a record set showed."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"


def mail_records(
    domain: str, *, region: str, dmarc: str, texts: Sequence[str] = ()
) -> tuple[Record, ...]:
    """What makes a domain receive, and be believed: MX, SPF, DMARC, and the MAIL FROM subdomain.

    `texts` are other TXT values of the domain's own name, which share its record set.
    """
    sender = f"{MAIL_FROM_LABEL}.{domain}"
    return (
        Record(domain, "MX", (f"10 {regions.inbound_host(region)}",)),
        # What is sent bears the MAIL FROM below; this is for those who check the bare domain.
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
    """All that should be found of each domain."""
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
        records += client_records(client, tls_reports=f"postmaster@{domain}", sieve=True)
        address = (made.address,) if made.address else ()
        hosts = {client.host: None}
        if settings.mail_host.endswith(f".{domain}"):
            hosts[settings.mail_host] = None
        for host in hosts:
            records += [Record(host, "A", address), Record(host, "AAAA", ())]
        if settings.client_setup:
            records += site_records(client, policy)
            records += [Record(name, "A", ()) for name in client.site_names]
        found[domain] = records
    return found


def judge(record: Record, found: Collection[str]) -> State:
    """Whether these values, as a resolver shows them, are the record set.

    Of TXT only what begins as ours does (`v=spf1`) counts, and there must be no second of it; other
    texts may stand beside.
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
    """The version that a policy's text begins with, such as `v=spf1`; else the whole text."""
    first = text.replace(";", " ").split(" ", 1)[0]
    return first if first.startswith("v=") else text


def _plain(value: str) -> str:
    """A value without what differs between writing and reading it."""
    return value.replace('""', "").removesuffix(".").strip().lower()
