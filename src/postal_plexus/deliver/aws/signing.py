"""AWS Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

Pure except for OpenSSL's hashes. It covers only what this service sends: headers of one line each,
and a query string that is already in its canonical form.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass

EMPTY_PAYLOAD = hashlib.sha256(b"").hexdigest()
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. `expires_at` is in seconds since the epoch, or None for a permanent one."""

    access_key: str
    secret_key: str
    session_token: str = ""
    expires_at: float | None = None


class Signer:
    """Signs requests to one service in one region."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key = b""
        self._key_is_for = ("", "")

    def head(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        payload_hash: str,
        credentials: Credentials,
        now: float,
    ) -> bytes:
        """Return request line and headers, signed, with the blank line.

        `headers` have lower-case names and include `host`; `path` is already percent-encoded, and
        may end in a query: sorted `name=value`, encoded. All headers are signed.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = moment[:8]
        headers["x-amz-date"] = moment
        if credentials.session_token:
            headers["x-amz-security-token"] = credentials.session_token
        names = sorted(headers)
        canonical_headers = "".join([f"{name}:{headers[name]}\n" for name in names])
        signed = ";".join(names)
        place, _, query = path.partition("?")
        request = f"{method}\n{place}\n{query}\n{canonical_headers}\n{signed}\n{payload_hash}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signature = hmac.digest(
            self._signing_key(credentials.secret_key, day), to_sign.encode(), "sha256"
        ).hex()
        lines = "".join([f"{name}: {headers[name]}\r\n" for name in names])
        return (
            f"{method} {path} HTTP/1.1\r\n{lines}"
            f"authorization: AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}\r\n\r\n"
        ).encode()

    def _signing_key(self, secret: str, day: str) -> bytes:
        if self._key_is_for != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            # One store: another thread sees the old pair or the new one, and either is valid.
            self._key, self._key_is_for = key, (secret, day)
            return key
        return self._key


def payload_hash(payload: bytes) -> str:
    """Return the hash with which a request's payload is signed."""
    return hashlib.sha256(payload).hexdigest()


def percent_encode(path: str) -> str:
    """Encode an object's key as S3 requires (RFC 3986): once, with slashes kept."""
    octets = path.encode()
    if _UNRESERVED.issuperset(octets):
        return path
    return "".join([chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in octets])
