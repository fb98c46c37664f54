"""The DNS records that lead clients and senders to us, as data that Route 53 takes as it is.

`values` are in the form that Pulumi's and Terraform's Route 53 record takes: TXT without the outer
quotes (the provider adds them), host names absolute with a trailing dot. Addresses of the hosts are
not here: they are known only when the program runs.

CAA records sit on the names that this stack serves, not on the domain: on an adopted zone they must
not forbid the authority that the domain's web site uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postal_plexus.autoconfig.services import ABSENT, SERVICES, SIEVE

if TYPE_CHECKING:
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
) -> tuple[Record, ...]:
    """What any domain has: SRV for each service, TLS-RPT, and who may certify the client host.

    `tls_reports` is the address that reports of failed TLS go to. The CAA record stands in the
    domain that the host belongs to, so it is left out where a domain uses another domain's host.
    """
    domain = setup.domain
    offered = (*SERVICES, SIEVE) if sieve else SERVICES
    records = [
        Record(f"_{service.name}._tcp.{domain}", "SRV", (f"0 1 {service.port} {setup.host}.",))
        for service in offered
    ]
    records += [Record(f"_{label}._tcp.{domain}", "SRV", ("0 0 0 .",)) for label in ABSENT]
    # RFC 8460 section 3: senders report here, once a day.
    rua = f"v=TLSRPTv1; rua=mailto:{tls_reports}"
    records.append(Record(f"_smtp._tls.{domain}", "TXT", (txt_value(rua),)))
    if setup.host.endswith(f".{domain}"):
        # RFC 8657: by DNS-01 only, so that a new owner of the address gets no certificate.
        issue = f'0 issue "{certificate_authority}; validationmethods=dns-01"'
        records.append(Record(setup.host, "CAA", (issue, '0 issuewild ";"')))
    return tuple(records)


def site_records(setup: ClientSetup, policy: MtaStsPolicy) -> tuple[Record, ...]:
    """What a domain has once its web site answers: autodiscover, MTA-STS, CAA.

    Not before: a sender that finds the MTA-STS record but no policy logs a failure, and a client
    that finds the SRV record waits for a time-out. The addresses of the site (aliases of the
    distribution) are made by the program.
    """
    domain = setup.domain
    return (
        Record(f"_autodiscover._tcp.{domain}", "SRV", (f"0 0 443 {setup.autodiscover}.",)),
        Record(f"_mta-sts.{domain}", "TXT", (f"v=STSv1; id={policy.id};",), ttl=300),
        *(Record(name, "CAA", ('0 issue "amazon.com"',)) for name in setup.site_names),
    )


def txt_value(text: str) -> str:
    """A TXT value of any length in the provider's form: strings of 255 bytes, joined by `""`."""
    return '""'.join(text[start : start + 255] for start in range(0, len(text), 255))
