"""SES's SendBounce, through the query protocol of its v1 API.

https://docs.aws.amazon.com/ses/latest/APIReference/API_SendBounce.html: within 24 hours of the
receipt, from a verified identity, about one a second. SES writes the report (RFC 3464).
"""

from postal_plexus.deliver.aws.session import AwsAccount, AwsSession
from postal_plexus.deliver.aws.signing import Signer, payload_hash

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BounceSender:
    """Sends bounces, for one thread."""

    def __init__(self, account: AwsAccount) -> None:
        host = f"email.{account.region}.{account.suffix}"
        self._session = AwsSession(
            account, "ses", account.endpoint("ses", host), Signer("ses", account.region)
        )

    def send(self, fields: dict[str, str]) -> None:
        """Send one bounce, in one attempt: a second one might reach the sender twice.

        Raises AwsError.
        """
        payload = "&".join(
            f"{_form(name)}={_form(value)}"
            for name, value in {"Action": "SendBounce", "Version": "2010-12-01", **fields}.items()
        ).encode()
        self._session.request(
            "SendBounce",
            "POST",
            "/",
            {
                "content-type": "application/x-www-form-urlencoded",
                "content-length": str(len(payload)),
            },
            payload,
            payload_hash(payload),
            attempts=1,
            repeatable=False,
        ).read_all()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _form(text: str) -> str:
    return "".join(
        [chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in text.encode()]
    )
