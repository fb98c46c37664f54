"""Failures lose no mail: bad queue entries, stopped services, a deleted account."""

from __future__ import annotations

import json
import uuid

from system.desk import Desk
from wire import await_true


def marked() -> tuple[str, bytes]:
    mark = uuid.uuid4().hex
    return mark, f"X-Mark: {mark}\r\nSubject: in trouble\r\n\r\nhello\r\n".encode()


def test_what_is_no_notification_goes_to_the_dead_letters_whole(desk: Desk) -> None:
    """Malformed and foreign JSON become dead letters, unchanged, with a reason."""
    bodies = [f"{uuid.uuid4().hex} {{no JSON", json.dumps({"Records": [], "id": uuid.uuid4().hex})]
    for body in bodies:
        desk.enqueue(body)
    found: dict[str, str] = {}

    def all_there() -> bool:
        found.update(desk.dead_letters())
        return set(bodies) <= set(found)

    await_true("both bodies among the dead letters", all_there)
    assert all(found[body] for body in bodies)
    desk.await_healthy(30)


def test_a_notification_of_a_missing_object_is_no_loss_and_no_crash(desk: Desk) -> None:
    """The notification waits for its object; later messages are delivered."""
    missing = desk.notification_for("inbound/never-there", desk.ann)
    desk.enqueue(missing)
    mark, content = marked()
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))
    desk.await_healthy(30)
    assert missing not in desk.dead_letters()


def test_mail_waits_while_dovecot_is_down(desk: Desk) -> None:
    """While Dovecot is down, SES still accepts mail, which arrives once when Dovecot is back."""
    mark, content = marked()
    killed = desk.kill("dovecot")
    desk.receive("world@elsewhere.example", [desk.ann], content)
    desk.await_return("dovecot", killed)
    with desk.mailbox(desk.ann) as mailbox:
        mailbox.await_mail("HEADER", "X-Mark", mark, timeout=60)
        assert 1 == len(mailbox.search("HEADER", "X-Mark", mark))


def test_mail_is_there_once_when_deliver_is_killed(desk: Desk) -> None:
    """Of ten messages during a kill -9 of deliver, each arrives once.

    What was in flight comes again when the queue's visibility timeout (120 s) has passed.
    """
    marks = []
    for number in range(10):
        mark, content = marked()
        marks.append(mark)
        desk.receive("world@elsewhere.example", [desk.ann], content)
        if number == 5:
            desk.kill("deliver")
    with desk.mailbox(desk.ann) as mailbox:
        for mark in marks:
            mailbox.await_mail("HEADER", "X-Mark", mark, timeout=240)
        assert [1] * 10 == [len(mailbox.search("HEADER", "X-Mark", mark)) for mark in marks]


def test_the_services_outlive_aws(desk: Desk) -> None:
    """While AWS hangs, mail between mailboxes is delivered and outgoing mail waits; then all continues."""
    desk.await_healthy()
    before = desk.started()
    inside, outside, (incoming, content) = uuid.uuid4().hex, uuid.uuid4().hex, marked()
    with desk.aws_hangs():
        desk.submit(desk.ann, desk.ben, inside)
        desk.submit(desk.ann, "friend@elsewhere.example", outside)
        with desk.mailbox(desk.ben) as mailbox:
            assert 1 == len(mailbox.await_mail("SUBJECT", inside))
        assert not desk.outbox(outside)
    desk.receive("world@elsewhere.example", [desk.ann], content)
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", incoming, timeout=120))
    desk.engine("exec", desk.container("postfix"), "postqueue", "-f")
    assert desk.await_outbox(outside, timeout=60)
    assert before == desk.started()
