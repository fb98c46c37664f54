"""`plexus alias`: other addresses, and who gets their mail."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import people

SUMMARY = "add and remove aliases in the stack file"

DETAILS = """
Changes take effect with the next `pulumi up`.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus alias`."""
    people.alias_arguments(
        parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    )


def run(args: Namespace) -> int:
    """Run the chosen command."""
    return args.act(args)
