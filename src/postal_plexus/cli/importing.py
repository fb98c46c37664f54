"""`plexus import`: bring along what is elsewhere. Here are its arguments only."""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import import_workmail

SUMMARY = "bring users along from Amazon WorkMail"

DETAILS = import_workmail.DETAILS


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("address", choices=[import_workmail.NAME], metavar=import_workmail.NAME)
    parser.add_argument("--region", help="the AWS region (default: as AWS's own tools find it)")
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    import_workmail.add_options(parser)


def run(args: Namespace) -> int:
    """Do what was chosen."""
    return import_workmail.run(args)
