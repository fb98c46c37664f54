"""What the desk's queues owe a client that goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

if TYPE_CHECKING:
    from service.desk.running import RunningDesk


def test_who_hung_up_receives_nothing(desk: RunningDesk) -> None:
    """A message goes to a live client, not to the poll of a service that has ended."""
    sqs = desk.client("sqs")
    queue = sqs.create_queue(QueueName="hung-up")["QueueUrl"]
    ends = Config(read_timeout=0.3, retries={"total_max_attempts": 1})
    for _ in range(3):
        with pytest.raises(ReadTimeoutError):
            desk.client("sqs", config=ends).receive_message(
                QueueUrl=queue, WaitTimeSeconds=20, VisibilityTimeout=120
            )
    for number in range(8):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number), DelaySeconds=1)
    found: set[str] = set()
    while messages := sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages"):
        found |= {each["Body"] for each in messages}
    assert set(map(str, range(8))) == found
