"""`plexus dead-letters`: messages that could be neither delivered nor bounced.

This module declares the arguments; `letters` does the work.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import system

SUMMARY = "show, deliver or drop messages that could not be delivered"

DETAILS = """
A message becomes a dead letter if it cannot be delivered and its sender must not be told. Messages
with a virus are held here too. SQS keeps each for 14 days.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus dead-letters`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(act: str, summary: str, description: str) -> ArgumentParser:
        command = commands.add_parser(act, help=summary, description=description)
        system.add_options(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(act=act)
        return command

    add(
        "list",
        "list them, one per line",
        "List them, one per line: id, age, sender, recipient and reason.",
    )
    show = add("show", "show one completely", "Show one completely.")
    deliver = add(
        "deliver",
        "try to deliver them again",
        "Put them back into the queue, each for its recipient, once the cause is corrected:"
        " the address exists now, or the virus is a false alarm. No message is delivered twice.",
    )
    drop = add("drop", "delete them permanently", "Delete them permanently.")
    drop.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    for command in (show, deliver, drop):
        command.add_argument(
            "ids", nargs="+", metavar="ID", help="an id from `list`, or its beginning"
        )


@system.reported
def run(args: Namespace) -> int:
    """Run the chosen command."""
    from postal_plexus.cli import letters  # noqa: PLC0415 - it needs AWS's library

    return letters.run(args)
