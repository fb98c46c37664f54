"""`plexus restore`: restore messages of a backup into folders of a mailbox, or all mailboxes.

This module declares the arguments; `restoring` does the work.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import moments, system

SUMMARY = "restore a mailbox or calendars from the backup, beside the current content"

DETAILS = """
Takes the newest recovery point, or the newest until a given time, and imports the mailbox, or one
of its folders, into its folders `Restored DATE/...`, with flags. No service stops, and existing
mail does not change. With --calendars, the user's calendars and address books come back as new
ones, `Restored DATE NAME`. --all is for the loss of everything: Dovecot is stopped, lost mailboxes
and calendars are put back into place, and what was received since is replayed from the archive.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("address", nargs="?", metavar="ADDRESS", help="the mailbox")
    what.add_argument("--all", action="store_true", help="put every lost mailbox back into place")
    what.add_argument("--list", action="store_true", help="list the recovery points")
    parser.add_argument(
        "--at",
        type=moments.moment,
        metavar="TIME",
        help=f"as it was at this time (default: the newest): {moments.FORMS}",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--folder", help="only this folder and those below it")
    part.add_argument(
        "--calendars", action="store_true", help="calendars and contacts instead of mail"
    )
    part.add_argument(
        "--shared-calendars",
        action="store_true",
        help="those that ADDRESS shares with others, as new ones of ADDRESS alone",
    )
    parser.add_argument(
        "--job",
        metavar="ID",
        help="continue a restore that was started, when AWS has done its part",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation (--all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Run the chosen command."""
    from postal_plexus.cli import restoring  # noqa: PLC0415 - it needs AWS's library

    return restoring.run(args)
