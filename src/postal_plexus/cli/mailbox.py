"""`plexus mailbox`: the users' mailboxes, in the stack file and on the running system.

Here are its arguments only. What edits the stack file is in `people`; what works on the running
system is in the modules that the table names.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import people, verbs
from postal_plexus.cli.verbs import Verb

SUMMARY = "add, rename and remove mailboxes; their sizes, logins, sessions and quota"

DETAILS = """
`add`, `rename` and `remove` edit the stack file, and hold from the next `pulumi up` on. The others
ask the running Dovecot by a task on the mail host, which takes some seconds.
"""

_RUNNING = "postal_plexus.cli.mailbox_view"


def _any_addresses(parser: ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help="only these (default: all)")


def _addresses(parser: ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="a mailbox's address")


def _quota(parser: ArgumentParser) -> None:
    _any_addresses(parser)
    parser.add_argument(
        "--recalculate", action="store_true", help="count anew what each mailbox holds"
    )


VERBS = {
    "list": Verb(
        "how many mails each holds, and its last login",
        "Show a line for each: mails, size, quota and when, whence and how its user was last here.",
        _RUNNING,
        _any_addresses,
    ),
    "sessions": Verb(
        "who is connected now, and from where",
        "Show who is connected now, by which protocol, and from where.",
        _RUNNING,
        _any_addresses,
    ),
    "kick": Verb(
        "end a mailbox's sessions",
        "End the sessions of a mailbox, as after a new password. Its clients connect again, if "
        "their password is right.",
        _RUNNING,
        _addresses,
    ),
    "quota": Verb(
        "how full each is",
        "Show how full each is. `--recalculate` counts anew, where the numbers look wrong.",
        _RUNNING,
        _quota,
    ),
}


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus mailbox`."""
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    people.mailbox_arguments(actions)
    verbs.declare(actions, VERBS)


def run(args: Namespace) -> int:
    """Do what was chosen."""
    return verbs.run(args) if isinstance(args.act, str) else int(args.act(args))
