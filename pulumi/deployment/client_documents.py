"""The policy documents of the certificate task and the clients' site, plain data like `documents`.

Sources: certbot-dns-route53's needs, https://certbot-dns-route53.readthedocs.io; condition keys on
record sets, https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html.
"""

from collections.abc import Sequence

from deployment import documents

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: inline, of a role.
MAX_ROLE_POLICY = 10_240


def certificate_task(zone_arns: Sequence[str], names: Sequence[str]) -> str:
    """Allow certbot to set the challenges of exactly these host names in these zones, and no more.

    With this role one can get certificates for these names, but not for the domain, its web site or
    any other name, and cannot change any record that mail depends on. Listing zones and reading the
    state of a change cannot be limited to a resource before it is known.
    """
    challenges = sorted(f"_acme-challenge.{name}" for name in names)
    text = documents.document(
        {
            "Sid": "AnswerChallenges",
            "Effect": "Allow",
            "Action": ["route53:ChangeResourceRecordSets"],
            "Resource": sorted(zone_arns),
            "Condition": {
                "ForAllValues:StringEquals": {
                    "route53:ChangeResourceRecordSetsNormalizedRecordNames": challenges,
                    "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
                    "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
                }
            },
        },
        {
            "Sid": "FindZones",
            "Effect": "Allow",
            "Action": ["route53:ListHostedZones"],
            "Resource": ["*"],
        },
        {
            "Sid": "AwaitChanges",
            "Effect": "Allow",
            "Action": ["route53:GetChange"],
            "Resource": ["arn:aws:route53:::change/*"],
        },
    )
    if len(text) > MAX_ROLE_POLICY:
        raise ValueError(
            f"the certificate of {len(names)} host names needs a policy of {len(text)} characters, "
            f"and IAM takes {MAX_ROLE_POLICY}: set postal-plexus:client-hosts to shared"
        )
    return text


def site_bucket(bucket_arn: str, distribution_arns: Sequence[str]) -> str:
    """Allow CloudFront to read the site for our distributions, and deny access without TLS.

    With permission to list, S3 answers 404 instead of 403 for a missing file.
    """
    statements = [documents.bucket_by_tls_only(bucket_arn)]
    if distribution_arns:
        statements += [
            {
                "Sid": sid,
                "Effect": "Allow",
                "Principal": {"Service": "cloudfront.amazonaws.com"},
                "Action": action,
                "Resource": resource,
                "Condition": {"StringEquals": {"aws:SourceArn": sorted(distribution_arns)}},
            }
            for sid, action, resource in (
                ("OurDistributionsRead", "s3:GetObject", f"{bucket_arn}/*"),
                ("OurDistributionsMiss", "s3:ListBucket", bucket_arn),
            )
        ]
    return documents.document(*statements)
