"""The stub as a process, seen by AWS's own client, and its faults seen on the socket."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.objects import mail_of
from benchmarks.aws_stub.process import Stub
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

ONCE = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Provide a running stub."""
    with Stub() as running:
        yield running


def client(stub: Stub, service: str) -> Any:
    """Return AWS's own client, without retries, so that each answer is seen."""
    return boto3.client(
        service,
        endpoint_url=stub.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=ONCE,
    )


def test_sqs_as_awss_client_speaks_it(stub: Stub) -> None:
    """Send, receive, change visibility, delete, in batches too, and the figures of the queue."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    attributes = {"reason": {"DataType": "String", "StringValue": "because"}}
    sqs.send_message(QueueUrl=url, MessageBody="one", MessageAttributes=attributes)
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "two"}, {"Id": "b", "MessageBody": "é"}]
    )
    received = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )["Messages"]
    assert [message["Body"] for message in received] == ["one", "two", "é"]
    assert received[0]["MessageAttributes"] == attributes
    assert abs(int(received[0]["Attributes"]["SentTimestamp"]) / 1000 - time.time()) < 10
    handles = [message["ReceiptHandle"] for message in received]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handles[0], VisibilityTimeout=0)
    (again,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert again["Body"] == "one"
    done = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "0", "ReceiptHandle": again["ReceiptHandle"]},
            {"Id": "1", "ReceiptHandle": handles[1]},
            {"Id": "2", "ReceiptHandle": "nonsense"},
        ],
    )
    assert [entry["Id"] for entry in done["Successful"]] == ["0", "1"]
    assert [(entry["Id"], entry["Code"]) for entry in done["Failed"]] == [
        ("2", "ReceiptHandleIsInvalid")
    ]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_long_poll_answers_as_soon_as_there_is_something(stub: Stub) -> None:
    """A waiting receive gets the message at once, and an empty wait ends in time."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert 0.9 < time.monotonic() - begun < 2
    stub.post("send", queue="mail", entries=[{"body": "later", "delay": 0.3}])
    begun = time.monotonic()
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    assert message["Body"] == "later"
    assert 0.2 < time.monotonic() - begun < 1


def test_unknown_queue_is_told_as_sqs_tells_it(stub: Stub) -> None:
    """A wrong queue URL must look as it does in AWS."""
    with pytest.raises(ClientError) as caught:
        client(stub, "sqs").receive_message(QueueUrl=stub.queue_url("other"))
    assert "QueueDoesNotExist" in caught.value.response["Error"]["Code"]


def test_s3_objects_as_awss_client_speaks_it(stub: Stub) -> None:
    """Put, get, ranges, conditions, a missing key."""
    s3 = client(stub, "s3")
    content = bytes(range(256)) * 1000
    etag = s3.put_object(Bucket="b", Key="a/key with space", Body=content)["ETag"]
    got = s3.get_object(Bucket="b", Key="a/key with space")
    assert (got["Body"].read(), got["ETag"]) == (content, etag)
    part = s3.get_object(Bucket="b", Key="a/key with space", Range="bytes=255900-", IfMatch=etag)
    assert part["Body"].read() == content[255900:]
    assert part["ContentRange"] == "bytes 255900-255999/256000"
    for wanted, arguments in (
        ("304", {"IfNoneMatch": etag}),
        ("PreconditionFailed", {"IfMatch": '"x"'}),
    ):
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="b", Key="a/key with space", **arguments)
        assert caught.value.response["Error"]["Code"] == wanted
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="b", Key="none")
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"


def test_prefilled_mails_are_notifications_with_objects(stub: Stub) -> None:
    """Each prefilled message is a notification of its own whose object can be read."""
    head = "Subject: bench\r\n\r\n"
    stub.post(
        "prefill",
        queue="mail",
        run="r1",
        count=5,
        size=5_000_000,
        recipients=["ann@example.org", "ben@example.org"],
        sender="s@sender.example",
        bucket="archive",
        head=head,
    )
    received = client(stub, "sqs").receive_message(
        QueueUrl=stub.queue_url("mail"), MaxNumberOfMessages=10
    )["Messages"]
    notes = [json.loads(json.loads(message["Body"])["Message"]) for message in received]
    assert [note["receipt"]["recipients"][0][:3] for note in notes] == [
        "ann",
        "ben",
        "ann",
        "ben",
        "ann",
    ]
    assert len({note["mail"]["messageId"] for note in notes}) == 5
    key = notes[4]["receipt"]["action"]["objectKey"]
    content = client(stub, "s3").get_object(Bucket="archive", Key=key)["Body"].read()
    assert (len(content), content[:18], content[-2:]) == (5_000_000, head.encode(), b"\r\n")


def test_wait_answers_when_all_is_deleted(stub: Stub) -> None:
    """A benchmark learns the end of its run from the stub, not by polling."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    sqs.send_message(QueueUrl=url, MessageBody="one")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    with pytest.raises(TimeoutError):
        stub.get("wait?queue=mail&deleted=1", timeout=0.3)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    figures = stub.get("wait?queue=mail&deleted=1")["queues"]["mail"]
    assert (figures["deleted"], figures["remaining"], figures["most_receives"]) == (1, 0, 1)


def test_bounces_are_kept_and_one_a_second(stub: Stub) -> None:
    """SendBounce is recorded whole; the second within a second is throttled, as SES does."""
    ses = client(stub, "ses")
    bounce = {
        "OriginalMessageId": "m1",
        "BounceSender": "mailer-daemon@example.org",
        "BouncedRecipientInfoList": [{"Recipient": "x@example.org", "BounceType": "DoesNotExist"}],
    }
    ses.send_bounce(**bounce)
    with pytest.raises(ClientError) as caught:
        ses.send_bounce(**bounce)
    assert caught.value.response["Error"]["Code"] == "Throttling"
    (kept,) = stub.get("dump")["bounces"]
    assert kept["OriginalMessageId"] == "m1"
    assert kept["BouncedRecipientInfoList.member.1.Recipient"] == "x@example.org"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("error500", "InternalError"),
        ("error503", "ServiceUnavailable"),
        ("throttle", "ThrottlingException"),
        ("expired", "ExpiredTokenException"),
    ],
)
def test_refusals_of_sqs_do_nothing(stub: Stub, kind: str, code: str) -> None:
    """A refused receive hands nothing out; the next call goes through."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    stub.post("send", queue="mail", entries=[{"body": "one", "faults": [f"receive:{kind}"]}])
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=url)
    assert caught.value.response["Error"]["Code"] == code
    (message,) = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"])["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_lost_answers_are_done_all_the_same(stub: Stub) -> None:
    """`drop-after` does the call and loses its answer; `drop-before` does nothing."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    stub.post("settings", visibility=0.4)
    stub.post(
        "send",
        queue="mail",
        entries=[
            {
                "body": "one",
                "faults": ["receive:drop-after", "delete:drop-before", "delete:drop-after"],
            }
        ],
    )
    with pytest.raises(HTTPClientError):
        sqs.receive_message(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
    for remaining in (1, 0):
        with pytest.raises(HTTPClientError):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert stub.get("stats")["queues"]["mail"]["remaining"] == remaining


def test_one_entry_of_a_batch_can_fail(stub: Stub) -> None:
    """A batch that succeeds in part names the entry that failed, and does the others."""
    sqs, url = client(stub, "sqs"), stub.queue_url("mail")
    stub.post(
        "send",
        queue="mail",
        entries=[{"body": "one", "faults": ["delete-entry:"]}, {"body": "two"}],
    )
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in received]
    done = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in done["Failed"]] == ["one"]
    assert [entry["Id"] for entry in done["Successful"]] == ["two"]


def test_truncated_object_breaks_in_the_middle(stub: Stub) -> None:
    """The connection ends after half of the object, with the whole length announced."""
    stub.put_object("b/k", b"x" * 100_000)
    stub.post("faults", key="b/k", faults=["get:truncate"])
    with pytest.raises(http.client.IncompleteRead) as caught:
        stub.request("GET", "/b/k")
    assert len(caught.value.partial) == 50_000
    assert stub.request("GET", "/b/k") == (200, b"x" * 100_000)


def test_state_outlives_a_kill(tmp_path: Path) -> None:
    """kill -9 loses no message, no object, no bounce; what was deleted stays deleted."""
    with Stub("--state", str(tmp_path)) as stub:
        sqs, url = client(stub, "sqs"), stub.queue_url("mail")
        for body in ("one", "two"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        (first,) = sqs.receive_message(QueueUrl=url)["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        stub.put_object("b/k", b"content")
        port = stub.port
        stub.kill()
        stub.start()
        assert stub.port == port
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [message["Body"] for message in received] == ["two"]
        assert stub.request("GET", "/b/k") == (200, b"content")


def test_delay_is_added_to_every_aws_call(stub: Stub) -> None:
    """Fifteen milliseconds on each call, and calls on other connections do not wait for it."""
    stub.put_object("b/k", b"content")
    stub.post("settings", delay=0.2)
    begun = time.monotonic()
    stub.request("GET", "/b/k")
    assert time.monotonic() - begun >= 0.2
    begun = time.monotonic()
    stub.get("stats")
    assert time.monotonic() - begun < 0.15


def test_generated_mail_is_its_blocks_in_any_range() -> None:
    """A generated mail reads the same whole and in parts, and ends with CRLF."""
    mail = mail_of(300_001, b"Subject: x\r\n\r\n")
    whole = b"".join(mail.blocks(0, mail.size))
    assert (len(whole), whole[-2:]) == (300_001, b"\r\n")
    for start, stop in ((0, 20), (7, 100_000), (99_999, 300_001), (299_999, 300_001)):
        assert b"".join(mail.blocks(start, stop)) == whole[start:stop]


def test_notification_has_both_forms_of_body() -> None:
    """Raw and inside SNS's envelope it is the same notification."""
    mail = Accepted("m1", "", ["ann@example.org"], "b", "incoming/m1", verdicts={"spam": "FAIL"})
    text = notification(mail)
    assert json.loads(json.loads(in_sns_envelope(text, "s1"))["Message"]) == json.loads(text)
    assert json.loads(text)["receipt"]["spamVerdict"] == {"status": "FAIL"}
    assert json.loads(text)["mail"]["source"] == ""
