"""Configuration, signatures, addressing, seals, bounces and settlement, each by itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from postal_plexus.deliver.addressing import address
from postal_plexus.deliver.aws.errors import (
    Denied,
    Missing,
    Refused,
    ServerFault,
    Throttled,
    from_answer,
)
from postal_plexus.deliver.aws.http import Endpoint
from postal_plexus.deliver.aws.signing import Credentials, Signer, payload_hash, percent_encode
from postal_plexus.deliver.config import ConfigError, VirusPolicy, read_config
from postal_plexus.deliver.failing import Failed, bounce_fields
from postal_plexus.deliver.forward_seal import ForwardSeal
from postal_plexus.deliver.pace import BouncePace
from postal_plexus.deliver.twins import Twins
from postal_plexus.directory import Alias, Directory, Domain, Mailbox
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.receipt import Receipt
from postal_plexus.mail.verdicts import Verdicts

GOOD = {
    "AWS_REGION": "us-east-1",
    "PLEXUS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/mail",
    "PLEXUS_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/dead",
    "PLEXUS_ARCHIVE_BUCKET": "archive",
    "PLEXUS_DIRECTORY": "s3://archive/directory/directory.json",
    "PLEXUS_HOSTNAME": "mail.example.org",
}


def test_defaults_are_the_contracts() -> None:
    """What the task definition need not say."""
    config = read_config(GOOD)
    assert ("archive", "directory/directory.json") == (
        config.directory_bucket,
        config.directory_key,
    )
    assert "/run/plexus/dovecot/lmtp.sock" == config.lmtp_socket
    assert VirusPolicy.DEAD_LETTER is config.virus


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each variable by name."""
    wrong = {"PLEXUS_QUEUE_URL": "mail", "PLEXUS_DIRECTORY": "/x", "PLEXUS_VIRUS": "eat"}
    with pytest.raises(ConfigError) as error:
        read_config(wrong)
    for name in (*GOOD, "PLEXUS_VIRUS"):
        assert name in str(error.value)


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
        (503, "SlowDown", Throttled),
        (400, "ThrottlingException", Throttled),
        (500, "InternalError", ServerFault),
        (404, "NoSuchKey", Missing),
        (400, "AWS.SimpleQueueService.NonExistentQueue", Missing),
        (403, "AccessDenied", Denied),
        (400, "ExpiredToken", Denied),
        (400, "InvalidParameterValue", Refused),
    ],
)
def test_errors_by_what_can_be_done(status: int, code: str, kind: type[Exception]) -> None:
    """AWS's words become ours."""
    assert kind is type(from_answer("X", status, code, ""))


DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", "ann@example.org")),
    tuple(Mailbox(f"{name}@example.org", "{PLAIN}x") for name in ("ann", "ben")),
    (Alias("info@example.org", ("ann@example.org", "ben@example.org", "x@else.example")),),
)


def test_each_mailbox_once_however_many_ways_lead_there() -> None:
    """Mailbox, subaddress, alias and catch-all; the first way keeps its subaddress."""
    recipients = ("ann+a@example.org", "info@example.org", "any@example.net", "no@example.org")
    found = address(Envelope("", recipients), DIRECTORY)
    assert ["ann+a@example.org", "ben@example.org"] == [each.address for each in found.mailboxes]
    assert ["ann@example.org", "ben@example.org"] == [each.name for each in found.mailboxes]
    assert [("x@else.example", "info@example.org")] == [
        (each.address, each.forwarder) for each in found.forwards
    ]
    assert ("no@example.org",) == found.unknown


def test_a_seal_is_good_for_its_domain_and_on_its_host(tmp_path: Path) -> None:
    """Another domain, another host's key, or a changed digit: no seal of ours."""
    (tmp_path / "other").mkdir()
    seal = ForwardSeal(tmp_path)
    sender = seal.sender("example.org")
    assert True is seal.is_sealed(sender)
    assert True is ForwardSeal(tmp_path).is_sealed(sender.upper())
    assert False is seal.is_sealed(sender.replace("example.org", "example.net"))
    assert False is ForwardSeal(tmp_path / "other").is_sealed(sender)
    assert None is seal.is_sealed("postmaster@example.org")
    assert 0o600 == (tmp_path / "forward-seal.key").stat().st_mode & 0o777


def test_a_bounce_names_what_the_sender_wrote() -> None:
    """The envelope recipient, not the mailbox behind it; one line of diagnostics."""
    receipt = Receipt("m", Envelope("a@b.c", ("x@y.z",)), "b", "k", Verdicts(), 0.0)
    disposition = Disposition("ben@example.org", Fate.FAILED, "5.2.2", "552 5.2.2 full\r\nX: y")
    fields = bounce_fields(receipt, [Failed(disposition, "info@example.org")], "mail.example.org")
    assert "m" == fields["OriginalMessageId"]
    assert "mailer-daemon@example.org" == fields["BounceSender"]
    member = "BouncedRecipientInfoList.member.1"
    assert ("info@example.org", "ExceededQuota") == (
        fields[f"{member}.Recipient"],
        fields[f"{member}.BounceType"],
    )
    assert not any("ben@" in value or "\r" in value or "\n" in value for value in fields.values())


def test_bounces_are_a_second_apart() -> None:
    """SES's quota, over all threads."""
    pace = BouncePace()
    began = time.monotonic()
    threads = [
        threading.Thread(target=pace.wait, args=(threading.Event(),), daemon=True) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 2.0


def test_a_bounce_whose_turn_is_far_off_does_not_wait() -> None:
    """Five may wait; the next one is told at once, and takes no turn."""
    pace, stopped = BouncePace(), threading.Event()
    stopped.set()
    turns = [pace.wait(stopped) for _ in range(10)]
    assert turns == [True] * 5 + [False] * 5


def test_twins_are_never_at_work_together() -> None:
    """Two notifications of one mail: one after the other. Others are not held up."""
    twins = Twins()
    inside: list[str] = []
    most: list[int] = []

    def work() -> None:
        with twins.alone("m"):
            inside.append("m")
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove("m")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    with twins.alone("other"):
        pass
    for thread in threads:
        thread.join()
    assert [1] * 8 == most
    assert {} == twins._under_way
