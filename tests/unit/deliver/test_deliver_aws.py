"""The edge to AWS, as far as it is pure: signatures, endpoints, errors."""

from __future__ import annotations

import pytest

from postal_plexus.deliver.aws.errors import (
    DeniedError,
    MissingError,
    RefusedError,
    ServerFaultError,
    ThrottledError,
    from_answer,
)
from postal_plexus.deliver.aws.http import Endpoint
from postal_plexus.deliver.aws.signing import Credentials, Signer, payload_hash, percent_encode
from postal_plexus.deliver.aws.store import read_date


def test_a_signature_is_the_one_that_aws_publishes() -> None:
    """The example of AWS's documentation of S3 (GET object), with its range header."""
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": payload_hash(b""),
    }
    # 20130524T000000Z
    head = Signer("s3", "us-east-1").head(
        "GET", "/test.txt", headers, payload_hash(b""), credentials, 1369353600.0
    )
    assert b"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n" in head


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),  # RFC 9110, section 5.6.7
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228799.0),  # a leap second
        ("", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +0100", None),
    ],
)
def test_dates_are_read(field: str, seconds: float | None) -> None:
    """What S3 tells of its clock; anything else is no time."""
    assert seconds == read_date(field)


def test_a_key_is_encoded_once_with_its_slashes() -> None:
    """As S3's signature wants it."""
    assert "/b/a%20b%2B%C3%BC/~x" == percent_encode("/b/a b+ü/~x")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4566", Endpoint(secure=False, host="127.0.0.1", port=4566)),
        ("https://x.example/p/", Endpoint(secure=True, host="x.example", port=443, prefix="/p")),
        ("http://[::1]:80", Endpoint(secure=False, host="::1", port=80)),
    ],
)
def test_endpoints(url: str, expected: Endpoint) -> None:
    """Scheme, host, port and prefix."""
    assert expected == Endpoint.parse(url)


@pytest.mark.parametrize("url", ["", "x", "ftp://x", "http://", "http://u@x", "http://x:port"])
def test_what_is_no_endpoint(url: str) -> None:
    """Is said, not tried."""
    with pytest.raises(ValueError, match=r"URL|host"):
        Endpoint.parse(url)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", ThrottledError),
        (400, "ThrottlingException", ThrottledError),
        (500, "InternalError", ServerFaultError),
        (404, "NoSuchKey", MissingError),
        (400, "AWS.SimpleQueueService.NonExistentQueue", MissingError),
        (403, "AccessDenied", DeniedError),
        (400, "ExpiredToken", DeniedError),
        (400, "InvalidParameterValue", RefusedError),
    ],
)
def test_errors_by_what_can_be_done(status: int, code: str, kind: type[Exception]) -> None:
    """AWS's words become ours."""
    assert kind is type(from_answer("X", status, code, ""))
