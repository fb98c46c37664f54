"""What the Python code of `deliver` takes for one message, step by step, when it runs repeatedly.

    .venv/bin/python -m benchmarks.deliver.steps >/dev/null      (its log lines)

Microseconds of one processor, with warm caches and without waiting, network and threads. In service
the same code takes several times as long, because other processes use the caches in between.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.objects import mail_of
from benchmarks.deliver.bed import HEAD, SENDER, directory, user
from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.signing import EMPTY_PAYLOAD, Credentials, Signer
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.policy import HEADER_BOUND
from postal_plexus.deliver.recipients import resolve
from postal_plexus.deliver.trace_fields import mailbox_copies
from postal_plexus.mail.content import HeaderBlock, LineEnds
from postal_plexus.mail.delivered import Record, write_record
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import LmtpConnection
from postal_plexus.mail.receipt import Receipt, read_notification

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "mail.example.org"
SIZES = (4096, 102400)
_GREETING = b"220 ready\r\n"
_CAPABILITIES = b"250-here\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE\r\n"
_REPLIES = (
    b"250 2.1.0 OK\r\n250 2.1.5 OK\r\n",
    b"250 2.0.0 <user01@example.org> abcdefghijklmnopqrstuv Saved\r\n",
)


def steps(folder: Path) -> dict[str, Callable[[], object]]:
    """Return each step by its name. `folder` holds the journal."""
    accepted = Accepted("measured-0001", SENDER, [user(1)], "archive", "incoming/measured-0001")
    body = in_sns_envelope(notification(accepted), "sns-1")
    receipt = read_notification(body)
    assert isinstance(receipt, Receipt)
    known = directory()
    found = resolve(receipt.envelope, known)

    def copies() -> object:
        return mailbox_copies(receipt, found.mailboxes, known, HOST, dmarc_to_junk=True)

    copy = mailbox_copies(receipt, found.mailboxes, known, HOST, dmarc_to_junk=True)[0]
    signer, keys = Signer("s3", "us-east-1"), Credentials("AKIA", "secret", "token" * 50)
    headers = {"host": "s3.us-east-1.amazonaws.com", "x-amz-content-sha256": EMPTY_PAYLOAD}
    holds = MailboxHolds(str(folder / "holds"), b"boot")
    journal = Journal(str(folder / "journal"), b"boot")
    key = journal_key(receipt.message_id, user(1))

    def enter() -> None:
        holds.seconds(user(1))
        with holds.entering([user(1)]):
            pass

    def record() -> None:
        journal.look_up(key)
        journal.record([key], State.INTENDED)
        journal.record([key], State.DELIVERED)
        journal.state(receipt.message_id, user(1))

    lmtp = LmtpConnection(HOST)
    lmtp.receive(_GREETING)
    lmtp.hello()
    lmtp.receive(_CAPABILITIES)
    envelope = Envelope(copy.sender, (user(1),))

    def transact() -> object:
        lmtp.begin(envelope, SIZES[0])
        lmtp.finish(b"x" * SIZES[0])
        for reply in _REPLIES:
            lmtp.receive(reply)
        return lmtp.outcome

    done = Disposition(user(1), Fate.DELIVERED, "2.0.0", "<user01@example.org> abcdefg Saved")

    def log() -> None:
        maillog.dispositions(receipt, [done], found.original, seconds=0.01, octets=SIZES[0])

    def content(octets: bytes) -> Callable[[], object]:
        def transform() -> bytes:
            ends, header = LineEnds(), HeaderBlock(copy.trace, HOST, HEADER_BOUND)
            begun = header.feed(ends.feed(octets))
            return begun + header.feed(ends.finish()) + header.finish()

        return transform

    contents: dict[str, Callable[[], object]] = {}
    for size in SIZES:
        mail = mail_of(size, HEAD.encode())
        octets = b"".join(mail.blocks(0, mail.size))
        contents[f"content of {size // 1024} KB: line ends, header"] = content(octets)
    return {
        "notification: JSON in JSON": lambda: read_notification(body),
        "recipients": lambda: resolve(receipt.envelope, known),
        "trace fields": copies,
        "S3: signature": lambda: signer.head(
            "GET", "/archive/measured-0001", dict(headers), EMPTY_PAYLOAD, keys, time.time()
        ),
        **contents,
        "holds of the mailbox": enter,
        "journal": record,
        "LMTP: commands and replies": transact,
        "log line": log,
        "record of the delivery": lambda: write_record(Record({user(1): (user(1),)}, body)),
    }


def microseconds(step: Callable[[], object], times: int) -> float:
    """Return the processor time of one call: the best of five series of `times` calls."""
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        for _ in range(times):
            step()
        best = min(best, time.thread_time() - begun)
    return best / times * 1e6


def main(times: int = 200) -> dict[str, float]:
    """Measure and print all steps."""
    with tempfile.TemporaryDirectory() as folder:
        taken = {name: microseconds(step, times) for name, step in steps(Path(folder)).items()}
    for name, each in taken.items():
        sys.stderr.write(f"{each:7.1f} us  {name}\n")
    return taken


if __name__ == "__main__":
    main()
