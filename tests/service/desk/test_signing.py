"""What SES adds to a mail that it sends: DKIM signatures and the envelope sender, by the zones."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import dns.resolver
import pytest

from receiving_server import Findings, examine, resolver_at
from service.desk.account import MailAccount
from service.desk.test_sending import MAIL, outbox, submit

DOMAIN = "signed.example"
SES_ADDRESS = "192.0.2.25"
POLICY = f"v=DMARC1; p=quarantine; rua=mailto:d@{DOMAIN}"


class Domain:
    """A domain of the account with the records that SES asks for, or without some."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._route53 = account.desk.client("route53")
        made = self._route53.create_hosted_zone(Name=DOMAIN, CallerReference=DOMAIN)
        self._zone = made["HostedZone"]["Id"]
        self._user = account.smtp_user()
        self.tokens = account.sesv2.create_email_identity(EmailIdentity=DOMAIN)["DkimAttributes"][
            "Tokens"
        ]
        account.sesv2.put_email_identity_mail_from_attributes(
            EmailIdentity=DOMAIN, MailFromDomain=f"bounce.{DOMAIN}"
        )

    @property
    def resolver(self) -> dns.resolver.Resolver:
        return resolver_at("127.0.0.1", self._account.desk.settings.ports.dns)

    def change(self, action: str, *records: tuple[str, str, str]) -> None:
        """UPSERT or DELETE records: name, type, value."""
        self._route53.change_resource_record_sets(
            HostedZoneId=self._zone,
            ChangeBatch={
                "Changes": [
                    {
                        "Action": action,
                        "ResourceRecordSet": {
                            "Name": f"{name}.{DOMAIN}" if name else DOMAIN,
                            "Type": kind,
                            "TTL": 300,
                            "ResourceRecords": [{"Value": value}],
                        },
                    }
                    for name, kind, value in records
                ]
            },
        )

    def dkim_records(self, target: str = "dkim.amazonses.com") -> list[tuple[str, str, str]]:
        return [(f"{token}._domainkey", "CNAME", f"{token}.{target}") for token in self.tokens]

    def send(self, content: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Hand a mail in; envelope and content of what left."""
        sender = f"ann@{DOMAIN}"
        content = content or (MAIL % (b"f@e.example", b"signed")).replace(
            b"ann@example.org", sender.encode()
        )
        code, text = submit(self._account, self._user, ["f@e.example"], content, sender=sender)
        assert 250 == code, text
        return outbox(self._account, text.split()[1])

    def findings(self, envelope: dict[str, Any], content: bytes) -> Findings:
        return examine(self.resolver, content, envelope["return_path"], SES_ADDRESS, "out.example")


@pytest.fixture(scope="module")
def domain(account: MailAccount) -> Domain:
    """Provide the domain, with its DMARC record and nothing else yet."""
    made = Domain(account)
    made.change("UPSERT", ("_dmarc", "TXT", f'"{POLICY}"'))
    return made


@pytest.fixture
def complete(domain: Domain) -> Iterator[Domain]:
    """Provide the domain with all records."""
    records = [
        *domain.dkim_records(),
        ("bounce", "MX", "10 feedback-smtp.us-east-1.amazonses.com"),
        ("bounce", "TXT", '"v=spf1 include:amazonses.com -all"'),
    ]
    domain.change("UPSERT", *records)
    yield domain
    domain.change("DELETE", *records)


pytestmark = pytest.mark.filterwarnings("ignore:please use dns.resolver.resolve:DeprecationWarning")


def test_without_its_records_a_mail_leaves_under_amazons_name(domain: Domain) -> None:
    """Amazon's signature and envelope sender only: valid, but nothing that DMARC accepts."""
    envelope, content = domain.send()
    assert envelope["return_path"].endswith("@amazonses.com")
    assert Findings({"amazonses.com": True}, "pass", "fail, quarantine") == domain.findings(
        envelope, content
    )


def test_with_its_records_a_mail_leaves_under_its_own_name(complete: Domain) -> None:
    """Both signatures, the MAIL FROM domain; DMARC passes. The keys are Amazon's, by CNAME."""
    envelope, content = complete.send()
    assert envelope["return_path"].endswith(f"@bounce.{DOMAIN}")
    expected = Findings({DOMAIN: True, "amazonses.com": True}, "pass", "pass")
    assert expected == complete.findings(envelope, content)
    first = message_from_bytes(content).get_all("DKIM-Signature")[0]
    assert f"s={complete.tokens[0]}" in first.replace(" ", "").replace("\r\n", "")
    answer = complete.resolver.resolve(f"{complete.tokens[1]}._domainkey.{DOMAIN}", "TXT")
    assert f"{complete.tokens[1]}.dkim.amazonses.com." == str(answer.canonical_name)


@pytest.mark.parametrize("field", [b"From", b"Subject", b"To"])
def test_a_changed_field_breaks_both_signatures(complete: Domain, field: bytes) -> None:
    """What people read is signed."""
    envelope, content = complete.send()
    changed = content.replace(field + b": ", field + b": x", 1)
    assert {DOMAIN: False, "amazonses.com": False} == complete.findings(envelope, changed).dkim


def test_one_signature_or_spf_is_enough_for_dmarc(complete: Domain) -> None:
    """Without DKIM's records SPF carries it; without SPF's, DKIM does."""
    complete.change("DELETE", complete.dkim_records()[2])
    envelope, content = complete.send()
    complete.change("UPSERT", complete.dkim_records()[2])
    assert Findings({"amazonses.com": True}, "pass", "pass") == complete.findings(envelope, content)
    envelope, content = complete.send()
    forwarded = examine(
        complete.resolver, content, envelope["return_path"], "198.51.100.7", "x.example"
    )
    assert Findings({DOMAIN: True, "amazonses.com": True}, "fail", "pass") == forwarded


def test_records_that_lead_elsewhere_do_not_count(complete: Domain) -> None:
    """A CNAME with a slip in its target is no Easy DKIM."""
    complete.change("UPSERT", *complete.dkim_records("dkim.amazonses.example"))
    envelope, content = complete.send()
    complete.change("UPSERT", *complete.dkim_records())
    assert {"amazonses.com": True} == complete.findings(envelope, content).dkim


def test_a_mail_that_cannot_be_signed_is_sent(complete: Domain) -> None:
    """A header that is no header costs the signature, not the mail."""
    envelope, content = complete.send(f"From: ann@{DOMAIN}\r\nno field\r\n\r\nx\r\n".encode())
    assert {} == complete.findings(envelope, content).dkim
    assert content.endswith(b"no field\r\n\r\nx\r\n")


def test_the_keys_of_nobody_are_not_served(domain: Domain) -> None:
    """Amazon knows the tokens of its identities only."""
    with pytest.raises(dns.resolver.NoNameservers):
        domain.resolver.resolve("nobodys.dkim.amazonses.com", "TXT")
