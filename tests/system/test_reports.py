"""`plexus reports` on the desk: reports that came by mail, found without Pulumi."""

from __future__ import annotations

import gzip
import json
import uuid
from email.message import EmailMessage

from system.desk import Desk
from wire import await_true

REPORT = """<?xml version="1.0"?><feedback><report_metadata><org_name>receiver.example</org_name>
<report_id>{id}</report_id><date_range><begin>1793000000</begin><end>1793086399</end></date_range>
</report_metadata><policy_published><domain>{domain}</domain><p>none</p></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated>
<disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>{domain}</header_from></identifiers></record></feedback>"""


def report_on(domain: str) -> bytes:
    message = EmailMessage()
    message["From"] = "dmarc@receiver.example"
    message["Subject"] = f"Report Domain: {domain} Submitter: receiver.example Report-ID: 1"
    message.set_content("A report.")
    packed = gzip.compress(REPORT.format(domain=domain, id=uuid.uuid4().hex).encode())
    message.add_attachment(packed, "application", "gzip", filename="r!d!1!2.xml.gz")
    return message.as_bytes()


def test_reports_that_came_by_mail_are_told(desk: Desk) -> None:
    """Reports of unauthenticated senders are left out; messages without a report do no harm."""
    proved, forged = (f"{uuid.uuid4().hex}.example" for _ in range(2))
    desk.receive("dmarc@receiver.example", [desk.ann], report_on(proved))
    desk.receive_with_verdicts(report_on(forged), desk.ann)

    def found() -> dict[str, object]:
        run = desk.operate("reports", "--json")
        assert run.returncode == 0, run.stderr
        document = json.loads(run.stdout)
        domains = {each["domain"]: each for each in document["dmarc"]}
        return domains if proved in domains else {}

    domains = await_true("the report", found)
    assert forged not in domains
    assert (7, 7) == (domains[proved]["mails"], domains[proved]["passed"])
