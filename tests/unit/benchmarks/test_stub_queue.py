"""The stub's queue judges exactly-once, so it must be SQS's standard queue, harsh side out."""

import itertools
import json

import pytest
from benchmarks.aws_stub.queue import Queue, QueueError, in_json


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Provide a clock of the test's own."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    """Provide a queue with 30 s of visibility."""
    return Queue("mail", clock, visibility=30)


def bodies(queue: Queue, limit: int = 10) -> list[str]:
    """Receive, and look at the bodies only."""
    return [message.body for message in queue.receive(limit)]


def test_received_message_is_hidden_until_its_visibility_ends(queue: Queue, clock: Clock) -> None:
    """A message that was received is seen again only after the visibility timeout."""
    queue.send("one")
    assert bodies(queue) == ["one"]
    clock.now += 29.9
    assert bodies(queue) == []
    clock.now += 0.1
    assert bodies(queue) == ["one"]


def test_receive_count_grows_and_is_shown(queue: Queue, clock: Clock) -> None:
    """Every hand-out counts; consumers and redrive rely on it."""
    queue.send("one")
    queue.receive(1)
    clock.now += 31
    (message,) = queue.receive(1)
    shown = json.loads(in_json(message, 0, frozenset({"ApproximateReceiveCount"})))
    assert shown["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert queue.figures.most_receives == 2


def test_attributes_are_shown_only_when_asked_for(queue: Queue) -> None:
    """A consumer that forgets to ask for attributes must not see them here and miss them in AWS."""
    queue.send("one", {"reason": {"DataType": "String", "StringValue": "x"}})
    (message,) = queue.receive(1)
    assert "Attributes" not in in_json(message, 0, frozenset())
    assert "MessageAttributes" not in in_json(message, 0, frozenset())
    assert "MessageAttributes" in in_json(message, 0, frozenset({"message"}))


def test_first_in_first_out_and_at_most_ten(queue: Queue) -> None:
    """Messages come in order of sending, no more than asked for, never more than ten."""
    for number in range(12):
        queue.send(str(number))
    assert bodies(queue, 3) == ["0", "1", "2"]
    assert bodies(queue) == [str(number) for number in range(3, 12)]
    with pytest.raises(QueueError):
        queue.receive(11)


def test_delete_with_the_newest_handle_ends_the_message(queue: Queue, clock: Clock) -> None:
    """After a delete the message never returns."""
    queue.send("one")
    (message,) = queue.receive(1)
    assert queue.delete(message.handle)
    clock.now += 1000
    assert bodies(queue) == []
    assert queue.remaining() == 0


def test_delete_with_a_stale_handle_deletes_nothing(queue: Queue, clock: Clock) -> None:
    """The worst that SQS allows: a delete by an old receipt handle succeeds without effect."""
    queue.send("one")
    (message,) = queue.receive(1)
    stale = message.handle
    clock.now += 31
    queue.receive(1)
    assert not queue.delete(stale)
    clock.now += 31
    assert bodies(queue) == ["one"]
    assert queue.figures.stale_deletes == 1


def test_delete_of_nonsense_is_refused(queue: Queue) -> None:
    """A string that never was a receipt handle is an error."""
    with pytest.raises(QueueError) as caught:
        queue.delete("nonsense")
    assert caught.value.code == "ReceiptHandleIsInvalid"


def test_visibility_can_be_extended_and_ended(queue: Queue, clock: Clock) -> None:
    """ChangeMessageVisibility counts from now; zero shows the message at once."""
    queue.send("one")
    (message,) = queue.receive(1)
    clock.now += 20
    queue.change_visibility(message.handle, 60)
    clock.now += 59
    assert bodies(queue) == []
    queue.change_visibility(message.handle, 0)
    assert bodies(queue) == ["one"]


def test_visibility_beyond_twelve_hours_is_refused(queue: Queue, clock: Clock) -> None:
    """Neither one timeout nor their sum since the receive may pass twelve hours."""
    queue.send("one")
    (message,) = queue.receive(1)
    with pytest.raises(QueueError):
        queue.change_visibility(message.handle, 43201)
    clock.now += 20
    with pytest.raises(QueueError):
        queue.change_visibility(message.handle, 43200)
    queue.change_visibility(message.handle, 43180)


def test_message_in_nobodys_hands_cannot_be_hidden(queue: Queue, clock: Clock) -> None:
    """Once its visibility has ended a message is not in flight."""
    queue.send("one")
    (message,) = queue.receive(1)
    clock.now += 31
    with pytest.raises(QueueError) as caught:
        queue.change_visibility(message.handle, 30)
    assert caught.value.code == "MessageNotInflight"


def test_redrive_moves_a_message_after_its_last_receive(clock: Clock) -> None:
    """maxReceiveCount receives are granted; the next would-be receive moves the message."""
    dead = Queue("dead", clock)
    queue = Queue("mail", clock, visibility=1)
    queue.redrive = (dead, 2)
    queue.send("one")
    for _ in range(2):
        assert bodies(queue) == ["one"]
        clock.now += 2
    assert bodies(queue) == []
    assert bodies(dead) == ["one"]
    assert queue.figures.redriven == 1


def test_repeat_fault_hands_a_message_out_twice(queue: Queue, clock: Clock) -> None:
    """A repeat shows the message again while its first receiver still works on it, once."""
    queue.send("one", faults=["repeat:0.5"])
    (first,) = queue.receive(1)
    handle = first.handle
    clock.now += 0.5
    (second,) = queue.receive(1)
    assert (first.message_id, handle != second.handle) == (second.message_id, True)
    clock.now += 0.5
    assert bodies(queue) == []


def test_late_delete_fault_shows_a_deleted_message_once_more(queue: Queue, clock: Clock) -> None:
    """SQS may hand out a message after its delete; the second delete ends it."""
    queue.send("one", faults=["late-delete:"])
    (message,) = queue.receive(1)
    queue.delete(message.handle)
    clock.now += 1
    (again,) = queue.receive(1)
    assert queue.delete(again.handle)
    clock.now += 1000
    assert bodies(queue) == []


def test_hurry_shortens_only_what_is_longer_than_patience(clock: Clock) -> None:
    """Waits of hours pass in seconds, and timeouts that guard work in progress stay."""
    queue = Queue("mail", clock, visibility=30, hurry=100, patient=30)
    queue.send("one")
    (message,) = queue.receive(1)
    clock.now += 29
    assert bodies(queue) == []
    queue.change_visibility(message.handle, 1030)
    clock.now += 39.9
    assert bodies(queue) == []
    clock.now += 0.2
    assert bodies(queue) == ["one"]


def test_prefilled_messages_are_built_when_received(queue: Queue) -> None:
    """A hundred thousand queued messages cost no memory before they are received."""
    built = itertools.count()
    queue.prefill(((str(next(built)), "") for _ in range(100_000)), 100_000)
    assert queue.counts()["ApproximateNumberOfMessages"] == 100_000
    assert bodies(queue, 2) == ["0", "1"]
    assert next(built) == 2
    assert queue.remaining() == 100_000


def test_recorded_changes_restore_the_queue(clock: Clock) -> None:
    """After a kill -9 what was not deleted is there again, with its receive count."""
    entries: list[dict[str, object]] = []
    queue = Queue("mail", clock, record=lambda entry: entries.append(dict(entry)))
    queue.send("one", {"a": {"DataType": "String", "StringValue": "b"}}, faults=["get:error500"])
    queue.send("two")
    first, second = queue.receive(10)
    assert second.body == "two"
    queue.delete(first.handle)

    after = Queue("mail", clock)
    for entry in entries:
        after.restore(entry)
    (message,) = after.receive(10)
    assert (message.body, message.receive_count) == ("two", 2)
    assert after.send("three").number == 3
