"""`plexus replay`: bring back messages that a mailbox has lost, from the archive."""

import json
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.cli import moments, system
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.mail.printable import printable

if TYPE_CHECKING:
    from postal_plexus.operations.replay import Found, Mail

SUMMARY = "bring back messages that a mailbox has lost, from the archive"

DETAILS = """
Each message that the mailbox had, and that is in none of its folders now (including Trash and the
folder of expunged messages), is delivered again through the user's filters. Nothing is answered or
redirected again. Messages that a user deleted permanently come back too. The archive keeps messages
for `archive-days`. Nobody gets a message twice, so a replay can be interrupted and repeated.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("address", metavar="ADDRESS", help="the mailbox")
    parser.add_argument(
        "--since",
        type=moments.moment,
        required=True,
        metavar="TIME",
        help=f"messages received since then: {moments.FORMS}",
    )
    parser.add_argument(
        "--until", type=moments.moment, metavar="TIME", help="and before this time (default: now)"
    )
    parser.add_argument(
        "--of",
        metavar="ADDRESS",
        help="bring back what this mailbox had, such as one that was renamed",
    )
    parser.add_argument("--dry-run", action="store_true", help="count only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Put the messages into the queue, and print how many there are."""
    from rich.console import Console  # noqa: PLC0415 - these need libraries
    from rich.progress import Progress  # noqa: PLC0415

    from postal_plexus.operations.replay import (  # noqa: PLC0415
        Replays,
        UnknownMailboxError,
        mailbox_of,
    )

    # A message that arrives meanwhile is not a lost one.
    until = args.until or datetime.now(UTC) - timedelta(seconds=1)
    if until <= args.since:
        raise CommandError(Exit.USAGE, "--until is not after --since")
    address = checked_address(args.address)
    of = None if args.of is None else checked_address(args.of)
    replays = Replays(system.connect(args))
    try:
        mailbox = mailbox_of(replays.directory(), address)
    except UnknownMailboxError as error:
        raise CommandError(Exit.NO_USER, str(error)) from error
    source = of or mailbox
    found = replays.find([source], args.since, until)[source]
    queued = 0
    if not args.dry_run:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Putting messages into the queue", total=len(found.mails))
            for count in replays.put(found.mails, mailbox):
                queued += count
                progress.advance(task, count)
    if args.json:
        print(json.dumps(_document(found, mailbox, queued), indent=2))
    else:
        _tell(found, mailbox, queued, dry_run=args.dry_run)
    return Exit.OK


def _tell(found: "Found", mailbox: str, queued: int, *, dry_run: bool) -> None:
    count = len(found.mails)
    if found.mails:
        first, last = found.mails[0].received_at, found.mails[-1].received_at
        octets = sum(mail.size for mail in found.mails)
        between = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        print(f"{mailbox}: {count} messages, {octets / 1e6:.1f} MB, received {between}")
    else:
        print(f"{mailbox}: the archive has no mail for it from that time")
    if found.gone:
        print(f"plexus: {found.gone} more have left the archive (archive-days)", file=sys.stderr)
    if queued:
        print(f"{queued} are in the queue; those that the mailbox lacks are stored within minutes.")
    elif dry_run and count:
        print("Nothing was done. Without --dry-run those that the mailbox lacks are delivered.")


def _document(found: "Found", mailbox: str, queued: int) -> dict[str, Any]:
    return {
        "mailbox": mailbox,
        "found": len(found.mails),
        "octets": sum(mail.size for mail in found.mails),
        "queued": queued,
        "gone": found.gone,
        "mails": [_mail(each) for each in found.mails],
    }


def _mail(mail: "Mail") -> dict[str, object]:
    return {
        "ses_id": mail.receipt.message_id,
        "received": mail.received_at.isoformat(timespec="seconds"),
        "sender": printable(mail.receipt.envelope.sender),
        "subject": printable(mail.receipt.header("subject")),
        "octets": mail.size,
    }
