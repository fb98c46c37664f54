"""A console to test: fixed data, and an HTTP client as its browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any, cast

from starlette.testclient import TestClient

from postal_plexus.console.app import application
from postal_plexus.console.guard import Keys
from postal_plexus.console.sources import Forecast, Sent, Sources
from postal_plexus.mail.receipt import Receipt, read_notification
from postal_plexus.operations.dead_letters import Letter, chosen
from postal_plexus.operations.findings import Finding
from postal_plexus.operations.queues import QueueState
from postal_plexus.tracing.step import Step

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}"
KEYS = Keys("the-token", 8025)
HOST = "http://127.0.0.1:8025"


def letter(identifier: str, subject: str = "Hello", sender: str = "a@b.example") -> Letter:
    """Return a dead letter of a message."""
    document = {
        "notificationType": "Received",
        "mail": {
            "messageId": "ses-id",
            "source": sender,
            "timestamp": "2026-11-24T04:00:00.000Z",
            "headers": [{"name": "Subject", "value": subject}],
        },
        "receipt": {
            "timestamp": "2026-11-24T04:00:00.000Z",
            "recipients": ["ann@example.org"],
            **{
                f"{of}Verdict": {"status": "PASS"}
                for of in ("spam", "virus", "spf", "dkim", "dmarc")
            },
            "action": {"type": "S3", "bucketName": "b", "objectKey": "inbound/x"},
        },
    }
    body = json.dumps(document)
    receipt = read_notification(body)
    assert isinstance(receipt, Receipt)
    return Letter(identifier, "virus", "ann@example.org", datetime.now(UTC), body, receipt, "h")


def mail(html: str, subject: str = "Hello", name: str = "plan.pdf") -> bytes:
    """Return a message with HTML and an attachment."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "x@y.example", subject
    message.set_content("the text\n")
    message.add_alternative(html, subtype="html")
    message.add_attachment(b"octets", "application", "pdf", filename=name)
    return message.as_bytes()


@dataclass
class Stack:
    """What the page shows, and what was done by it."""

    letters: list[Letter] = field(default_factory=list[Letter])
    mails: dict[str, bytes] = field(default_factory=dict[str, bytes])
    steps: list[Step] = field(default_factory=list[Step])
    findings: list[Finding] = field(default_factory=list[Finding])
    forecast: Forecast | None = None
    failure: Exception | None = None
    waiting: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    mailboxes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    done: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    web: dict[str, str] = field(default_factory=dict[str, str])
    reads: int = 0

    # --- the queues ---

    def states(self) -> list[QueueState]:
        if self.failure:
            raise self.failure
        return [QueueState("incoming mail", 3, 1, 0), self.dead_letters()]

    def dead_letters(self) -> QueueState:
        return QueueState("dead letters", len(self.letters), 0, 0)

    # --- the dead letters ---

    def read(self) -> list[Letter]:
        self.reads += 1
        return list(self.letters)

    def deliver(self, ids: list[str]) -> list[Letter]:
        return self._act("deliver", ids)

    def drop(self, ids: list[str]) -> list[Letter]:
        return self._act("drop", ids)

    def _act(self, what: str, ids: list[str]) -> list[Letter]:
        found = chosen(self.letters, ids)
        for each in found:
            self.done.append((what, each.id))
            self.letters.remove(each)
        return found

    # --- the outbox ---

    def newest(self, most: int) -> Sequence[Sent]:
        return [self._sent(name) for name in list(self.mails)[:most]]

    def content(self, identifier: str) -> tuple[Sent, bytes] | None:
        found = self.mails.get(identifier)
        return None if found is None else (self._sent(identifier), found)

    def _sent(self, name: str) -> Sent:
        size = len(self.mails[name])
        return Sent(name, datetime.now(UTC), EVIL, (EVIL, "b@c.example"), EVIL, size)

    def sources(self, *, aws: bool = False) -> Sources:
        """Return the console's data sources."""
        stack = cast("Any", self)

        def findings() -> Iterable[Finding]:
            yield from self.findings

        return Sources(
            title=EVIL,
            web=lambda: self.web,
            poll_seconds=0.0,
            steps=lambda: self.steps,
            queues=lambda: stack,
            letters=lambda: stack,
            findings=findings,
            outbox=None if aws else stack,
            waiting=lambda: self.waiting,
            mailboxes=lambda: self.mailboxes,
            forecast=None if self.forecast is None else lambda: cast("Forecast", self.forecast),
        )


def browser(stack: Stack, sources: Sources | None = None) -> TestClient:
    """Return a client that has opened the printed address."""
    client = stranger(stack, sources)
    assert 200 == client.get(f"/?token={KEYS.token}").status_code
    return client


def stranger(stack: Stack, sources: Sources | None = None) -> TestClient:
    """Return a client that has not."""
    return TestClient(application(sources or stack.sources(), KEYS), base_url=HOST)


def form_of(page: str) -> str:
    """Return the token in a page's forms."""
    found = re.search(r'name="form" value="(\w+)"', page)
    assert found
    return found[1]


def tags(page: str) -> Iterator[str]:
    """Return the tags of a page, as a browser parses them."""
    yield from re.findall(r"<[^>]*>", page)
