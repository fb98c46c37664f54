"""The SMTP password of an IAM user's access key.

https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html: the user name is the access key
id, the password is a signature made with the secret key for one region.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_VERSION = b"\x04"


def smtp_password(secret_access_key: str, region: str) -> str:
    """Derive the SMTP password that belongs to a secret access key in a region."""
    signature = f"AWS4{secret_access_key}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.new(signature, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(_VERSION + signature).decode("ascii")


def is_smtp_password(offered: str, secret_access_key: str, region: str) -> bool:
    """Compare an offered password in constant time."""
    wanted = smtp_password(secret_access_key, region)
    return hmac.compare_digest(offered.encode("utf-8", errors="replace"), wanted.encode("ascii"))
