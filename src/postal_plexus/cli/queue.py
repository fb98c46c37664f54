"""`plexus queue`: the mails that wait in Postfix to leave.

Here are its arguments only; what it does is in `queue_view`.
"""

from argparse import ArgumentParser, ArgumentTypeError

from postal_plexus.cli import verbs
from postal_plexus.cli.verbs import Verb
from postal_plexus.maintenance.calls import QUEUE_ID

SUMMARY = "show, retry, hold or drop the mails that wait to leave"

DETAILS = """
Postfix keeps what SES does not take yet, and tries again. A task on the mail host looks and acts,
so each command takes some seconds.
"""

_MODULE = "postal_plexus.cli.queue_view"


def queue_id(text: str) -> str:
    """Read a queue id.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not QUEUE_ID.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is no queue id: see plexus queue list")
    return text


def _ids(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", type=queue_id, metavar="ID", help="as `list` shows it")


def _any_ids(parser: ArgumentParser) -> None:
    parser.add_argument(
        "ids", nargs="*", type=queue_id, metavar="ID", help="as `list` shows it (default: all)"
    )


VERBS = {
    "list": Verb(
        "a line for each",
        "Show a line for each mail, and why each recipient has not got it yet.",
        _MODULE,
    ),
    "show": Verb(
        "what one of them is", "Show envelope and the header's main fields.", _MODULE, _ids
    ),
    "retry": Verb(
        "try again now", "Try again now, instead of after the next wait.", _MODULE, _any_ids
    ),
    "hold": Verb(
        "keep them from leaving", "Keep mails from leaving until they are released.", _MODULE, _ids
    ),
    "release": Verb("let held ones leave", "Let mails leave that were held.", _MODULE, _ids),
    "drop": Verb(
        "remove them for good",
        "Remove mails for good. Nobody is told: neither sender nor recipients.",
        _MODULE,
        _ids,
        asks=True,
    ),
}


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus queue`."""
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verbs.declare(actions, VERBS)


run = verbs.run
