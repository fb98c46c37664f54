"""`plexus queue`: the messages waiting in Postfix's queue.

This module declares the arguments; `queue_view` does the work.
"""

from argparse import ArgumentParser, ArgumentTypeError

from postal_plexus.cli import verbs
from postal_plexus.cli.verbs import Verb
from postal_plexus.maintenance.calls import QUEUE_ID

SUMMARY = "show, retry, hold or drop messages in Postfix's queue"

DETAILS = """
Postfix keeps messages that SES has not accepted yet, and retries. Each command runs as a task on
the mail host, which takes some seconds.
"""

_MODULE = "postal_plexus.cli.queue_view"


def queue_id(text: str) -> str:
    """Parse a queue id.

    Raises:
        ArgumentTypeError: it is not a queue id.
    """
    if not QUEUE_ID.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a queue id: see plexus queue list")
    return text


def _ids(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", type=queue_id, metavar="ID", help="an id from `list`")


def _any_ids(parser: ArgumentParser) -> None:
    parser.add_argument(
        "ids", nargs="*", type=queue_id, metavar="ID", help="an id from `list` (default: all)"
    )


VERBS = {
    "list": Verb(
        "list them, one per line",
        "List messages, one per line, with the reason why it waits for each recipient.",
        _MODULE,
    ),
    "show": Verb(
        "show some of them", "Show the envelope and the main header fields.", _MODULE, _ids
    ),
    "retry": Verb(
        "try again now", "Try again now instead of after the next wait.", _MODULE, _any_ids
    ),
    "hold": Verb(
        "keep them in the queue",
        "Keep messages in the queue until they are released.",
        _MODULE,
        _ids,
    ),
    "release": Verb("release held ones", "Release messages that were held.", _MODULE, _ids),
    "drop": Verb(
        "delete them permanently",
        "Delete messages permanently. Neither the sender nor the recipients are notified.",
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
