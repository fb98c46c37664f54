"""`plexus alias`: other addresses, each with whom it reaches."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import people

SUMMARY = "add and remove aliases in the stack file"

DETAILS = """
They hold from the next `pulumi up` on.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the commands under `plexus alias`."""
    people.alias_arguments(
        parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    )


def run(args: Namespace) -> int:
    """Do what was chosen."""
    return args.act(args)
