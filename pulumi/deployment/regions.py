"""Regional names of SES's endpoints.

Source: https://docs.aws.amazon.com/general/latest/gr/ses.html (endpoints, DKIM domains).
"""


def inbound_host(region: str) -> str:
    """Where the world delivers mail: the MX target."""
    return f"inbound-smtp.{region}.amazonaws.com"


def smtp_host(region: str) -> str:
    """Where Postfix hands over mail."""
    return f"email-smtp.{region}.amazonaws.com"


def feedback_host(region: str) -> str:
    """The MX target of a custom MAIL FROM domain."""
    return f"feedback-smtp.{region}.amazonses.com"


def dkim_target(token: str, region: str) -> str:
    """The CNAME target of one Easy DKIM token; newer regions have a DKIM domain of their own."""
    domain = f"dkim.{region}.amazonses.com" if region in _OWN_DKIM_DOMAIN else "dkim.amazonses.com"
    return f"{token}.{domain}"


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
