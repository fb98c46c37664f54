"""The loop of the program that Postal Plexus takes the place of, to measure it on the same stub.

Written anew from its description: one message a receive, the whole mail in memory, smtplib's LMTP,
an own sender, four seconds of sleep. Its faults are part of it (one reply read for all recipients).

    python -m benchmarks.deliver.predecessor SOCKET
"""

from __future__ import annotations

import json
import os
import smtplib
import sys
import time

import boto3


def main() -> None:
    """Fetch and deliver for ever."""
    sqs = boto3.client("sqs")
    s3 = boto3.client("s3")
    queue = os.environ["PLEXUS_QUEUE_URL"]
    while True:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1)
        for message in received.get("Messages", []):
            notification = json.loads(json.loads(message["Body"])["Message"])
            receipt = notification["receipt"]
            content = s3.get_object(
                Bucket=receipt["action"]["bucketName"], Key=receipt["action"]["objectKey"]
            )["Body"].read()
            with smtplib.LMTP(sys.argv[1]) as lmtp:
                lmtp.sendmail("mailer@example.org", receipt["recipients"], content)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        time.sleep(4)


if __name__ == "__main__":
    main()
