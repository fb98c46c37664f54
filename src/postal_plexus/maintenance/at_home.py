"""Run a task on a mailbox only on the host that has the mailbox.

A task opens mailboxes with a Dovecot of its own, past the fence of the running one (holds.lua), so
it has the same fence: the directory and the mailbox's record (`homes`) must name this host. A lock
keeps both true until the task ends. In a stack of one host there is nothing to check.

What the operator's command is told otherwise: where the mailbox lives, so that it starts the task
there (exit code 75, with a line of the kind "elsewhere"), or that it is on its way (75).
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

from postal_plexus.maintenance import homes, mailboxes
from postal_plexus.maintenance.calls import Call
from postal_plexus.maintenance.codes import AGAIN, StatusError
from postal_plexus.maintenance.mailbox_hold import HOLDS_PATH, MailboxBusyError, stay
from postal_plexus.maintenance.output import ELSEWHERE, Output

Run = Callable[[Call, Output], int]


class ElsewhereError(StatusError):
    """The mailbox lives on another host.

    Attributes:
        host: its number.
    """

    def __init__(self, address: str, host: int) -> None:
        super().__init__(AGAIN, f"{address} lives on host {host}")
        self.host = host


def at_home(run: Run) -> Run:
    """Return a verb that runs on its first argument, a mailbox, only on that mailbox's host."""

    @wraps(run)
    def wrapped(call: Call, output: Output) -> int:
        address = call.words[0]
        try:
            with staying(address):
                return run(call, output)
        except ElsewhereError as error:
            output.say(ELSEWHERE, address=address, host=error.host)
            return output.fail(error.status, str(error))

    return wrapped


@contextmanager
def staying(
    address: str, records: Path = homes.RECORDS, holds: Path = HOLDS_PATH
) -> Generator[None]:
    """Keep a mailbox on this host for the duration of the block.

    Raises:
        ElsewhereError: it lives on another host.
        StatusError: there is no such mailbox, or it is on its way.
    """
    shard = int(os.environ.get("PLEXUS_SHARD") or 0)
    if not shard:
        yield
        return
    try:
        with stay(mailboxes.mail_address(address), holds):
            _require(address, shard, records)
            yield
    except MailboxBusyError as error:
        raise StatusError(AGAIN, str(error)) from error


def _require(address: str, shard: int, records: Path) -> None:
    """Require that this host has a mailbox. Read after the lock: from then on it stays so."""
    table = mailboxes.TABLE.read_text("utf-8")
    home = mailboxes.hosts(table).get(address)
    if home is None:
        raise mailboxes.UnknownMailboxError(address)
    if home != shard:
        raise ElsewhereError(address, home)
    record = homes.Record.parse(homes.read_record(mailboxes.first_address(table, address), records))
    if record is None or record.host != shard or not record.has:
        raise StatusError(AGAIN, f"{address} is being moved to host {shard}: try again in a minute")
