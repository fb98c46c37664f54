"""`deliver` works with temporary credentials of its own task role, and only with its permissions."""

from __future__ import annotations

import uuid

from system.desk import Desk
from wire import await_true


def test_deliver_has_no_credentials_but_its_roles(desk: Desk) -> None:
    """It uses ECS's container credentials endpoint with TLS; its environment contains no key."""
    told = desk.environment("deliver")
    assert told["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("https://")
    assert [] == [name for name in told if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_SES"))]


def test_a_role_that_may_not_read_mail_delivers_none_and_loses_none(desk: Desk) -> None:
    """Without s3:GetObject the message waits, and the log says why; with it, the message arrives once."""
    mark = uuid.uuid4().hex
    content = f"X-Mark: {mark}\r\nSubject: denied\r\n\r\nhello\r\n".encode()
    with desk.mailbox(desk.ann) as mailbox:
        with desk.role_without("deliver", "s3:GetObject"):
            desk.receive("world@elsewhere.example", [desk.ann], content)
            await_true("a denied fetch in the log", lambda: denied(desk))
            assert [] == mailbox.search("HEADER", "X-Mark", mark)
        assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark, timeout=90))
    assert desk.is_healthy()


def denied(desk: Desk) -> bool:
    """Return whether `deliver` has said that a mail waits because S3 denied it."""
    return any(
        entry.get("event") == "deferred" and "AccessDenied" in str(entry)
        for entry in desk.log_lines("deliver")
    )
