"""The bed of all measurements: one mail host with Dovecot, one stub, one `deliver`.

Everything lies below one directory on the disk that is measured, and is gone afterwards.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.aws_stub.process import Stub
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY, Boxed, Process, environment
from benchmarks.mailhost.host import PASSWORD, Place, dovecot, start_dovecot
from postal_plexus.directory import Directory, Domain, Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.mailhost.engine import Container

USERS = 20
SENDER = "someone@sender.example"
HEAD = (
    f"From: Someone <{SENDER}>\r\n"
    "To: A user <user@example.org>\r\n"
    "Subject: A mail to measure with\r\n"
    "Date: Tue, 24 Nov 2026 04:00:00 +0000\r\n"
    "Message-ID: <measured@sender.example>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
)


def named(part: str) -> str:
    """Return a container name that no other run on this machine has."""
    return f"plexus-bench-{part}-{os.getpid()}"


def user(number: int) -> str:
    """Return the address of the user with this number, from 1."""
    return f"user{number:02d}@example.org"


def directory() -> Directory:
    """Twenty mailboxes of one domain."""
    return Directory(
        (Domain("example.org"),),
        tuple(Mailbox(user(n), f"{{PLAIN}}{PASSWORD}") for n in range(1, USERS + 1)),
    )


class Bed:
    """A running Dovecot on its place, and a running stub."""

    def __init__(self, place: Place, box: Container, stub: Stub) -> None:
        self.place = place
        self.box = box
        self.stub = stub
        self.runs = 0

    @contextmanager
    def service(self, *, boxed: bool) -> Iterator[Boxed | Process]:
        """Provide a running `deliver` for this bed; remove it afterwards."""
        settings = environment(self.stub)
        if not boxed:
            service = Process(self.place, settings, log=self.place.root / "deliver.log")
            service.start()
            try:
                yield service
            finally:
                service.stop()
            return
        service = Boxed(named("deliver"), self.place, settings)
        try:
            service.start()
            yield service
            service.stop()
        finally:
            service.container.remove()

    def queue_mails(self, count: int, size: int, mailboxes: int) -> tuple[float, int]:
        """Queue messages for `mailboxes` users in turn; the clock, and the deletes to wait for."""
        self.runs += 1
        before = self.stub.get("stats")["queues"]["mail"]["deleted"]
        answer = self.stub.post(
            "prefill",
            queue="mail",
            run=f"run{self.runs:04d}",
            count=count,
            size=size,
            recipients=[user(n) for n in range(1, mailboxes + 1)],
            sender=SENDER,
            bucket=BUCKET,
            head=HEAD,
        )
        return answer["clock"], before + count

    def await_deleted(self, deleted: int, timeout: float) -> float:
        """Wait for this number of deletes, and return the clock at the last one."""
        figures = self.stub.get(f"wait?queue=mail&deleted={deleted}", timeout)["queues"]["mail"]
        return figures["last_deleted_at"]


@contextmanager
def laid(root: Path, *, delay: float) -> Iterator[Bed]:
    """Provide a bed below `root`, which must not exist; remove it afterwards."""
    root.mkdir(parents=True)
    place = Place(root)
    place.make()
    place.keep(directory())
    box = dovecot(named("dovecot"), place)
    try:
        start_dovecot(box, place)
        # No message is handed out twice only because a slow peer took its time.
        with Stub("--delay", str(delay), "--visibility", "600") as stub:
            stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", directory().to_json())
            yield Bed(place, box, stub)
    finally:
        box.remove()
        shutil.rmtree(root)
