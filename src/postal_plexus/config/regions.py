"""Regions where SES provides what this system needs, and the regional names of its endpoints.

Source: AWS General Reference, "Amazon Simple Email Service endpoints and quotas",
https://docs.aws.amazon.com/general/latest/gr/ses.html (email receiving endpoints, SMTP endpoints,
DKIM domains), as known in 2026-11. When AWS adds a region, add it here.
"""

RECEIVING = frozenset(
    {
        "af-south-1",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-south-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-south-1",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    }
)
"""Regions where SES receives mail."""

WITHOUT_SMTP = frozenset({"af-south-1", "ap-southeast-3", "eu-south-1"})
"""Of these, the regions whose SES has no SMTP endpoint."""

WITHOUT_EC2_IPV6 = frozenset({"ap-northeast-3", "ap-southeast-3", "il-central-1"})
"""Of these, the regions whose EC2 API cannot be reached by IPv6.

They have no ec2.REGION.api.aws in https://docs.aws.amazon.com/general/latest/gr/ec2-service.html.
A host there needs a public IPv4 address of its own to request the stack's.
"""

_OWN_DKIM_DOMAIN = frozenset(
    {
        "af-south-1",
        "ap-northeast-3",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-5",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "il-central-1",
        "me-central-1",
        "us-gov-east-1",
    }
)


def fault_of(region: str) -> str | None:
    """Return why a stack cannot run in `region`, or None."""
    if region not in RECEIVING:
        return "SES does not receive mail there"
    if region in WITHOUT_SMTP:
        return "SES has no SMTP endpoint there, which Postfix sends through"
    return None


def usable() -> list[str]:
    """Return the regions where a stack can run."""
    return sorted(RECEIVING - WITHOUT_SMTP)


def inbound_host(region: str) -> str:
    """Return the target of MX records, where other servers deliver mail."""
    return f"inbound-smtp.{region}.amazonaws.com"


def smtp_host(region: str) -> str:
    """Return the SMTP endpoint to which Postfix relays."""
    return f"email-smtp.{region}.amazonaws.com"


def feedback_host(region: str) -> str:
    """Return the MX target of a custom MAIL FROM domain."""
    return f"feedback-smtp.{region}.amazonses.com"


def dkim_target(token: str, region: str) -> str:
    """Return the CNAME target of an Easy DKIM token. Newer regions have their own DKIM domains."""
    domain = f"dkim.{region}.amazonses.com" if region in _OWN_DKIM_DOMAIN else "dkim.amazonses.com"
    return f"{token}.{domain}"
