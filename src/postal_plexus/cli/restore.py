"""`plexus restore`: mails of a backup, into folders of a mailbox, or all mailboxes into place.

Here are its arguments only; what it does is in `restoring`.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import moments, system

SUMMARY = "bring a mailbox back from the backup, beside what is there"

DETAILS = """
Takes the newest recovery point, or the newest of a time or before, and imports the mailbox, or one
of its folders, into folders `Restored DATE/...` of it, with flags. Nobody is stopped, and nothing
that is there changes. --all is for the loss of everything: Dovecot is stopped, mailboxes that are
gone get their place again, and what was received since comes from the archive.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("address", nargs="?", metavar="ADDRESS", help="the mailbox")
    what.add_argument("--all", action="store_true", help="every mailbox that is gone, into place")
    what.add_argument("--list", action="store_true", help="list the recovery points")
    parser.add_argument(
        "--at",
        type=moments.moment,
        metavar="TIME",
        help=f"as it was then (default: the newest): {moments.FORMS}",
    )
    parser.add_argument("--folder", help="this folder only, and those below it")
    parser.add_argument(
        "--job",
        metavar="ID",
        help="go on with a restore that was begun, once AWS has done its part",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask (--all)")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    system.add_options(parser)


@system.reported
def run(args: Namespace) -> int:
    """Do what was chosen."""
    from postal_plexus.cli import restoring  # noqa: PLC0415 - it needs AWS's library

    return restoring.run(args)
