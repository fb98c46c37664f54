"""`plexus import`: bring along what is elsewhere. Here are its arguments only."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import import_workmail

SUMMARY = "bring users along from Amazon WorkMail"

DETAILS = """
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus import`."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    summary = import_workmail.SUMMARY
    described = commands.add_parser(
        "workmail-users",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {import_workmail.DETAILS}",
    )
    import_workmail.arguments(described)
    described.set_defaults(act=import_workmail.run)


def run(args: Namespace) -> int:
    """Do what was chosen."""
    return args.act(args)
