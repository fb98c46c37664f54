"""The messages of a run on their way in: into the archive, into the queue, and out of it again.

Calls to the stub are repeated while it is down. So a mail may be queued twice, as SNS does it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.notification import Accepted, event, in_sns_envelope, notification
from benchmarks.mailhost.deliver_service import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.plan import Plan, PlannedEcho, PlannedMail
    from tests.chaos.site import Site

BACKLOG = 300  # messages queued at most ahead of what is settled
AT_ONCE = 50  # messages fed in one call


class Feeding:
    """Feeds a plan to the hosts. Raises HostError when that cannot go on."""

    def __init__(self, plan: Plan, site: Site) -> None:
        self._plan = plan
        self._site = site
        self._stub = site.stub
        self.most_receives = 0
        # When SES accepted each mail, in seconds since the epoch.
        self.accepted: dict[int, float] = {}

    async def feed(self) -> None:
        mails, echoes = deque(self._plan.mails), deque(self._plan.echoes)
        share = -(-len(echoes) * AT_ONCE // max(1, len(mails)))
        while mails:
            self._site.check()
            if await self._remaining() > BACKLOG:
                await asyncio.sleep(0.1)
                continue
            chunk = [mails.popleft() for _ in range(min(AT_ONCE, len(mails)))]
            entries: list[dict[str, Any]] = []
            for mail in chunk:
                entries += await self._store(mail)
            await self._send("mail", entries)
            some = [echoes.popleft() for _ in range(min(share, len(echoes)))]
            entries = [entry for echo in some for entry in _echo_entries(echo)]
            await self._send("events", entries)
        self._site.event("all mails are fed")

    async def _send(self, queue: str, entries: list[dict[str, Any]]) -> None:
        """Put entries into each host's queue, as SNS does."""
        for name in self._site.queues(queue):
            await self._persist(partial(self._stub.post, "send", queue=name, entries=entries))

    async def _store(self, mail: PlannedMail) -> list[dict[str, Any]]:
        """Put a mail's objects into the archive; its queue entries."""
        entries: list[dict[str, Any]] = []
        # Both notifications of two rules have the same.
        now = _now()
        self.accepted[mail.number] = now.timestamp()
        parts = [mail.recipients]
        if mail.split:
            half = len(mail.recipients) // 2
            parts = [mail.recipients[:half], mail.recipients[half:]]
        for index, recipients in enumerate(parts):
            key = f"incoming/{mail.ses_message_id}-{index}"
            await self._persist(partial(self._stub.put_object, f"{BUCKET}/{key}", mail.content()))
            if mail.in_archive and not index:
                faults = list(mail.in_archive)
                await self._persist(
                    partial(self._stub.post, "faults", key=f"{BUCKET}/{key}", faults=faults)
                )
            accepted = Accepted(
                mail.ses_message_id,
                mail.sender,
                recipients,
                BUCKET,
                key,
                subject=f"chaos {mail.number}",
                verdicts=mail.verdicts,
            )
            text = notification(accepted, now)
            body = text if mail.number % 2 else in_sns_envelope(text, f"sns-{mail.number}-{index}")
            entries.append({"body": body, "faults": mail.in_queue if not index else []})
            if mail.doubled:
                entries.append({"body": body, "delay": (mail.number % 7) / 3})
        return entries

    async def _persist(self, call: Callable[[], object]) -> None:
        """Call the stub, again after its restarts. SNS repeats too, and deliver must tolerate it."""
        while True:
            self._site.check()
            try:
                await asyncio.to_thread(call)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _remaining(self) -> int:
        figures: dict[str, Any] = {}

        def look() -> None:
            figures.update(self._stub.get("stats"))

        await self._persist(look)
        queues = figures["queues"]
        received = [queues[name]["most_receives"] for name in self._site.queues("mail")]
        self.most_receives = max(self.most_receives, *received)
        names = [*self._site.queues("mail"), *self._site.queues("events")]
        return sum(queues[name]["remaining"] for name in names)

    async def settled(self, patience: float) -> None:
        """Until the queue is empty, or nothing has moved for so long that nothing will."""
        last, since = -1, time.monotonic()
        while (remaining := await self._remaining()) > 0:
            self._site.check()
            if remaining != last:
                last, since = remaining, time.monotonic()
            if time.monotonic() - since > patience:
                self._site.event(f"gave up with {remaining} mails in the queue")
                return
            await asyncio.sleep(0.2)
        # What was handed out twice is back after this at the latest, were it not deleted.
        await asyncio.sleep(1)
        self._site.event("the queue is empty")


def _echo_entries(echo: PlannedEcho) -> list[dict[str, Any]]:
    body = event(
        echo.kind,
        f"echo{echo.seed:08x}{echo.number:06d}",
        echo.mailbox,
        echo.message_id,
        "stranger@outside.example",
        _now(),
    )
    entries: list[dict[str, Any]] = [{"body": body, "faults": list(echo.in_queue)}]
    return [*entries, {"body": body, "delay": 0.5}] if echo.doubled else entries


def _now() -> datetime:
    return datetime.now(UTC)
