"""The credentials of requests: from the environment, or from the container's endpoint.

The order is that of AWS's own clients: `AWS_ACCESS_KEY_ID` and its companions first, then the
endpoint in `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `..._FULL_URI`. Credentials from the
endpoint are renewed five minutes before they expire; if the endpoint is down, the old ones are used
until then. Raises `UnreachableError` or `DeniedError` if no credentials are available.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from postal_plexus.deliver.aws.errors import AwsError, DeniedError, UnreachableError
from postal_plexus.deliver.aws.http import Endpoint, HttpConnection
from postal_plexus.deliver.aws.signing import Credentials

if TYPE_CHECKING:
    import ssl

_ECS_ENDPOINT = "http://169.254.170.2"
_RENEW_BEFORE_SECONDS = 300.0
_RETRY_SECONDS = 10.0


class CredentialsSource:
    """Returns credentials that are currently valid. Threads may share one."""

    def __init__(self, environ: Mapping[str, str], tls: "Callable[[], ssl.SSLContext]") -> None:
        self._lock = threading.Lock()
        self._tls = tls
        self._current: Credentials | None = None
        self._next_try = 0.0
        key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        self._static = (
            Credentials(key, secret, environ.get("AWS_SESSION_TOKEN", ""))
            if key and secret
            else None
        )
        relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        self._url = (
            _ECS_ENDPOINT + relative
            if relative
            else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        )
        self._token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        self._token_file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")

    @property
    def configured(self) -> bool:
        """Whether the environment names any source."""
        return self._static is not None or bool(self._url)

    def get(self) -> Credentials:
        """Return credentials for the next request. Raise UnreachableError, DeniedError."""
        if self._static is not None:
            return self._static
        current = self._current
        now = time.time()
        if current is not None and _fresh(current, now):
            return current
        with self._lock:
            current = self._current
            if current is not None and (_fresh(current, now) or now < self._next_try):
                return current
            try:
                self._current = self._fetch()
            except AwsError:
                if current is None or (current.expires_at or 0.0) <= now:
                    raise
                self._next_try = now + _RETRY_SECONDS
                return current
            return self._current

    def forget(self, refused: Credentials) -> None:
        """Discard credentials that AWS refused: the next request fetches new ones."""
        with self._lock:
            if self._current is refused:
                self._current = None

    def _fetch(self) -> Credentials:
        operation = "container credentials"
        try:
            endpoint = Endpoint.parse(self._url)
            token = self._token
            if self._token_file:
                with open(self._token_file, encoding="ascii") as file:
                    token = file.read().strip()
        except (ValueError, OSError) as error:
            raise DeniedError(operation, type(error).__name__, str(error)) from error
        authorization = f"Authorization: {token}\r\n" if token else ""
        path = endpoint.prefix or "/"
        connection = HttpConnection(endpoint, self._tls, answer_seconds=5.0)
        try:
            answer = connection.exchange(
                f"GET {path} HTTP/1.1\r\nHost: {endpoint.authority}\r\n"
                f"Accept: application/json\r\nConnection: close\r\n{authorization}\r\n".encode()
            )
            body = answer.read_all(64 * 1024)
        finally:
            connection.close()
        if answer.status != 200:
            raise DeniedError(operation, f"HTTP {answer.status}", "", answer.status)
        return _read(body, operation)


def _fresh(credentials: Credentials, now: float) -> bool:
    return credentials.expires_at is None or credentials.expires_at - now > _RENEW_BEFORE_SECONDS


def _read(body: bytes, operation: str) -> Credentials:
    try:
        fields = cast("dict[str, str]", json.loads(body))
        return Credentials(
            fields["AccessKeyId"],
            fields["SecretAccessKey"],
            fields.get("Token") or "",
            datetime.fromisoformat(fields["Expiration"]).timestamp(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreachableError(operation, "BadAnswer", type(error).__name__) from error
