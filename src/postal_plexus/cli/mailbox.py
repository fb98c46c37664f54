"""`plexus mailbox`: the users' mailboxes, in the stack file and on the running system.

This module declares the arguments. `people` edits the stack file; the modules named in the table
work on the running system.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import people, verbs
from postal_plexus.cli.verbs import Verb

SUMMARY = "add, rename and remove mailboxes; their sizes, logins, sessions and quota"

DETAILS = """
`add`, `rename` and `remove` edit the stack file; changes take effect with the next `pulumi up`. The
others ask the running Dovecot through a task on the mail host, which takes some seconds.
"""

_RUNNING = "postal_plexus.cli.mailbox_view"


def _any_addresses(parser: ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help="only these (default: all)")


def _addresses(parser: ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="a mailbox's address")


def _quota(parser: ArgumentParser) -> None:
    _any_addresses(parser)
    parser.add_argument(
        "--recalculate", action="store_true", help="recalculate the size of each mailbox"
    )


VERBS = {
    "list": Verb(
        "list them, with sizes and last logins",
        "List mailboxes, one per line: messages, size, quota, and the user's last login.",
        _RUNNING,
        _any_addresses,
    ),
    "sessions": Verb(
        "show who is connected now, and from where",
        "Show who is connected now, by which protocol, and from where.",
        _RUNNING,
        _any_addresses,
    ),
    "kick": Verb(
        "end a mailbox's sessions",
        "End a mailbox's sessions, for example after a password change. Clients with the right "
        "password reconnect.",
        _RUNNING,
        _addresses,
    ),
    "quota": Verb(
        "show how full each is",
        "Show how full each is. Use `--recalculate` if the numbers look wrong.",
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
    """Run the chosen command."""
    return verbs.run(args) if isinstance(args.act, str) else int(args.act(args))
