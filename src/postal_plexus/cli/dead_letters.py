"""`plexus dead-letters`: mails that could be neither delivered nor answered.

Here are its arguments only; what it does is in `letters`.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import system

SUMMARY = "show, deliver or drop the mails that could not be delivered"

DETAILS = """
A mail becomes a dead letter when its recipient cannot have it and its sender must not be told; a
mail with a virus is held here too. SQS keeps each for 14 days.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus dead-letters`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(act: str, summary: str, description: str) -> ArgumentParser:
        command = commands.add_parser(act, help=summary, description=description)
        system.add_options(command)
        command.add_argument("--json", action="store_true", help="as a JSON document")
        command.set_defaults(act=act)
        return command

    add("list", "a line for each", "Show a line for each: id, age, sender, recipient and reason.")
    show = add("show", "one of them, whole", "Show one of them, whole.")
    deliver = add(
        "deliver",
        "deliver them to their recipients after all",
        "Put them back to be delivered, each to its recipient, once mended: the address is there "
        "now, or the virus is a false alarm. Nobody gets a mail twice.",
    )
    drop = add("drop", "remove them for good", "Remove them for good.")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    for command in (show, deliver, drop):
        command.add_argument(
            "ids", nargs="+", metavar="ID", help="as `list` shows it; its beginning will do"
        )


@system.reported
def run(args: Namespace) -> int:
    """Do what was chosen."""
    from postal_plexus.cli import letters  # noqa: PLC0415 - it needs AWS's library

    return letters.run(args)
