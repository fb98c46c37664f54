"""One thread's access to one AWS service: it signs, sends, retries, and parses errors.

Retries of transient errors wait with full jitter
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) and stop at once when
the service shuts down. If AWS refuses the credentials, new ones are fetched before the next
attempt.
"""

import json
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from postal_plexus.deliver.aws.credentials import CredentialsSource
from postal_plexus.deliver.aws.errors import AwsError, AwsTransientError, DeniedError, from_answer
from postal_plexus.deliver.aws.http import Answer, Endpoint, HttpConnection
from postal_plexus.deliver.aws.signing import Signer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


class Tls:
    """The one TLS context, with verified certificates and host names; created when first needed.

    Loading the certificate authorities costs 20 ms and a megabyte, which a plain HTTP endpoint does
    not need.
    """

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> "ssl.SSLContext":
        """Return the context. Raise OSError if the file of authorities cannot be read."""
        with self._lock:
            if self._context is None:
                import ssl  # noqa: PLC0415  (megabytes that only TLS needs)

                self._context = ssl.create_default_context(cafile=self._ca_file or None)
            return self._context


@dataclass(frozen=True, slots=True)
class AwsAccount:
    """What all sessions share: region, credentials, endpoints, and the stop event."""

    region: str
    credentials: CredentialsSource
    tls: Tls
    endpoints: "Mapping[str, str]"
    stopping: threading.Event

    @classmethod
    def from_environment(
        cls, environ: "Mapping[str, str]", region: str, stopping: threading.Event
    ) -> "AwsAccount":
        """Read the environment as AWS's own clients do.

        Raise ValueError for an invalid endpoint URL.
        """
        tls = Tls(environ.get("AWS_CA_BUNDLE", ""))
        everywhere = environ.get("AWS_ENDPOINT_URL", "")
        endpoints = {
            service: environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or everywhere
            for service in ("sqs", "s3", "ses")
        }
        for url in endpoints.values():
            if url:
                Endpoint.parse(url)
        return cls(region, CredentialsSource(environ, tls), tls, endpoints, stopping)

    @property
    def suffix(self) -> str:
        """The partition's domain."""
        return "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"

    def endpoint(self, service: str, default_host: str) -> Endpoint:
        """Return a service's endpoint: the environment's, or else the region's."""
        url = self.endpoints.get(service)
        return Endpoint.parse(url) if url else Endpoint(secure=True, host=default_host, port=443)


class AwsSession:
    """Requests to one endpoint of one service. Belongs to one thread."""

    def __init__(
        self,
        account: AwsAccount,
        service: str,
        endpoint: Endpoint,
        signer: Signer,
        answer_seconds: float = 30.0,
    ) -> None:
        self.account = account
        self.service = service
        self._signer = signer
        self._connection = HttpConnection(endpoint, account.tls, answer_seconds=answer_seconds)

    def request(  # noqa: PLR0913  (an HTTP request has that many parts)
        self,
        operation: str,
        method: str,
        path: str,
        headers: dict[str, str],
        payload: bytes,
        payload_hash: str,
        *,
        attempts: int = 4,
        repeatable: bool = True,
    ) -> Answer:
        """Send until there is a 2xx or 304 response. Otherwise raise an AwsError of `operation`."""
        attempt = 0
        while True:
            attempt += 1
            credentials = None
            try:
                credentials = self.account.credentials.get()
                head = self._signer.head(
                    method,
                    self._connection.endpoint.prefix + path,
                    {"host": self._connection.endpoint.authority, **headers},
                    payload_hash,
                    credentials,
                    time.time(),
                )
                answer = self._connection.exchange(head + payload, repeatable=repeatable)
                if answer.status < 300 or answer.status == 304:
                    return answer
                raise _error(operation, answer)
            except AwsTransientError as error:
                if isinstance(error, DeniedError) and credentials is not None:
                    self.account.credentials.forget(credentials)
                # While the service stops, there is time for one more attempt, but not for waiting.
                if attempt >= attempts or (attempt > 1 and self.account.stopping.is_set()):
                    raise
                self.account.stopping.wait(full_jitter(attempt))

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._connection.close()

    def abort(self) -> None:
        """Wake the thread that is waiting for a response. For other threads."""
        self._connection.abort()


def full_jitter(attempt: int, first: float = _FIRST_WAIT, longest: float = _LONGEST_WAIT) -> float:
    """Return how many seconds to wait after the `attempt`th failure in a row."""
    return jitter() * min(longest, first * 2 ** min(attempt - 1, 20))


def jitter() -> float:
    """Return a random number in 0..1. (`random` costs 3 ms and half a megabyte at the start.)"""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


def _error(operation: str, answer: Answer) -> AwsError:
    """Parse the error in either of AWS's forms: JSON (SQS) or XML (S3, SES)."""
    try:
        body = answer.read_all(1024 * 1024)
    except AwsError:
        body = b""
    code = text = ""
    if body.lstrip()[:1] == b"{":
        try:
            fields = cast("dict[str, object]", json.loads(body))
        except ValueError:
            fields = {}
        code = str(fields.get("__type", "")).rpartition("#")[2]
        text = str(fields.get("message") or fields.get("Message") or "")
    elif body:
        code, text = element(body, "Code"), element(body, "Message")
    return from_answer(operation, answer.status, code, text[:300])


def element(xml: bytes, name: str) -> str:
    """Return the text of the first element with that name in AWS's simple responses."""
    _, found, rest = xml.partition(f"<{name}>".encode())
    return rest.partition(b"</")[0].decode("utf-8", "replace").strip() if found else ""
