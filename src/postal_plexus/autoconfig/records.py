"""The DNS records for clients and senders, in the form that Route 53 accepts.

`values` have the form of Pulumi's and Terraform's Route 53 record: TXT without the outer quotes
(the provider adds them), host names absolute with a trailing dot. Addresses of the hosts are not
included, because they are known only when the program runs.

CAA records are on the names that this stack serves, not on the domain: in an adopted zone they must
not forbid the authority that the domain's web site uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postal_plexus.autoconfig.hosts import domain_of
from postal_plexus.autoconfig.services import ABSENT, ABSENT_DAV, DAV, DAV_PATH, SERVICES, SIEVE

if TYPE_CHECKING:
    from collections.abc import Collection

    from postal_plexus.autoconfig.hosts import ClientSetup
    from postal_plexus.autoconfig.mta_sts import MtaStsPolicy

HOUR = 3600
LETS_ENCRYPT = "letsencrypt.org"


@dataclass(frozen=True)
class Record:
    """One record set. `name` is absolute, without a trailing dot; `ttl` in seconds."""

    name: str
    type: str
    values: tuple[str, ...]
    ttl: int = HOUR


def client_records(
    setup: ClientSetup,
    *,
    tls_reports: str,
    sieve: bool = False,
    certificate_authority: str = LETS_ENCRYPT,
    domains: Collection[str] = (),
) -> tuple[Record, ...]:
    """Return the records of any domain: SRV for each service, TLS-RPT, and the client host's CAA.

    `tls_reports` is the address for reports of failed TLS. A CAA record is in the domain to which
    the host belongs, so it is omitted if a domain uses another domain's host. `domains` are all of
    the stack: the host may belong to one below this.
    """
    domain = setup.domain
    offered = (*SERVICES, SIEVE) if sieve else SERVICES
    absent = ABSENT
    if setup.calendars:
        offered, absent = (*offered, *DAV), (*absent, *ABSENT_DAV)
    records = [
        Record(f"_{service.name}._tcp.{domain}", "SRV", (f"0 1 {service.port} {setup.host}.",))
        for service in offered
    ]
    records += [Record(f"_{label}._tcp.{domain}", "SRV", ("0 0 0 .",)) for label in absent]
    if setup.calendars:
        # RFC 6764 section 4: where a client begins.
        records += [
            Record(f"_{service.name}._tcp.{domain}", "TXT", (f"path={DAV_PATH}",))
            for service in DAV
        ]
    # RFC 8460 section 3: senders report to this address, once a day.
    rua = f"v=TLSRPTv1; rua=mailto:{tls_reports}"
    records.append(Record(f"_smtp._tls.{domain}", "TXT", (txt_value(rua),)))
    # RFC 8657: by DNS-01 only, so that a new owner of the IP address gets no certificate.
    issue = f'0 issue "{certificate_authority}; validationmethods=dns-01"'
    records += [
        Record(host, "CAA", (issue, '0 issuewild ";"'))
        for host in dict.fromkeys((setup.host, setup.webmail))
        if domain_of(host, (domain, *domains)) == domain
    ]
    return tuple(records)


def site_records(setup: ClientSetup, policy: MtaStsPolicy) -> tuple[Record, ...]:
    """Return the records of a domain whose web site is available: autodiscover, MTA-STS, CAA.

    They must not exist before: a sender that finds the MTA-STS record but no policy logs a failure,
    and a client that finds the SRV record waits for a time-out. The program creates the site's
    addresses (aliases of the distribution).
    """
    domain = setup.domain
    return (
        Record(f"_autodiscover._tcp.{domain}", "SRV", (f"0 0 443 {setup.autodiscover}.",)),
        Record(f"_mta-sts.{domain}", "TXT", (f"v=STSv1; id={policy.id};",), ttl=300),
        *(Record(name, "CAA", ('0 issue "amazon.com"',)) for name in setup.site_names),
    )


def txt_value(text: str) -> str:
    """Return a TXT value in the provider's form: strings of 255 bytes, joined by `""`."""
    return '""'.join(text[start : start + 255] for start in range(0, len(text), 255))
