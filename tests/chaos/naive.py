"""Three ways to do it wrong, each a small deliver of its own: the harness must see through them.

    python -m tests.chaos.naive deletes-first   takes the mail out of the queue, then delivers it
    python -m tests.chaos.naive forgets         delivers, then deletes; remembers nothing
    python -m tests.chaos.naive one-reply       smtplib's LMTP: the first reply stands for all

Each takes `deliver`'s environment, and is right as long as nothing goes wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import smtplib
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from postal_plexus.directory import Directory


def main() -> None:
    """Deliver for ever, in the wrong way that the first argument names."""
    way = sys.argv[1]
    path = Path(os.environ["PLEXUS_DIRECTORY_PATH"]) / "directory.json"
    directory = Directory.from_json(path.read_bytes())
    queue = os.environ["PLEXUS_QUEUE_URL"]
    region = os.environ["AWS_REGION"]
    sqs, s3 = (boto3.client(name, region_name=region) for name in ("sqs", "s3"))

    def delete(message: dict[str, Any]) -> None:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    while True:
        try:
            received = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5, VisibilityTimeout=20
            )
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
            continue
        for message in received.get("Messages", []):
            with contextlib.suppress(BotoCoreError, ClientError, OSError, smtplib.SMTPException):
                if way == "deletes-first":
                    delete(message)
                handed_over = deliver(s3, directory, message["Body"], one_reply=way == "one-reply")
                if handed_over and way != "deletes-first":
                    delete(message)


def deliver(s3: Any, directory: Directory, body: str, *, one_reply: bool) -> bool:
    """Return whether all went well, as far as this program can see."""
    document = json.loads(body)
    notification = json.loads(document["Message"]) if "Message" in document else document
    receipt = notification["receipt"]
    boxes = {
        box: None
        for recipient in receipt["recipients"]
        for box in directory.resolve(recipient).mailboxes
    }
    action = receipt["action"]
    content = s3.get_object(Bucket=action["bucketName"], Key=action["objectKey"])["Body"].read()
    if one_reply:
        lmtp = smtplib.LMTP(os.environ["PLEXUS_LMTP_SOCKET"])
        lmtp.sendmail(notification["mail"]["source"], list(boxes), content)
        lmtp.close()
        return True
    with smtplib.LMTP(os.environ["PLEXUS_LMTP_SOCKET"]) as lmtp:
        refused = False
        lmtp.ehlo_or_helo_if_needed()
        for box in boxes:
            # A transaction for each: then the one reply is the right one.
            lmtp.mail(notification["mail"]["source"])
            if lmtp.rcpt(box)[0] != 250 or lmtp.data(content)[0] != 250:
                refused = True
                lmtp.rset()
        return not refused


if __name__ == "__main__":
    main()
