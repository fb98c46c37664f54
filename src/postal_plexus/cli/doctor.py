"""`plexus doctor`: check everything that can be wrong with a running stack, in order.

This module declares the arguments; `diagnosis` does the work.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from postal_plexus.cli import system

SUMMARY = "look at everything that can be wrong with a running stack"

DETAILS = """
Says of each thing how it is, why, and what to do next. Ends with 80 if something will hurt unless
somebody acts, with 81 if mail is late or refused now.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    parser.add_argument("--all", action="store_true", help="show what is in order, too")
    parser.add_argument(
        "--mail",
        action="store_true",
        help="mail what is not in order to the alarm address, too; nothing where all is",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON document")
    parser.add_argument(
        "--stack-file", type=Path, metavar="FILE", help="look at the DNS records of this one, too"
    )
    parser.add_argument("--resolver", metavar="ADDRESS[:PORT]", help="whom to ask for them")
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help="only these (default: all)")


@system.reported
def run(args: Namespace) -> int:
    """Print the findings; the worst determines the exit code."""
    from postal_plexus.cli import diagnosis  # noqa: PLC0415 - it needs AWS's library

    return diagnosis.run(args)
