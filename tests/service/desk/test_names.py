"""The daemon answers DNS from the account's zones, over UDP and TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rcode
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.desk.account import MailAccount


@pytest.mark.parametrize("ask", [dns.query.udp, dns.query.tcp], ids=["udp", "tcp"])
def test_a_record_of_a_zone_is_answered(
    account: MailAccount, ask: Callable[..., dns.message.Message]
) -> None:
    """What was written through Route 53's API; other names are refused or unknown."""
    route53 = account.desk.client("route53")
    zone = route53.create_hosted_zone(Name="names.example", CallerReference=ask.__name__)
    route53.change_resource_record_sets(
        HostedZoneId=zone["HostedZone"]["Id"],
        ChangeBatch={
            "Changes": [
                {
                    "Action": "UPSERT",
                    "ResourceRecordSet": {
                        "Name": "names.example",
                        "Type": "MX",
                        "TTL": 300,
                        "ResourceRecords": [{"Value": "10 inbound-smtp.us-east-1.amazonaws.com."}],
                    },
                }
            ]
        },
    )
    port = account.desk.settings.ports.dns
    answer = ask(dns.message.make_query("names.example", "MX"), "127.0.0.1", 5, port)
    assert ["10 inbound-smtp.us-east-1.amazonaws.com."] == [
        str(record) for record in answer.answer[0]
    ]
    unknown = ask(dns.message.make_query("elsewhere.example", "A"), "127.0.0.1", 5, port)
    assert dns.rcode.NOERROR != unknown.rcode()
