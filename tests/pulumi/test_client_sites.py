"""The sites from which clients read their settings, as they are registered."""

import json

import pytest
from client_components import (
    ORG,
    POLICY,
    policies,
    program_on_path,  # noqa: F401  used by every test
    sites,
    strict,
)
from registrations import ACCOUNT, REGION


def test_the_first_run_makes_certificates_and_waits_for_nothing():
    """Before delegation: certificates, their validation records, no distribution, no failure."""
    found, pending = sites()

    strict(found)
    assert ["example.org", "example.net"] == pending
    assert 2 == len(found.of("aws:acm/certificate:Certificate"))
    assert [] == found.of("aws:cloudfront/distribution:Distribution")
    assert [] == found.of("aws:acm/certificateValidation:CertificateValidation")
    records = {e.inputs["name"]: e.inputs for e in found.of("aws:route53/record:Record")}
    assert 6 == len(records)
    assert ["_3c4d.mta-sts.acm-validations.aws."] == records["_1a2b.mta-sts.example.net."][
        "records"
    ]
    assert "ZNET" == records["_1a2b.mta-sts.example.net."]["zoneId"]


def test_a_domain_is_completed_on_its_own_and_nothing_is_replaced():
    """With one certificate issued that domain gets its site; what was there stays as it was."""
    before, _ = sites()
    after, pending = sites("example.org")

    assert ["example.net"] == pending
    assert {e.urn for e in before.registrations} < {e.urn for e in after.registrations}
    kept = {e.urn: e.inputs for e in before.custom if "bucketPolicy" not in e.type}
    assert kept == {e.urn: e.inputs for e in after.custom if e.urn in kept}
    distribution = after.one("aws:cloudfront/distribution:Distribution").inputs
    assert list(ORG.site_names) == distribution["aliases"]


def test_sites_are_registered_alike_in_preview_and_update():
    """Nothing is made inside `apply`."""
    for issued in ((), ("example.org",), ("example.org", "example.net")):
        update, preview = sites(*issued)[0], sites(*issued, preview=True)[0]
        strict(update, preview)
        assert [e.urn for e in update.registrations] == [e.urn for e in preview.registrations]


def test_a_failed_look_at_acm_takes_no_site_down():
    """Only "there is none" counts as none; all else ends the run with AWS's words."""
    with pytest.raises(Exception, match="AccessDenied"):
        sites("example.org", trouble="reading ACM Certificates: AccessDenied")


def test_a_distribution_serves_https_with_the_domains_certificate():
    """TLS 1.2 at least, redirect from http, POST for Outlook, the function before the files."""
    distribution = sites("example.org")[0].one("aws:cloudfront/distribution:Distribution").inputs
    behaviour = distribution["defaultCacheBehavior"]

    assert "TLSv1.2_2021" == distribution["viewerCertificate"]["minimumProtocolVersion"]
    assert "redirect-to-https" == behaviour["viewerProtocolPolicy"]
    assert "POST" in behaviour["allowedMethods"]
    assert "viewer-request" == behaviour["functionAssociations"][0]["eventType"]
    assert ["/example.org"] == [origin["originPath"] for origin in distribution["origins"]]


def test_the_files_and_the_names_of_a_domain_are_all_there():
    """Every file at its key with its type; A and AAAA for each name; SRV, MTA-STS and CAA."""
    found = sites("example.org")[0]
    objects = {e.inputs["key"]: e.inputs for e in found.of("aws:s3/bucketObjectv2:BucketObjectv2")}
    records = {(e.inputs["name"], e.inputs["type"]) for e in found.of("aws:route53/record:Record")}

    assert POLICY.text.decode() == objects["example.org/.well-known/mta-sts.txt"]["content"]
    assert (
        "application/x-apple-aspen-config"
        == objects["example.org/apple.mobileconfig"]["contentType"]
    )
    assert 6 == len(objects)
    for name in ORG.site_names:
        assert {(name, "A"), (name, "AAAA"), (name, "CAA")} <= records
    assert {("_mta-sts.example.org", "TXT"), ("_autodiscover._tcp.example.org", "SRV")} <= records
    assert not [name for name, kind in records if kind == "TXT" and name.endswith("example.net")]


def test_shared_hosts_reach_the_edge_function():
    """With `client-hosts: shared` Outlook is told the stack's host."""
    found = sites("example.org", shared_host="mail.example.org")[0]
    code = found.one("aws:cloudfront/function:Function").inputs["code"]

    assert 'var SHARED_HOST = "mail.example.org";' in code


@pytest.mark.parametrize(
    ("action", "source", "expected"),
    [
        ("s3:GetObject", "plexus-main-clients-example.org", True),
        ("s3:GetObject", "a-strangers", False),
        ("s3:PutObject", "plexus-main-clients-example.org", False),
    ],
)
def test_the_bucket_is_read_by_our_distributions_only(action, source, expected):
    """By CloudFront's service principal, for the ARNs of these distributions."""
    statements = json.loads(policies()["bucket"])["Statement"]
    arn = f"arn:aws:cloudfront:{REGION}:{ACCOUNT}:Distribution/{source}"
    granted = [
        s
        for s in statements
        if s["Effect"] == "Allow"
        and s["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        and s["Action"] == action
        and arn in s["Condition"]["StringEquals"]["aws:SourceArn"]
    ]

    assert expected == bool(granted)
    assert ["TlsOnly"] == [s["Sid"] for s in statements if s["Effect"] == "Deny"]
