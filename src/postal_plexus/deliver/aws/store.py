"""S3: objects read as streams, and small objects written.

Raises AwsError; `MissingError` if the object does not exist.
"""

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from postal_plexus.deliver.aws.errors import MissingError
from postal_plexus.deliver.aws.http import Answer
from postal_plexus.deliver.aws.session import AwsAccount, AwsSession
from postal_plexus.deliver.aws.signing import EMPTY_PAYLOAD, Signer, payload_hash, percent_encode

_VERSION = re.compile(r"<Version>(.*?)</Version>", re.DOTALL)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object at one moment; `version` is "" in a bucket without versions."""

    octets: bytes
    etag: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object: its id, and since when it has been the newest (S3's clock)."""

    id: str
    since: float


class Store:
    """Objects of any bucket, for one thread.

    Attributes:
        answered_at: S3's clock when it answered last, in seconds since the epoch; None if it has
            not told yet.
    """

    def __init__(self, account: AwsAccount, signer: Signer) -> None:
        self._account = account
        self._signer = signer
        self._sessions: dict[str, AwsSession] = {}
        self.answered_at: float | None = None

    def open(self, bucket: str, key: str) -> Answer:
        """Return the object's content, to be read to its end or discarded."""
        return self._get("GetObject", bucket, key, {})

    def read_if_changed(self, bucket: str, key: str, etag: str) -> StoredObject | None:
        """Return the whole object, or None if it still has that ETag ("" if none is known)."""
        answer = self._get("GetObject", bucket, key, {"if-none-match": etag} if etag else {})
        if answer.status == 304:
            return None
        etag, version = answer.header("etag"), answer.header("x-amz-version-id")
        return StoredObject(answer.read_all(), etag, version)

    def newest_version(self, bucket: str, key: str) -> str:
        """Return the id of an object's newest version, or "" in a bucket without versions."""
        # Its first octet: a response to HEAD would need an HTTP client that expects no body.
        answer = self._get("GetObject", bucket, key, {"range": "bytes=0-0"})
        version = answer.header("x-amz-version-id")
        answer.read_all()
        return version

    def versions(self, bucket: str, key: str) -> list[Version]:
        """Return an object's versions, the newest first; at most the last thousand.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html

        Raises:
            MissingError: there is none, or the bucket keeps none.
        """
        session, path = self._place(bucket, "")
        query = f"?prefix={percent_encode(key).replace('/', '%2F')}&versions="
        headers = {"x-amz-content-sha256": EMPTY_PAYLOAD}
        answer = session.request(
            "ListObjectVersions", "GET", path + query, headers, b"", EMPTY_PAYLOAD
        )
        self.answered_at = read_date(answer.header("date"))
        found = read_versions(answer.read_all().decode(), key)
        if not found:
            raise MissingError("ListObjectVersions", "NoSuchVersion", f"no {key}")
        return found

    def read_version(self, bucket: str, key: str, version: Version) -> bytes:
        """Return the content of one version."""
        session, path = self._place(bucket, key)
        query = f"?versionId={percent_encode(version.id).replace('/', '%2F')}"
        headers = {"x-amz-content-sha256": EMPTY_PAYLOAD}
        answer = session.request(
            "GetObjectVersion", "GET", path + query, headers, b"", EMPTY_PAYLOAD
        )
        return answer.read_all()

    def put(self, bucket: str, key: str, octets: bytes, attempts: int) -> None:
        """Write a small object, or overwrite it with the same content."""
        session, path = self._place(bucket, key)
        digest = payload_hash(octets)
        headers = {"x-amz-content-sha256": digest, "content-length": str(len(octets))}
        session.request(
            "PutObject", "PUT", path, headers, octets, digest, attempts=attempts
        ).read_all()

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            session.close()

    def abort(self) -> None:
        """Wake the waiting thread. For other threads."""
        for session in tuple(self._sessions.values()):
            session.abort()

    def _get(self, operation: str, bucket: str, key: str, headers: dict[str, str]) -> Answer:
        session, path = self._place(bucket, key)
        answer = session.request(
            operation,
            "GET",
            path,
            {"x-amz-content-sha256": EMPTY_PAYLOAD, **headers},
            b"",
            EMPTY_PAYLOAD,
        )
        self.answered_at = read_date(answer.header("date"))
        return answer

    def _place(self, bucket: str, key: str) -> tuple[AwsSession, str]:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html: the bucket is
        # in the host name, except for custom endpoints and for names with dots, which no wildcard
        # certificate covers.
        in_path = bool(self._account.endpoints.get("s3")) or "." in bucket
        path = f"/{bucket}/{key}" if in_path else f"/{key}"
        return self._session("" if in_path else bucket), percent_encode(path)

    def _session(self, bucket: str) -> AwsSession:
        session = self._sessions.get(bucket)
        if session is None:
            account = self._account
            host = f"s3.{account.region}.{account.suffix}"
            endpoint = account.endpoint("s3", f"{bucket}.{host}" if bucket else host)
            session = self._sessions[bucket] = AwsSession(account, "s3", endpoint, self._signer)
        return session


def read_date(field: str) -> float | None:
    """Return the time of a Date field (RFC 9110, section 5.6.7) in seconds since the epoch.

    None if it is missing or has another form.
    """
    with contextlib.suppress(ValueError):
        _, day, month, year, clock, zone = field.split(" ")
        hour, minute, second = map(int, clock.split(":"))
        if zone == "GMT":
            number = _MONTHS.index(month) + 1
            at = datetime(int(year), number, int(day), hour, minute, min(second, 59), tzinfo=UTC)
            return at.timestamp()
    return None


def read_versions(listing: str, key: str) -> list[Version]:
    """Parse S3's list of versions. Versions of other keys and unreadable ones are left out."""
    found: list[Version] = []
    for entry in _VERSION.findall(listing):
        fields = dict(re.findall(r"<(Key|VersionId|LastModified)>([^<]*)</", entry))
        try:
            since = datetime.fromisoformat(fields["LastModified"])
            if fields["Key"] == key and fields["VersionId"] not in {"", "null"}:
                found.append(Version(fields["VersionId"], since.timestamp()))
        except (KeyError, ValueError):
            continue
    return found


def s3_signer(region: str) -> Signer:
    """Return the signer that all stores share."""
    return Signer("s3", region)
